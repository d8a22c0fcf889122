"""The directory in Valkey: which matches there are, who sits where, and which worker owns each of them.

Keys (values are JSON unless said otherwise):

    mp:workers                 set of the names of workers ever seen
    mp:worker:<name>           what the worker says of itself; lives 4 s, renewed every second
    mp:worker:<name>:load      sorted set of what it carries, match id by the time (s) until which that counts as load
    mp:match:<id>              the spec
    mp:match:<id>:lease        text `<epoch>:<worker>`; no worker after the colon: free to be placed
    mp:match:<id>:snapshot     the last rally boundary
    mp:match:<id>:timeline     list of pieces of the timeline, one piece a boundary
    mp:match:<id>:over         set when the match is over; the others go when its result is in the database
    mp:revocations             stream of identities that were logged out (live.directory.revocations)
    mp:revoked:<identity>      text, when that was (s)

A worker owns its matches as long as it renews its own key. The epoch is the fencing token: it grows with every
placement and every claim, and every write of an owner is refused when the lease no longer carries its epoch.
A match that nobody owns stays in the load of the worker that had it last, until another takes it
(live.worker.takeover).
Transactions are WATCH/MULTI, so the in-process stand-in of `manage.py play` needs nothing special.
"""

import asyncio
import json
import logging
import os
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ValkeyConnectionError

from live.directory.model import (
    Beat,
    Claim,
    Damaged,
    DirectoryError,
    Fenced,
    Lease,
    MatchOver,
    NoSuchMatch,
    NoWorker,
    Seat,
    Standing,
    Unreadable,
    Worker,
)
from live.directory.placement import Placement
from live.directory.revocations import Revocations
from live.directory.store import (
    LOAD_SECONDS,
    MATCH_SECONDS,
    PARTS,
    WORKERS,
    begin,
    dump,
    lease_or_none,
    match_key,
    queue_snapshot,
    read_snapshot,
    read_spec,
    text_of,
    version_of,
    worker_key,
)
from live.records import SCHEMA, MatchSpec, Snapshot, UnknownSchema

__all__ = [
    "Beat",
    "Claim",
    "Damaged",
    "Directory",
    "DirectoryError",
    "Fenced",
    "MatchOver",
    "NoSuchMatch",
    "NoWorker",
    "Seat",
    "Standing",
    "Unreadable",
    "Worker",
    "get_directory",
]

logger = logging.getLogger(__name__)

WORKER_SECONDS: Final = 4  # a worker that was silent for so long is dead
RESULTS: Final = "mp:results"  # of matches that are over and not stored yet, by when somebody else is to see to it
OVERDUE_SECONDS: Final = 120  # the host that has the result tries every few seconds
OVER_SECONDS: Final = 3600  # for so long a seat of a finished match answers "over"
TIMEOUT_SECONDS = 2.0  # for every command
CONNECTIONS: Final = 32  # of a process to Valkey; commands take a millisecond


class Directory(Placement, Revocations):
    """Matches, leases and workers in one Valkey (or its stand-in). Raises redis' errors when that cannot be reached."""

    async def worker_beat(
        self,
        name: str,
        *,
        release: str,
        draining: bool,
        owned: dict[str, int],
        reserve: bool = False,
        run: str = "",
    ) -> Beat:
        """Renew the worker and its leases. `owned` is match id -> epoch, `run` names this process among its likes."""
        now = self._now()
        about = {
            "draining": draining,
            "reserve": reserve,
            "release": release,
            "schema": SCHEMA,
            "run": run,
            "pid": os.getpid(),
        }
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(worker_key(name), dump(about), ex=WORKER_SECONDS)
            pipe.sadd(WORKERS, name)
            pipe.expire(worker_key(name, "load"), MATCH_SECONDS)
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
            elif not lease.holds(epoch):
                lost.add(match_id)
        return Beat(lost=frozenset(lost), forgotten=frozenset(forgotten))

    async def worker_gone(self, name: str, *, run: str = "") -> None:
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

        await self._transaction(attempt)
        await self.worker_forget(name)

    async def match_claim(self, match_id: str, *, worker: str) -> Claim:
        """Become the owner of a match that was placed here. NoSuchMatch, MatchOver; Fenced if it is elsewhere.

        UnknownSchema when a newer release wrote it: then it stays with whom it was.
        """

        async def attempt(pipe: Pipeline) -> Claim:
            await pipe.watch(match_key(match_id), match_key(match_id, "lease"))
            spec = await self._spec(pipe, match_id)
            lease = Lease.parse(await text_of(pipe, match_key(match_id, "lease")))
            if lease.worker != worker:
                raise Fenced(match_id)
            header = await text_of(pipe, match_key(match_id, "snapshot"))
            pieces = cast("list[str]", await pipe.lrange(match_key(match_id, "timeline"), 0, -1)) if header else []
            snapshot = read_snapshot(header, pieces)
            epoch = lease.epoch + 1
            begin(pipe)
            pipe.set(match_key(match_id, "lease"), Lease(epoch, worker).text(), ex=MATCH_SECONDS)
            if snapshot is not None and snapshot.handover is not None:
                # Whoever takes over after this owner must not believe that nothing has happened since.
                pipe.set(match_key(match_id, "snapshot"), dump(snapshot.header(handover=False)), ex=MATCH_SECONDS)
            await pipe.execute()
            return Claim(spec=spec, epoch=epoch, snapshot=snapshot)

        return await self._transaction(attempt)

    async def match_restore(self, spec: MatchSpec, *, worker: str, epoch: int) -> None:
        """Make a match known again that this worker owns and Valkey has lost. What is there and no older stays."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(match_key(spec.id, "lease"))
            lease = lease_or_none(await text_of(pipe, match_key(spec.id, "lease")))
            begin(pipe)
            pipe.set(match_key(spec.id), dump(spec.to_json()), nx=True, ex=MATCH_SECONDS)
            if lease is None or lease.epoch < epoch:
                pipe.set(match_key(spec.id, "lease"), Lease(epoch, worker).text(), ex=MATCH_SECONDS)
            await pipe.execute()

        await self._transaction(attempt)

    async def match_is_owned(self, match_id: str, *, epoch: int) -> bool:
        """False when the lease has moved on."""
        lease = lease_or_none(cast("str | None", await self._client.get(match_key(match_id, "lease"))))
        return lease is None or lease.holds(epoch)

    async def match_snapshot(self, match_id: str, *, epoch: int, snapshot: Snapshot) -> None:
        """Keep the rally boundary, unless it or a newer one is kept. Only events that are not stored yet travel.

        Fenced, NoSuchMatch.
        """

        async def attempt(pipe: Pipeline) -> None:
            _, header = await self._guard(pipe, match_id, epoch)
            known = version_of(header)
            if header and known >= snapshot.state["version"]:
                return  # a call that was held up, and overtaken by the next one
            begin(pipe)
            queue_snapshot(pipe, match_id, snapshot, known=known)
            await pipe.execute()

        await self._transaction(attempt)

    async def match_done(self, match_id: str, *, epoch: int) -> None:
        """The match is over and the database has its result, or there is none. Fenced, NoSuchMatch."""

        async def attempt(pipe: Pipeline) -> None:
            lease, _ = await self._guard(pipe, match_id, epoch)
            begin(pipe)
            _queue_end(pipe, match_id)
            pipe.zrem(worker_key(lease.worker, "load"), match_id)
            await pipe.execute()

        await self._transaction(attempt)

    async def match_result_waits(self, match_id: str, *, epoch: int) -> None:
        """The match is over, and its result waits on a disk for the database: pages find it here until then.

        Fenced, NoSuchMatch.
        """

        async def attempt(pipe: Pipeline) -> None:
            lease, _ = await self._guard(pipe, match_id, epoch)
            begin(pipe)
            pipe.set(match_key(match_id, "over"), "1", ex=MATCH_SECONDS)
            pipe.zrem(worker_key(lease.worker, "load"), match_id)
            pipe.zadd(RESULTS, {match_id: self._now() + OVERDUE_SECONDS})
            await pipe.execute()

        await self._transaction(attempt)

    async def results_overdue(self) -> list[Claim]:
        """Matches that are over and whose results nobody has stored for long: the host that has them may be lost.

        They are kept for whoever asks, and so not given to others for a while. What cannot be read is forgotten.
        """
        now, found = self._now(), []
        for match_id in cast("list[str]", await self._client.zrangebyscore(RESULTS, "-inf", now, start=0, num=8)):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.zadd(RESULTS, {match_id: now + OVERDUE_SECONDS}, xx=True)
                pipe.mget([match_key(match_id), *(match_key(match_id, part) for part in ("lease", "snapshot"))])
                pipe.lrange(match_key(match_id, "timeline"), 0, -1)
                _, (spec, lease, header), pieces = await pipe.execute()
            try:
                claim = Claim(
                    spec=read_spec(spec or ""),
                    epoch=Lease.parse(lease).epoch,
                    snapshot=read_snapshot(header, pieces),
                )
            except UnknownSchema:
                continue  # another worker can
            except Damaged:
                logger.exception("overdue result cannot be read", extra={"match": match_id})
                await self._client.zrem(RESULTS, match_id)
            else:
                found.append(claim)
        return found

    async def match_recorded(self, match_id: str) -> None:
        """The database has the result at last."""
        async with self._client.pipeline(transaction=True) as pipe:
            _queue_end(pipe, match_id)
            await pipe.execute()

    async def match_release(self, match_id: str, *, epoch: int, keep: bool = False) -> None:
        """Give the match up; the next seat request places it anew. Fenced, NoSuchMatch.

        `keep`: it stays where others look for matches without an owner.
        """

        async def attempt(pipe: Pipeline) -> None:
            lease, _ = await self._guard(pipe, match_id, epoch)
            begin(pipe)
            pipe.set(match_key(match_id, "lease"), Lease(epoch, "").text(), ex=MATCH_SECONDS)
            if not keep:
                pipe.zrem(worker_key(lease.worker, "load"), match_id)
            await pipe.execute()

        await self._transaction(attempt)


def _queue_end(pipe: Pipeline, match_id: str) -> None:
    pipe.delete(*(match_key(match_id, part) for part in PARTS))
    pipe.set(match_key(match_id, "over"), "1", ex=OVER_SECONDS)
    pipe.zrem(RESULTS, match_id)


_directories: "WeakKeyDictionary[asyncio.AbstractEventLoop, Directory]" = WeakKeyDictionary()
_fake_server: Any = None


def get_directory() -> Directory:
    """The directory of the settings, one for every event loop: connections belong to the loop that made them."""
    loop = asyncio.get_running_loop()
    directory = _directories.get(loop)
    if directory is None:
        directory = _directories[loop] = Directory(_client())
    return directory


def _client() -> Redis:
    from django.conf import settings

    if settings.VALKEY_URL.startswith("fake://"):
        return _fake_client()
    # Whoever comes when all connections are in use waits for one: an error would be taken for a directory that is away
    pool = BlockingConnectionPool.from_url(
        settings.VALKEY_URL,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=15,
        # Once more on a connection that the other end has dropped. Not after a timeout: tries would add up to 8 s, and
        # a worker that waits so long has lost its leases. Callers have their own retries.
        retry=Retry(NoBackoff(), 1, supported_errors=(ValkeyConnectionError,)),
    )
    return Redis.from_pool(pool)


def _fake_client() -> Redis:
    from fakeredis import FakeAsyncRedis

    return cast(Redis, FakeAsyncRedis(server=fake_server(), decode_responses=True))


def fake_server() -> Any:
    """One stand-in a process, shared by all its event loops and threads."""
    global _fake_server
    from fakeredis import FakeServer

    if _fake_server is None:
        _fake_server = FakeServer()
    return _fake_server
