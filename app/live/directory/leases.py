"""The leases: what an owner may do with its match, by the epoch that it was given."""

from typing import cast

from redis.asyncio.client import Pipeline

from live.directory.checkpoints import Checkpoints
from live.directory.model import Claim, Fenced, Lease
from live.directory.store import (
    MATCH_SECONDS,
    Store,
    begin,
    dump,
    lease_or_none,
    match_key,
    read_checkpoint,
    text_of,
    texts_of,
    worker_key,
)
from live.records import Checkpoint, MatchSpec


class Leases:
    """From the claim of a match to its release. Every write of an owner is refused when its lease has moved on."""

    def __init__(self, store: Store, *, tick_s: float) -> None:
        self._store = store
        self._checkpoints = Checkpoints(store, tick_s=tick_s)

    async def claim(self, match_id: str, *, worker: str) -> Claim:
        """Become the owner of a match that was placed here. NoSuchMatch, MatchOver; Fenced if it is elsewhere.

        UnknownSchema when a newer release wrote it: then it stays with whom it was.
        """

        async def attempt(pipe: Pipeline) -> Claim:
            await pipe.watch(match_key(match_id), match_key(match_id, "lease"))
            spec = await self._store.spec(pipe, match_id)
            lease = Lease.parse(await text_of(pipe, match_key(match_id, "lease")))
            if lease.worker != worker:
                raise Fenced(match_id)
            header = await text_of(pipe, match_key(match_id, "snapshot"))
            pieces = cast("list[str]", await pipe.lrange(match_key(match_id, "timeline"), 0, -1)) if header else []
            checkpoint = read_checkpoint(header, pieces)
            epoch = lease.epoch + 1
            begin(pipe)
            pipe.set(match_key(match_id, "lease"), Lease(epoch, worker).text(), ex=MATCH_SECONDS)
            if checkpoint is not None and checkpoint.handover is not None:
                # Whoever takes over after this owner must not believe that nothing has happened since.
                pipe.set(match_key(match_id, "snapshot"), dump(checkpoint.header(handover=False)), ex=MATCH_SECONDS)
            await pipe.execute()
            return Claim(spec=spec, epoch=epoch, checkpoint=checkpoint)

        return await self._store.transaction(attempt)

    async def restore(self, spec: MatchSpec, *, worker: str, epoch: int) -> None:
        """Make a match known again that this worker owns and Valkey has lost. What is there and no older stays.

        Fenced if it is over.
        """

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(match_key(spec.id, "lease"), match_key(spec.id, "over"))
            text, over = await texts_of(pipe, match_key(spec.id, "lease"), match_key(spec.id, "over"))
            if over:  # nothing was lost: it ended with another owner
                raise Fenced(spec.id)
            lease = lease_or_none(text)
            begin(pipe)
            pipe.set(match_key(spec.id), dump(spec.to_json()), nx=True, ex=MATCH_SECONDS)
            if lease is None or lease.epoch < epoch:
                pipe.set(match_key(spec.id, "lease"), Lease(epoch, worker).text(), ex=MATCH_SECONDS)
            await pipe.execute()

        await self._store.transaction(attempt)

    async def is_owned(self, match_id: str, *, worker: str, epoch: int) -> bool:
        """False when the lease has moved on."""
        lease = lease_or_none(cast("str | None", await self._store.client.get(match_key(match_id, "lease"))))
        return lease is None or lease.holds(epoch, worker)

    async def checkpoint(
        self, match_id: str, *, worker: str, epoch: int, checkpoint: Checkpoint, known: int = 0
    ) -> None:
        """Keep the rally boundary, unless it or a newer one is kept; those of other matches travel with it.

        `known` is the version of the one before. Fenced, NoSuchMatch.
        """
        await self._checkpoints.keep(match_id, worker=worker, epoch=epoch, checkpoint=checkpoint, known=known)

    @property
    def calls(self) -> int:
        """How many calls with checkpoints the directory has counted, of this worker."""
        return self._checkpoints.calls

    async def release(self, match_id: str, *, worker: str, epoch: int, keep: bool = False) -> None:
        """Give the match up; the next seat request places it anew. Fenced, NoSuchMatch.

        `keep`: it stays where others look for matches without an owner.
        """

        async def attempt(pipe: Pipeline) -> None:
            lease, _ = await self._store.guard(pipe, match_id, worker=worker, epoch=epoch)
            begin(pipe)
            pipe.set(match_key(match_id, "lease"), Lease(epoch, "").text(), ex=MATCH_SECONDS)
            if not keep:
                pipe.zrem(worker_key(lease.worker, "load"), match_id)
            await pipe.execute()

        await self._store.transaction(attempt)
