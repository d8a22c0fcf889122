"""What the parts of the directory share: the names of keys, transactions, and the guard of the lease."""

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from live.directory.model import Damaged, Fenced, Lease, MatchOver, NoSuchMatch
from live.records import Checkpoint, MatchSpec, UnknownSchema

LOAD_SECONDS: Final = 30  # a match counts as load for so long after its placement, or after its owner's last renewal
MATCH_SECONDS: Final = 24 * 3600  # a match that nobody touches is forgotten

WORKERS: Final = "mp:workers"
WATCHABLE: Final = "mp:lobby:matches"  # sorted set of those that strangers play, by their strength
PARTS: Final = ("", "lease", "snapshot", "timeline")  # of a match

T = TypeVar("T")


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Within it something stored is read: raises Damaged for JSON that was cut off or is of something else.

    UnknownSchema, of a newer release, goes through.
    """
    try:
        yield
    except UnknownSchema:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(what) from error


class Store:
    """One Valkey (or its stand-in) and the transactions on it."""

    def __init__(self, client: Redis, *, now: Callable[[], float] = time.time) -> None:
        self.client = client
        self.now = now

    async def transaction(self, attempt: Callable[[Pipeline], Awaitable[T]]) -> T:
        """Run `attempt` until nobody else changed what it watched. Contention is between the players of one match."""
        for _ in range(16):
            async with self.client.pipeline(transaction=True) as pipe:
                try:
                    return await attempt(pipe)
                except WatchError:
                    continue
        raise TimeoutError("the directory is contended")

    async def spec(self, pipe: Pipeline, match_id: str) -> MatchSpec:
        text, over = await texts_of(pipe, match_key(match_id), match_key(match_id, "over"))
        if over:
            raise MatchOver(match_id)
        if not text:
            raise NoSuchMatch(match_id)
        return read_spec(text)

    async def guard(self, pipe: Pipeline, match_id: str, *, worker: str, epoch: int) -> tuple[Lease, str | None]:
        """Watch the lease and refuse an owner that does not hold it; answers with its lease and the stored checkpoint.

        NoSuchMatch when there is no lease.
        """
        await pipe.watch(match_key(match_id, "lease"))
        text, header = await texts_of(pipe, match_key(match_id, "lease"), match_key(match_id, "snapshot"))
        lease = Lease.parse(text)
        if not lease.epoch:
            raise NoSuchMatch(match_id)
        if not lease.holds(epoch, worker):
            raise Fenced(match_id)
        return Lease(epoch, lease.worker), header


def match_key(match_id: str, part: str = "") -> str:
    return f"mp:match:{match_id}:{part}" if part else f"mp:match:{match_id}"


def worker_key(name: str, part: str = "") -> str:
    return f"mp:worker:{name}:{part}" if part else f"mp:worker:{name}"


async def text_of(pipe: Pipeline, key: str) -> str | None:
    """The text under a watched key. The client decodes, which its types cannot tell."""
    return cast("str | None", await pipe.get(key))


async def texts_of(pipe: Pipeline, *keys: str) -> list[str | None]:
    return cast("list[str | None]", await pipe.mget(keys))


def lease_or_none(text: str | None) -> Lease | None:
    """A stored lease; None when there is none that could be read, so that its owner writes it anew."""
    try:
        return Lease.parse(text) if text else None
    except Damaged:
        return None


def begin(pipe: Pipeline) -> None:
    """From here on commands are queued until `execute`."""
    pipe.multi()  # type: ignore[no-untyped-call]  # redis-py has no types for it


def dump(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def version_of(header: str | None) -> int:
    """The version up to which the timeline beside a stored checkpoint goes; -1 if that cannot be told."""
    try:
        with readable("a snapshot"):
            return int(json.loads(header)["state"]["version"]) if header else 0
    except Damaged:
        return -1


def queue_checkpoint(pipe: Pipeline, match_id: str, checkpoint: Checkpoint, *, known: int) -> None:
    """Queue the writes of a checkpoint. Only events after the stored version `known` travel; all, if that is -1."""
    if known < 0:
        pipe.delete(match_key(match_id, "timeline"))
    pipe.set(match_key(match_id, "snapshot"), dump(checkpoint.header()), ex=MATCH_SECONDS)
    if len(checkpoint.timeline) > known:
        pipe.rpush(match_key(match_id, "timeline"), checkpoint.timeline.json(max(known, 0)))
    for part in ("", "lease", "timeline"):
        pipe.expire(match_key(match_id, part), MATCH_SECONDS)


def read_spec(text: str | bytes) -> MatchSpec:
    """The stored match. UnknownSchema, Damaged."""
    with readable("a match"):
        return MatchSpec.from_json(json.loads(text))


def read_checkpoint(header: str | None, pieces: list[str]) -> Checkpoint | None:
    """The stored checkpoint. UnknownSchema when a newer release wrote it, Damaged when nobody can read it."""
    if header is None:
        return None
    with readable("a snapshot"):
        data = json.loads(header)
        timeline = [event for piece in pieces for event in json.loads(piece)]
        return Checkpoint.from_header(data, timeline[: data["state"]["version"]])
