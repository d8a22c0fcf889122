"""The workers: who is alive, what each of them carries, and what the dead have left behind."""

import json
import logging
import os
from collections.abc import Collection
from typing import Final, cast

from redis.asyncio.client import Pipeline

from engine import RULES
from live import metrics
from live.directory.model import (
    Beat,
    Damaged,
    Lease,
    Waiting,
    Worker,
)
from live.directory.store import (
    LOAD_SECONDS,
    MATCH_SECONDS,
    WORKERS,
    Store,
    begin,
    dump,
    lease_or_none,
    match_key,
    readable,
    text_of,
    worker_key,
)
from live.records import SCHEMA

logger = logging.getLogger(__name__)

WORKER_SECONDS: Final = 4  # a worker that was silent for so long is dead


class Workers:
    """Workers by name, and the matches that each of them carries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def alive(self) -> list[Worker]:
        """The workers that are alive, by name."""
        names = sorted(cast("set[str]", await self._store.client.smembers(WORKERS)))
        if not names:
            return []
        async with self._store.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(worker_key(name))
                pipe.zcount(worker_key(name, "load"), self._store.now(), "+inf")
            answers = await pipe.execute()
        found = []
        for name, text, load in zip(names, answers[::2], answers[1::2], strict=True):
            try:
                with readable("a worker"):
                    found += [Worker.from_json(name, load, json.loads(text))] if text else []
            except Damaged:
                logger.exception("worker cannot be read", extra={"worker": name})
        return found

    async def dead(self) -> list[str]:
        """Workers that left matches behind without a word, or without another worker to take them."""
        names = sorted(cast("set[str]", await self._store.client.smembers(WORKERS)))
        if not names:
            return []
        keys = await self._store.client.mget([worker_key(name) for name in names])
        return [name for name, text in zip(names, keys, strict=True) if not text]

    async def beat(
        self,
        name: str,
        *,
        release: str,
        draining: bool,
        owned: dict[str, int],
        reserve: bool = False,
        run: str = "",
        load: float = 0.0,
        watched: dict[str, int] | None = None,
        calls: int = 0,
    ) -> Beat:
        """Renew the worker and its leases. `owned` is match id -> epoch, `run` names this process among its likes.

        `calls` is the number of its calls with checkpoints that the directory has counted (Leases.calls).

        `load` is the share of a core that it uses, `watched` counts those who watch, by match id.
        """
        now = self._store.now()
        about = {
            "draining": draining,
            "reserve": reserve,
            "release": release,
            "schema": SCHEMA,
            "rules_version": RULES.version,
            "run": run,
            "pid": os.getpid(),
            "load": round(load, 2),
            "watched": {match_id: count for match_id, count in (watched or {}).items() if count},
        }
        async with self._store.client.pipeline(transaction=False) as pipe:
            pipe.set(worker_key(name), dump(about), ex=WORKER_SECONDS)
            pipe.sadd(WORKERS, name)
            pipe.expire(worker_key(name, "load"), MATCH_SECONDS)
            pipe.get(worker_key(name, "calls"))
            if owned:
                pipe.zadd(worker_key(name, "load"), dict.fromkeys(owned, now + LOAD_SECONDS))
                pipe.mget([match_key(match_id, "lease") for match_id in owned])
            answers = await pipe.execute()
        texts = dict(zip(owned, answers[-1], strict=True)) if owned else {}
        lost, forgotten = set(), set()
        for match_id, epoch in owned.items():
            lease = lease_or_none(texts[match_id])
            if lease is None or lease.epoch < epoch:
                forgotten.add(match_id)
            elif not lease.holds(epoch, name):
                lost.add(match_id)
        return Beat(frozenset(lost), frozenset(forgotten), went_back=int(answers[3] or 0) < calls)

    async def gone(self, name: str, *, run: str = "") -> None:
        """The worker leaves on purpose, unless another process (not `run`) has its name by now.

        What it could not hand over is placed elsewhere at the next seat request, or adopted.
        """

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(worker_key(name))
            text = await text_of(pipe, worker_key(name))
            if text and json.loads(text).get("run", "") != run:
                return
            begin(pipe)
            pipe.delete(worker_key(name))
            await pipe.execute()

        await self._store.transaction(attempt)
        await self.forget(name)

    async def forget(self, name: str) -> None:
        """Nothing is left of a dead worker."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(worker_key(name), worker_key(name, "load"))
            if await pipe.exists(worker_key(name)) or await pipe.exists(worker_key(name, "load")):
                return
            begin(pipe)
            pipe.srem(WORKERS, name)
            pipe.delete(worker_key(name, "calls"))
            await pipe.execute()

        await self._store.transaction(attempt)

    async def waiting(self, worker: str, owned: Collection[str]) -> list[Waiting]:
        """The matches that `worker` carries and does not own. What cannot be read is set aside."""
        key = worker_key(worker, "load")
        carried = cast("list[tuple[str, float]]", await self._store.client.zrange(key, 0, -1, withscores=True))
        waiting = [(match_id, until) for match_id, until in carried if match_id not in owned]
        if not waiting:
            return []
        async with self._store.client.pipeline(transaction=False) as pipe:
            for match_id, _ in waiting:
                pipe.get(match_key(match_id, "lease"))
                pipe.exists(match_key(match_id, "snapshot"))
            answers = await pipe.execute()
        found = []
        for (match_id, until), text, begun in zip(waiting, answers[::2], answers[1::2], strict=True):
            try:
                lease = Lease.parse(text)
            except Damaged as error:
                await self.set_aside(match_id, worker=worker, why=error)
                continue
            found.append(Waiting(match_id, lease, has_begun=bool(begun), is_stale=until <= self._store.now()))
        return found

    async def unload(self, match_id: str, *, worker: str) -> None:
        """The match is no business of `worker` any more."""
        await self._store.client.zrem(worker_key(worker, "load"), match_id)

    async def set_aside(self, match_id: str, *, worker: str, why: Exception) -> None:
        """Nobody can read the match: no worker looks after it any more, and its neighbours are not held up by it."""
        metrics.set_aside.inc()
        logger.error("match set aside", extra={"match": match_id, "why": repr(why), "cause": repr(why.__cause__)})
        await self.unload(match_id, worker=worker)
