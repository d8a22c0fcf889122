"""The matches: what pages ask for, and how a match gets to a worker, or from one to another."""

import json
from dataclasses import replace

from redis.asyncio.client import Pipeline

from live.directory.model import (
    Damaged,
    Lease,
    NoWorker,
    Placement,
    Standing,
    place,
    take_seat,
)
from live.directory.revocations import kept_key
from live.directory.store import (
    LOAD_SECONDS,
    MATCH_SECONDS,
    WATCHABLE,
    Store,
    begin,
    dump,
    match_key,
    queue_checkpoint,
    read_spec,
    readable,
    text_of,
    texts_of,
    version_of,
    worker_key,
)
from live.directory.workers import Workers
from live.records import SCHEMA, Checkpoint, MatchSpec


class Matches:
    """Matches, their seats, and which worker has them."""

    def __init__(self, store: Store, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def create(self, spec: MatchSpec, *, worker: str = "", seconds: int = MATCH_SECONDS) -> None:
        """Make a match known, forgotten after `seconds` unless it is played. ValueError if the id is taken.

        With `worker` it is placed there already, whatever that worker says of itself. While some workers are of an
        older release, it is played by rules that all of them know: it may come to any of them.
        """
        known = min((other.rules_version for other in await self._workers.alive()), default=spec.rules_version)
        spec = replace(spec, rules_version=min(spec.rules_version, known))
        async with self._store.client.pipeline(transaction=True) as pipe:
            pipe.set(match_key(spec.id), dump(spec.to_json()), nx=True, ex=seconds)
            if spec.strength is not None:
                pipe.zadd(WATCHABLE, {spec.id: spec.strength})
            is_new, *_ = await pipe.execute()
        if not is_new:
            raise ValueError(f"there is a match {spec.id} already")
        if worker:
            async with self._store.client.pipeline(transaction=True) as pipe:
                pipe.set(match_key(spec.id, "lease"), Lease(1, worker).text(), nx=True, ex=seconds)
                pipe.zadd(worker_key(worker, "load"), {spec.id: self._store.now() + LOAD_SECONDS})
                await pipe.execute()

    async def get(self, match_id: str) -> MatchSpec | None:
        """The match, or None if it is unknown, unreadable, or over and recorded. UnknownSchema."""
        text = await self._store.client.get(match_key(match_id))
        try:
            return read_spec(text) if text else None
        except Damaged:
            return None

    async def standing(self, match_id: str) -> Standing | None:
        """How a match stood at the last rally boundary, or None before the first serve."""
        text = await self._store.client.get(match_key(match_id, "snapshot"))
        return Standing.from_header(json.loads(text)) if text else None

    async def seat(self, match_id: str, *, identity: str, name: str, before: str = "") -> Placement:
        """The seat of `identity`: its side, the free side (taken for good), or a place to watch from.

        Somebody who has signed in since the match began sits there as the guest of `before`.

        A match without a live worker is placed on the least loaded one that can read it; not for somebody who watches,
        if it has one that only looks dead: its players may be there, and they will ask themselves.
        NoSuchMatch, MatchOver, NoWorker, SiteFull, UnknownSchema.
        """

        async def attempt(pipe: Pipeline) -> Placement:
            await pipe.watch(match_key(match_id), match_key(match_id, "lease"))
            spec = await self._store.spec(pipe, match_id)
            lease = Lease.parse(await text_of(pipe, match_key(match_id, "lease")))
            workers = {worker.name: worker for worker in await self._workers.alive()}
            as_before = bool(before) and spec.side_of(identity) is None and spec.side_of(before) is not None
            known = before if as_before else identity
            seated, side = take_seat(spec, known, name)
            placed = lease
            if lease.worker not in workers and (side is not None or not lease.worker):
                header = await text_of(pipe, match_key(match_id, "snapshot"))
                placed = place(lease, workers.values(), schema=_schema(header), is_new=header is None)
            begin(pipe)
            if seated is not spec:
                pipe.set(match_key(match_id), dump(seated.to_json()), ex=MATCH_SECONDS)
            if placed is not lease:
                self._queue_placement(pipe, match_id, lease, placed)
            if as_before:  # logging out has to find them there
                pipe.sadd(kept_key(identity), before)
                pipe.expire(kept_key(identity), MATCH_SECONDS)
            await pipe.execute()
            return Placement(worker=placed.worker, side=side, identity=known)

        return await self._store.transaction(attempt)

    async def place(self, match_id: str, *, worker: str) -> None:
        """Place a free match at `worker`. What is not free any more stays where it is."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(match_key(match_id, "lease"))
            lease = Lease.parse(await text_of(pipe, match_key(match_id, "lease")))
            if lease.worker or not lease.epoch:
                return
            begin(pipe)
            self._queue_placement(pipe, match_id, lease, Lease(lease.epoch + 1, worker))
            await pipe.execute()

        await self._store.transaction(attempt)

    async def pass_on(self, match_id: str, *, worker: str) -> str | None:
        """Place a match elsewhere that is free, or was placed at `worker`, which cannot take it; the name of the other.

        None when somebody else has it by now, or nobody can take it; then it stays as it is.
        """

        async def attempt(pipe: Pipeline) -> str | None:
            await pipe.watch(match_key(match_id, "lease"))
            text, header = await texts_of(pipe, match_key(match_id, "lease"), match_key(match_id, "snapshot"))
            lease = Lease.parse(text)
            if lease.worker not in ("", worker) or not lease.epoch:
                await self._workers.unload(match_id, worker=worker)
                return None
            others = [other for other in await self._workers.alive() if other.name != worker]
            try:
                placed = place(lease, others, schema=_schema(header))
            except NoWorker:
                return None
            begin(pipe)
            pipe.zrem(worker_key(worker, "load"), match_id)
            self._queue_placement(pipe, match_id, lease, placed)
            await pipe.execute()
            return placed.worker

        return await self._store.transaction(attempt)

    async def hand_over(
        self, match_id: str, *, worker: str, epoch: int, checkpoint: Checkpoint | None, release: str = ""
    ) -> str | None:
        """Give a match to the least loaded other worker, with its last checkpoint, in one step; its name.

        Workers of another release than `release`, that of this worker, come first. None when no other takes matches:
        then it is free, and goes on where the next seat request places it. Fenced, NoSuchMatch.
        """

        async def attempt(pipe: Pipeline) -> str | None:
            lease, header = await self._store.guard(pipe, match_id, worker=worker, epoch=epoch)
            others = [other for other in await self._workers.alive() if other.name != worker]
            try:
                placed = place(lease, others, schema=checkpoint.schema if checkpoint else 1, leaving=release)
            except NoWorker:
                placed = Lease(epoch, "")
            begin(pipe)
            if checkpoint is not None:
                queue_checkpoint(pipe, match_id, checkpoint, known=version_of(header))
            if placed.worker:
                self._queue_placement(pipe, match_id, lease, placed)
            else:
                # It stays among what the worker carries, where others look for matches without an owner.
                pipe.set(match_key(match_id, "lease"), placed.text(), ex=MATCH_SECONDS)
            await pipe.execute()
            return placed.worker or None

        return await self._store.transaction(attempt)

    def _queue_placement(self, pipe: Pipeline, match_id: str, lease: Lease, placed: Lease) -> None:
        pipe.set(match_key(match_id, "lease"), placed.text(), ex=MATCH_SECONDS)
        pipe.zadd(worker_key(placed.worker, "load"), {match_id: self._store.now() + LOAD_SECONDS})
        if lease.worker:
            pipe.zrem(worker_key(lease.worker, "load"), match_id)


def _schema(header: str | None) -> int:
    """What a worker must be able to read to go on with a match."""
    with readable("a snapshot"):
        return int(json.loads(header).get("schema", SCHEMA)) if header else 1
