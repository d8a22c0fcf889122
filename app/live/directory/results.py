"""Matches that are over: forgotten when the database has their results, kept where others find them until then."""

import logging
from collections.abc import Collection
from typing import Final, cast

from redis.asyncio.client import Pipeline

from live.directory.model import (
    Claim,
    Damaged,
    Lease,
)
from live.directory.store import MATCH_SECONDS, PARTS, Store, begin, match_key, read_checkpoint, read_spec, worker_key
from live.records import UnknownSchema

logger = logging.getLogger(__name__)

RESULTS: Final = "mp:results"  # of matches that are over and not stored yet, by when somebody else is to see to it
OVERDUE_SECONDS: Final = 120  # the host that has the result tries every few seconds
OVER_SECONDS: Final = 3600  # for so long a seat of a finished match answers "over"


class Results:
    """What becomes of the ends of matches."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def done(self, match_id: str, *, worker: str, epoch: int) -> None:
        """The match is over and the database has its result, or there is none. Fenced, NoSuchMatch."""

        async def attempt(pipe: Pipeline) -> None:
            lease, _ = await self._store.guard(pipe, match_id, worker=worker, epoch=epoch)
            begin(pipe)
            _queue_end(pipe, match_id)
            pipe.zrem(worker_key(lease.worker, "load"), match_id)
            await pipe.execute()

        await self._store.transaction(attempt)

    async def wait(self, match_id: str, *, worker: str, epoch: int) -> None:
        """The match is over, and its result waits on a disk for the database: pages find it here until then.

        Fenced, NoSuchMatch.
        """

        async def attempt(pipe: Pipeline) -> None:
            lease, _ = await self._store.guard(pipe, match_id, worker=worker, epoch=epoch)
            begin(pipe)
            pipe.set(match_key(match_id, "over"), "1", ex=MATCH_SECONDS)
            pipe.zrem(worker_key(lease.worker, "load"), match_id)
            pipe.zadd(RESULTS, {match_id: self._store.now() + OVERDUE_SECONDS})
            await pipe.execute()

        await self._store.transaction(attempt)

    async def overdue(self) -> list[Claim]:
        """Matches that are over and whose results nobody has stored for long: the host that has them may be lost.

        They are kept for whoever asks, and so not given to others for a while. What cannot be read is forgotten.
        """
        now, found = self._store.now(), []
        for match_id in cast("list[str]", await self._store.client.zrangebyscore(RESULTS, "-inf", now, start=0, num=8)):
            async with self._store.client.pipeline(transaction=True) as pipe:
                pipe.zadd(RESULTS, {match_id: now + OVERDUE_SECONDS}, xx=True)
                pipe.mget([match_key(match_id), *(match_key(match_id, part) for part in ("lease", "snapshot"))])
                pipe.lrange(match_key(match_id, "timeline"), 0, -1)
                _, (spec, lease, header), pieces = await pipe.execute()
            try:
                claim = Claim(
                    spec=read_spec(spec or ""),
                    epoch=Lease.parse(lease).epoch,
                    checkpoint=read_checkpoint(header, pieces),
                )
            except UnknownSchema:
                continue  # another worker can
            except Damaged:
                logger.exception("overdue result cannot be read", extra={"match": match_id})
                await self._store.client.zrem(RESULTS, match_id)
            else:
                found.append(claim)
        return found

    async def reopened(self, match_ids: Collection[str]) -> list[str]:
        """Those of these matches, all of which were told to be over, that the directory takes for going on."""
        if not match_ids:
            return []
        keys = [match_key(match_id, part) for match_id in match_ids for part in ("lease", "over")]
        texts = await self._store.client.mget(keys)
        leases = zip(match_ids, texts[::2], texts[1::2], strict=True)
        return [match_id for match_id, lease, over in leases if lease and not over]

    async def recorded(self, match_id: str) -> None:
        """The database has the result at last."""
        async with self._store.client.pipeline(transaction=True) as pipe:
            _queue_end(pipe, match_id)
            await pipe.execute()


def _queue_end(pipe: Pipeline, match_id: str) -> None:
    pipe.delete(*(match_key(match_id, part) for part in PARTS))
    pipe.set(match_key(match_id, "over"), "1", ex=OVER_SECONDS)
    pipe.zrem(RESULTS, match_id)
