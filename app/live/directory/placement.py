"""Where matches are played: what pages ask the directory for, and how a match gets from one worker to another."""

import json
import logging
from collections.abc import Collection
from typing import cast

from redis.asyncio.client import Pipeline

from live import metrics
from live.directory.model import Damaged, Lease, NoWorker, Seat, Standing, Waiting, Worker, place, take_seat
from live.directory.store import (
    LOAD_SECONDS,
    MATCH_SECONDS,
    WORKERS,
    Store,
    begin,
    dump,
    match_key,
    queue_snapshot,
    read_spec,
    readable,
    text_of,
    texts_of,
    version_of,
    worker_key,
)
from live.records import SCHEMA, MatchSpec, Snapshot

logger = logging.getLogger(__name__)


class Placement(Store):
    """Matches, seats and which worker has them."""

    async def match_create(self, spec: MatchSpec, *, worker: str = "", seconds: int = MATCH_SECONDS) -> None:
        """Make a match known, forgotten after `seconds` unless it is played. ValueError if the id is taken.

        With `worker` it is placed there already, whatever that worker says of itself.
        """
        if not await self._client.set(match_key(spec.id), dump(spec.to_json()), nx=True, ex=seconds):
            raise ValueError(f"there is a match {spec.id} already")
        if worker:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.set(match_key(spec.id, "lease"), Lease(1, worker).text(), nx=True, ex=seconds)
                pipe.zadd(worker_key(worker, "load"), {spec.id: self._now() + LOAD_SECONDS})
                await pipe.execute()

    async def match_get(self, match_id: str) -> MatchSpec | None:
        """The match, or None if it is unknown, unreadable, or over and recorded. UnknownSchema."""
        text = await self._client.get(match_key(match_id))
        try:
            return read_spec(text) if text else None
        except Damaged:
            return None

    async def match_standing(self, match_id: str) -> Standing | None:
        """How a match stood at the last rally boundary, or None before the first serve."""
        text = await self._client.get(match_key(match_id, "snapshot"))
        return Standing.from_header(json.loads(text)) if text else None

    async def match_seat(self, match_id: str, *, identity: str, name: str, before: str = "") -> Seat:
        """The seat of `identity`: its side, the free side (taken for good), or a place to watch from.

        Somebody who has signed in since the match began sits there as the guest of `before`.

        A match without a live worker is placed on the least loaded one that can read it; not for somebody who watches,
        if it has one that only looks dead: its players may be there, and they will ask themselves.
        NoSuchMatch, MatchOver, NoWorker, UnknownSchema.
        """

        async def attempt(pipe: Pipeline) -> Seat:
            await pipe.watch(match_key(match_id), match_key(match_id, "lease"))
            spec = await self._spec(pipe, match_id)
            lease = Lease.parse(await text_of(pipe, match_key(match_id, "lease")))
            workers = {worker.name: worker for worker in await self.workers()}
            as_before = bool(before) and spec.side_of(identity) is None and spec.side_of(before) is not None
            known = before if as_before else identity
            seated, side = take_seat(spec, known, name)
            placed = lease
            if lease.worker not in workers and (side is not None or not lease.worker):
                schema = _schema(await text_of(pipe, match_key(match_id, "snapshot")))
                placed = place(lease, workers.values(), schema=schema)
            begin(pipe)
            if seated is not spec:
                pipe.set(match_key(match_id), dump(seated.to_json()), ex=MATCH_SECONDS)
            if placed is not lease:
                self._queue_placement(pipe, match_id, lease, placed)
            await pipe.execute()
            return Seat(worker=placed.worker, side=side, identity=known)

        return await self._transaction(attempt)

    async def workers(self) -> list[Worker]:
        """The workers that are alive, by name."""
        names = sorted(cast("set[str]", await self._client.smembers(WORKERS)))
        if not names:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(worker_key(name))
                pipe.zcount(worker_key(name, "load"), self._now(), "+inf")
            answers = await pipe.execute()
        found = []
        for name, text, load in zip(names, answers[::2], answers[1::2], strict=True):
            try:
                with readable("a worker"):
                    found += [Worker.from_json(name, load, json.loads(text))] if text else []
            except Damaged:
                logger.exception("worker cannot be read", extra={"worker": name})
        return found

    async def match_hand_over(
        self, match_id: str, *, worker: str, epoch: int, snapshot: Snapshot | None, release: str = ""
    ) -> str | None:
        """Give a match to the least loaded other worker, with its last snapshot, in one step; the name of that worker.

        Workers of another release than `release`, that of this worker, come first. None when no other takes matches:
        then it is free, and goes on where the next seat request places it. Fenced, NoSuchMatch.
        """

        async def attempt(pipe: Pipeline) -> str | None:
            lease, header = await self._guard(pipe, match_id, epoch)
            others = [other for other in await self.workers() if other.name != worker]
            try:
                placed = place(lease, others, schema=SCHEMA, leaving=release)
            except NoWorker:
                placed = Lease(epoch, "")
            begin(pipe)
            if snapshot is not None:
                queue_snapshot(pipe, match_id, snapshot, known=version_of(header))
            if placed.worker:
                self._queue_placement(pipe, match_id, lease, placed)
            else:
                # It stays among what the worker carries, where others look for matches without an owner.
                pipe.set(match_key(match_id, "lease"), placed.text(), ex=MATCH_SECONDS)
            await pipe.execute()
            return placed.worker or None

        return await self._transaction(attempt)

    async def match_pass_on(self, match_id: str, *, worker: str) -> str | None:
        """Place a match elsewhere that is free, or was placed at `worker`, which cannot take it; the name of the other.

        None when somebody else has it by now, or nobody can take it; then it stays as it is.
        """

        async def attempt(pipe: Pipeline) -> str | None:
            await pipe.watch(match_key(match_id, "lease"))
            text, header = await texts_of(pipe, match_key(match_id, "lease"), match_key(match_id, "snapshot"))
            lease = Lease.parse(text)
            if lease.worker not in ("", worker) or not lease.epoch:
                await self.match_unload(match_id, worker=worker)
                return None
            others = [other for other in await self.workers() if other.name != worker]
            try:
                placed = place(lease, others, schema=_schema(header))
            except NoWorker:
                return None
            begin(pipe)
            pipe.zrem(worker_key(worker, "load"), match_id)
            self._queue_placement(pipe, match_id, lease, placed)
            await pipe.execute()
            return placed.worker

        return await self._transaction(attempt)

    async def match_place(self, match_id: str, *, worker: str) -> None:
        """Place a free match at `worker`. What is not free any more stays where it is."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(match_key(match_id, "lease"))
            lease = Lease.parse(await text_of(pipe, match_key(match_id, "lease")))
            if lease.worker or not lease.epoch:
                return
            begin(pipe)
            self._queue_placement(pipe, match_id, lease, Lease(lease.epoch + 1, worker))
            await pipe.execute()

        await self._transaction(attempt)

    async def matches_waiting(self, worker: str, owned: Collection[str]) -> list[Waiting]:
        """The matches that `worker` carries and does not own. What cannot be read is set aside."""
        key = worker_key(worker, "load")
        carried = cast("list[tuple[str, float]]", await self._client.zrange(key, 0, -1, withscores=True))
        waiting = [(match_id, until) for match_id, until in carried if match_id not in owned]
        if not waiting:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for match_id, _ in waiting:
                pipe.get(match_key(match_id, "lease"))
                pipe.exists(match_key(match_id, "snapshot"))
            answers = await pipe.execute()
        found = []
        for (match_id, until), text, begun in zip(waiting, answers[::2], answers[1::2], strict=True):
            try:
                lease = Lease.parse(text)
            except Damaged as error:
                await self.match_set_aside(match_id, worker=worker, why=error)
                continue
            found.append(Waiting(match_id, lease, has_begun=bool(begun), is_stale=until <= self._now()))
        return found

    async def match_set_aside(self, match_id: str, *, worker: str, why: Exception) -> None:
        """Nobody can read the match: no worker looks after it any more, and its neighbours are not held up by it."""
        metrics.set_aside.inc()
        logger.error("match set aside", extra={"match": match_id, "why": repr(why), "cause": repr(why.__cause__)})
        await self.match_unload(match_id, worker=worker)

    async def match_unload(self, match_id: str, *, worker: str) -> None:
        """The match is no business of `worker` any more."""
        await self._client.zrem(worker_key(worker, "load"), match_id)

    async def workers_dead(self) -> list[str]:
        """Workers that left matches behind without a word, or without another worker to take them."""
        names = sorted(cast("set[str]", await self._client.smembers(WORKERS)))
        if not names:
            return []
        keys = await self._client.mget([worker_key(name) for name in names])
        return [name for name, text in zip(names, keys, strict=True) if not text]

    async def worker_forget(self, name: str) -> None:
        """Nothing is left of a dead worker."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(worker_key(name), worker_key(name, "load"))
            if await pipe.exists(worker_key(name)) or await pipe.exists(worker_key(name, "load")):
                return
            begin(pipe)
            pipe.srem(WORKERS, name)
            await pipe.execute()

        await self._transaction(attempt)

    def _queue_placement(self, pipe: Pipeline, match_id: str, lease: Lease, placed: Lease) -> None:
        pipe.set(match_key(match_id, "lease"), placed.text(), ex=MATCH_SECONDS)
        pipe.zadd(worker_key(placed.worker, "load"), {match_id: self._now() + LOAD_SECONDS})
        if lease.worker:
            pipe.zrem(worker_key(lease.worker, "load"), match_id)


def _schema(header: str | None) -> int:
    """What a worker must be able to read to go on with a match."""
    with readable("a snapshot"):
        return int(json.loads(header).get("schema", SCHEMA)) if header else 1
