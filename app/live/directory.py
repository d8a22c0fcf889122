"""The directory in Valkey: which matches there are, who sits where, and which worker owns each of them.

Keys (values are JSON unless said otherwise):

    mp:workers                 set of the names of workers ever seen
    mp:worker:<name>           what the worker says of itself; lives 5 s, renewed every second
    mp:worker:<name>:load      sorted set, match id by the time (s) until which it counts as load
    mp:match:<id>              the spec
    mp:match:<id>:lease        text `<epoch>:<worker>`; no worker after the colon: free to be placed
    mp:match:<id>:snapshot     the last rally boundary
    mp:match:<id>:timeline     list of pieces of the timeline, one piece a boundary
    mp:match:<id>:over         left for an hour when the match is over

A worker owns its matches as long as it renews its own key. The epoch is the fencing token: it grows with every
placement and every claim, and every write of an owner is refused when the lease no longer carries its epoch.
Transactions are WATCH/MULTI, so the in-process stand-in of `manage.py play` needs nothing special.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ValkeyConnectionError
from redis.exceptions import WatchError

from live.leases import (
    Beat,
    Claim,
    DirectoryError,
    Fenced,
    Lease,
    MatchOver,
    NoSuchMatch,
    NoWorker,
    Seat,
    Worker,
    place,
    take_seat,
)
from live.records import MatchSpec, Snapshot

__all__ = [
    "Beat",
    "Claim",
    "Directory",
    "DirectoryError",
    "Fenced",
    "MatchOver",
    "NoSuchMatch",
    "NoWorker",
    "Seat",
    "Worker",
    "get_directory",
]

WORKER_SECONDS = 5  # a worker that was silent for so long is dead
LOAD_SECONDS = 30  # a match counts as load for so long after its placement, or after its owner's last renewal
MATCH_SECONDS = 24 * 3600  # a match that nobody touches is forgotten
OVER_SECONDS = 3600  # for so long a seat of a finished match answers "over"
TIMEOUT_SECONDS = 2.0  # for every command

T = TypeVar("T")


class Directory:
    """Matches, leases and workers in one Valkey (or its stand-in). Raises redis' errors when that cannot be reached."""

    def __init__(self, client: Redis, *, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._now = now

    # Asked by the pages

    async def match_create(self, spec: MatchSpec) -> None:
        """Make a match known. ValueError if the id is taken."""
        if not await self._client.set(_match(spec.id), _dump(spec.to_json()), nx=True, ex=MATCH_SECONDS):
            raise ValueError(f"there is a match {spec.id} already")

    async def match_get(self, match_id: str) -> MatchSpec | None:
        """The match, or None if it is unknown or over."""
        text = await self._client.get(_match(match_id))
        return MatchSpec.from_json(json.loads(text)) if text else None

    async def match_score(self, match_id: str) -> tuple[int, int] | None:
        """The score at the last rally boundary, or None before the first serve."""
        text = await self._client.get(_match(match_id, "snapshot"))
        if not text:
            return None
        left, right = json.loads(text)["state"]["score"]
        return left, right

    async def match_seat(self, match_id: str, *, identity: str, name: str) -> Seat:
        """The seat of `identity`: its side, the free side (taken for good), or a place to watch from.

        A match without a live worker is placed on the least loaded one. NoSuchMatch, MatchOver, NoWorker.
        """

        async def attempt(pipe: Pipeline) -> Seat:
            await pipe.watch(_match(match_id), _match(match_id, "lease"))
            spec = await self._spec(pipe, match_id)
            lease = Lease.parse(await _text(pipe, _match(match_id, "lease")))
            workers = {worker.name: worker for worker in await self.workers()}
            seated, side = take_seat(spec, identity, name)
            placed = lease if lease.worker in workers else place(lease, workers.values())
            _begin(pipe)
            if seated is not spec:
                pipe.set(_match(match_id), _dump(seated.to_json()), ex=MATCH_SECONDS)
            if placed is not lease:
                pipe.set(_match(match_id, "lease"), placed.text(), ex=MATCH_SECONDS)
                pipe.zadd(_worker(placed.worker, "load"), {match_id: self._now() + LOAD_SECONDS})
                if lease.worker:
                    pipe.zrem(_worker(lease.worker, "load"), match_id)
            await pipe.execute()
            return Seat(worker=placed.worker, side=side)

        return await self._transaction(attempt)

    async def workers(self) -> list[Worker]:
        """The workers that are alive, by name."""
        names = sorted(cast("set[str]", await self._client.smembers(_WORKERS)))
        if not names:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(_worker(name))
                pipe.zcount(_worker(name, "load"), self._now(), "+inf")
            answers = await pipe.execute()
        alive = []
        for name, text, load in zip(names, answers[::2], answers[1::2], strict=True):
            if text:
                data = json.loads(text)
                alive.append(Worker(name=name, matches=load, draining=data["draining"], release=data["release"]))
        return alive

    # Asked by the workers

    async def worker_beat(self, name: str, *, release: str, draining: bool, owned: dict[str, int]) -> Beat:
        """Renew the worker and its leases. `owned` is match id -> epoch."""
        now = self._now()
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(_worker(name), _dump({"draining": draining, "release": release}), ex=WORKER_SECONDS)
            pipe.sadd(_WORKERS, name)
            pipe.zremrangebyscore(_worker(name, "load"), "-inf", now)
            pipe.expire(_worker(name, "load"), MATCH_SECONDS)
            if owned:
                pipe.zadd(_worker(name, "load"), dict.fromkeys(owned, now + LOAD_SECONDS))
                pipe.mget([_match(match_id, "lease") for match_id in owned])
            answers = await pipe.execute()
        leases = dict(zip(owned, answers[-1], strict=True)) if owned else {}
        return Beat(
            lost=frozenset(match_id for match_id, text in leases.items() if Lease.parse(text).epoch > owned[match_id]),
            forgotten=frozenset(match_id for match_id, text in leases.items() if text is None),
        )

    async def worker_gone(self, name: str) -> None:
        """The worker leaves on purpose; what it still holds is placed elsewhere at the next seat request."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.delete(_worker(name), _worker(name, "load"))
            pipe.srem(_WORKERS, name)
            await pipe.execute()

    async def match_claim(self, match_id: str, *, worker: str) -> Claim:
        """Become the owner of a match that was placed here. NoSuchMatch, MatchOver; Fenced if it is elsewhere."""

        async def attempt(pipe: Pipeline) -> Claim:
            await pipe.watch(_match(match_id), _match(match_id, "lease"))
            spec = await self._spec(pipe, match_id)
            lease = Lease.parse(await _text(pipe, _match(match_id, "lease")))
            if lease.worker != worker:
                raise Fenced(match_id)
            header = await _text(pipe, _match(match_id, "snapshot"))
            pieces = cast("list[str]", await pipe.lrange(_match(match_id, "timeline"), 0, -1)) if header else []
            epoch = lease.epoch + 1
            _begin(pipe)
            pipe.set(_match(match_id, "lease"), Lease(epoch, worker).text(), ex=MATCH_SECONDS)
            await pipe.execute()
            return Claim(spec=spec, epoch=epoch, snapshot=_snapshot(header, pieces))

        return await self._transaction(attempt)

    async def match_restore(self, spec: MatchSpec, *, worker: str, epoch: int) -> None:
        """Make a match known again that this worker owns and Valkey has lost. Whatever is there by now stays."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.set(_match(spec.id), _dump(spec.to_json()), nx=True, ex=MATCH_SECONDS)
            pipe.set(_match(spec.id, "lease"), Lease(epoch, worker).text(), nx=True, ex=MATCH_SECONDS)
            await pipe.execute()

    async def match_is_owned(self, match_id: str, *, epoch: int) -> bool:
        """False when the lease has moved on."""
        return Lease.parse(cast("str | None", await self._client.get(_match(match_id, "lease")))).epoch <= epoch

    async def match_snapshot(self, match_id: str, *, epoch: int, snapshot: Snapshot) -> None:
        """Keep the rally boundary, unless a newer one is kept. Only events that are not stored yet travel.

        Fenced, NoSuchMatch.
        """

        async def attempt(pipe: Pipeline) -> None:
            await self._guard(pipe, match_id, epoch)
            stored = await pipe.get(_match(match_id, "snapshot"))
            known = json.loads(stored)["state"]["version"] if stored else 0
            if known > snapshot.state["version"]:
                return  # a call that was held up, and overtaken by the next one
            pieces = await pipe.llen(_match(match_id, "timeline"))
            fresh = snapshot.timeline[known:]
            _begin(pipe)
            pipe.set(_match(match_id, "snapshot"), _dump(snapshot.header()), ex=MATCH_SECONDS)
            if fresh:
                pipe.rpush(_match(match_id, "timeline"), _dump(fresh))
            if fresh and not pieces:
                pipe.expire(_match(match_id, "timeline"), MATCH_SECONDS)
            pipe.expire(_match(match_id), MATCH_SECONDS)
            pipe.expire(_match(match_id, "lease"), MATCH_SECONDS)
            await pipe.execute()

        await self._transaction(attempt)

    async def match_done(self, match_id: str, *, epoch: int) -> None:
        """The match is over and its result is safe. Fenced, NoSuchMatch."""

        async def attempt(pipe: Pipeline) -> None:
            lease = await self._guard(pipe, match_id, epoch)
            _begin(pipe)
            pipe.delete(*(_match(match_id, part) for part in ("", "lease", "snapshot", "timeline")))
            pipe.set(_match(match_id, "over"), "1", ex=OVER_SECONDS)
            pipe.zrem(_worker(lease.worker, "load"), match_id)
            await pipe.execute()

        await self._transaction(attempt)

    async def match_release(self, match_id: str, *, epoch: int) -> None:
        """Give the match up; the next seat request places it anew. Fenced, NoSuchMatch."""

        async def attempt(pipe: Pipeline) -> None:
            lease = await self._guard(pipe, match_id, epoch)
            _begin(pipe)
            pipe.set(_match(match_id, "lease"), Lease(epoch, "").text(), ex=MATCH_SECONDS)
            pipe.zrem(_worker(lease.worker, "load"), match_id)
            await pipe.execute()

        await self._transaction(attempt)

    async def close(self) -> None:
        await self._client.aclose()

    async def _spec(self, pipe: Pipeline, match_id: str) -> MatchSpec:
        text = await pipe.get(_match(match_id))
        if text:
            return MatchSpec.from_json(json.loads(text))
        raise MatchOver(match_id) if await pipe.exists(_match(match_id, "over")) else NoSuchMatch(match_id)

    async def _guard(self, pipe: Pipeline, match_id: str, epoch: int) -> Lease:
        """Watch the lease and refuse an owner whose epoch is not the newest. NoSuchMatch when there is no lease."""
        await pipe.watch(_match(match_id, "lease"))
        lease = Lease.parse(await _text(pipe, _match(match_id, "lease")))
        if not lease.epoch:
            raise NoSuchMatch(match_id)
        if lease.epoch != epoch:
            raise Fenced(match_id)
        return lease

    async def _transaction(self, attempt: Callable[[Pipeline], Awaitable[T]]) -> T:
        """Run `attempt` until nobody else changed what it watched. Contention is between the players of one match."""
        for _ in range(16):
            async with self._client.pipeline(transaction=True) as pipe:
                try:
                    return await attempt(pipe)
                except WatchError:
                    continue
        raise TimeoutError("the directory is contended")


_WORKERS = "mp:workers"


def _match(match_id: str, part: str = "") -> str:
    return f"mp:match:{match_id}:{part}" if part else f"mp:match:{match_id}"


def _worker(name: str, part: str = "") -> str:
    return f"mp:worker:{name}:{part}" if part else f"mp:worker:{name}"


async def _text(pipe: Pipeline, key: str) -> str | None:
    """The text under a watched key. The client decodes, which its types cannot tell."""
    return cast("str | None", await pipe.get(key))


def _begin(pipe: Pipeline) -> None:
    """From here on commands are queued until `execute`."""
    pipe.multi()  # type: ignore[no-untyped-call]  # redis-py has no types for it


def _dump(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _snapshot(header: str | None, pieces: list[str]) -> Snapshot | None:
    if header is None:
        return None
    data = json.loads(header)
    timeline = [event for piece in pieces for event in json.loads(piece)]
    return Snapshot.from_header(data, timeline[: data["state"]["version"]])


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
    return Redis.from_url(
        settings.VALKEY_URL,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=15,
        # Once more on a connection that the other end has dropped. Not after a timeout: tries would add up to 8 s, and
        # a worker that waits so long has lost its leases. Callers have their own retries.
        retry=Retry(NoBackoff(), 1, supported_errors=(ValkeyConnectionError,)),
    )


def _fake_client() -> Redis:
    """One stand-in a process, shared by all its event loops."""
    global _fake_server
    from fakeredis import FakeAsyncRedis, FakeServer

    if _fake_server is None:
        _fake_server = FakeServer()
    return cast(Redis, FakeAsyncRedis(server=_fake_server, decode_responses=True))
