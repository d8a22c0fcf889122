"""One live worker: the matches that it owns, its leases in the directory, and the way of results to the database.

Owners are synchronous; what they ask of the directory is kept (live.worker.outbox) and tried until it succeeds. So a
Valkey that is away for a while stops no rally.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from redis.exceptions import RedisError

from engine import RULES
from live import metrics
from live.clock import Clock
from live.directory import Claim, Directory, DirectoryError, NoSuchMatch, Unreadable
from live.match.owner import MatchOwner
from live.match.timeline import abandoned
from live.protocol.socket import Refused, Socket
from live.protocol.tokens import SeatClaim
from live.records import Checkpoint, FinishedMatch, MatchSpec, UnknownSchema, match_id_new
from live.worker.drain import Drain
from live.worker.ending import Ending
from live.worker.logouts import HEED_SECONDS, Logouts
from live.worker.outbox import Outbox
from live.worker.renewal import BEAT_SECONDS, Renewal
from live.worker.results import RETRY_SECONDS, ResultWriter
from live.worker.takeover import Takeover

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 1.0  # a worker without players wakes no more often than that: most workers have none at night
CRASHES_MAX: Final = 3  # of one match
STOP_SECONDS: Final = 8.0  # after the drain
CLAIMS_MAX: Final = 16  # at a time: half of the connections to the directory
CLOSE_SECONDS: Final = 2.0  # a socket is given one to say goodbye


class Worker:
    """The owners of this process. `name` is what the directory and the socket URLs call it."""

    def __init__(
        self,
        name: str,
        *,
        directory: Directory,
        results: ResultWriter,
        clock: Clock,
        rng: Callable[[], float],
        release: str = "dev",
        is_reserve: bool = False,
    ) -> None:
        self.name = name
        self.clock = clock
        self.connections: dict[Socket, None] = {}  # in the order in which they came
        self._directory = directory
        self.results = results
        self._rng = rng
        self.release = release
        self._renewal = Renewal(name, directory=directory, clock=clock, release=release, is_reserve=is_reserve)
        self._owners: dict[str, MatchOwner] = {}
        self._claims: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._claiming = asyncio.Semaphore(CLAIMS_MAX)
        self.outbox = Outbox(clock, lost=self._fenced, failed=self.directory_failed)
        self.ending = Ending(
            name, directory, results, clock=clock, outbox=self.outbox, lost=self.lost, failed=self.directory_failed
        )
        self.logouts = Logouts(directory, self.connections, self._owners, failed=self.directory_failed)
        self._drain: Drain | None = None
        self._takeover = Takeover(name, directory=directory, clock=clock, adopt=self._adopt)
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._crashes: Counter[str] = Counter()

    @property
    def is_draining(self) -> bool:
        return self._drain is not None

    @property
    def owners(self) -> Mapping[str, MatchOwner]:
        return self._owners

    # Sockets

    async def owner_for(self, claim: SeatClaim) -> MatchOwner:
        """The owner of the claimed match, made or taken over if need be. Refused (4401, 4404, 1012)."""
        lock = self._claims.setdefault(claim.match_id, asyncio.Lock())
        try:
            async with lock:
                owner = self._owners.get(claim.match_id) or await self._own_in_turn(claim.match_id)
                if claim.side is not None and owner.spec.players[claim.side] is None:
                    await self._refresh(owner, claim.side)
        except Unreadable as error:
            raise Refused(1012, "the match is for another server") from error
        except DirectoryError as error:
            raise Refused(4404, "no such match here") from error
        except (RedisError, TimeoutError) as error:
            self.directory_failed(error)
            raise Refused(1012, "the directory cannot be reached") from error
        if owner.is_stopped:  # while the directory was asked
            raise Refused(1012, "the match has moved")
        if claim.side != owner.spec.side_of(claim.identity):
            raise Refused(4401, "the seat belongs to somebody else")
        return owner

    async def _own_in_turn(self, match_id: str) -> MatchOwner:
        """When a worker dies, all its players come at once; the matches that are here are played meanwhile."""
        async with self._claiming:
            return await self._own(match_id)

    async def _own(self, match_id: str) -> MatchOwner:
        if match_id in self.ending.running:
            raise NoSuchMatch(match_id)
        if self.is_draining:
            await self._directory.matches.pass_on(match_id, worker=self.name)
            raise Refused(1012, "this worker is about to stop")
        if not await self.outbox.flush(match_id):  # an owner before this one may have left a checkpoint behind
            raise TimeoutError("the directory does not take the last checkpoint")
        claim = await self._claim(match_id)
        owner = MatchOwner(
            claim.spec, epoch=claim.epoch, clock=self.clock, rng=self._rng, host=self, checkpoint=claim.checkpoint
        )
        self._owners[match_id] = owner
        if claim.checkpoint is not None:
            is_planned = claim.checkpoint.handover is not None
            if not is_planned:
                metrics.takeovers.inc()
            logger.info("match taken over", extra={"match": match_id, "epoch": claim.epoch, "planned": is_planned})
        if owner.is_over:  # its owner died between the last point and the result
            self.finished(owner, owner.record())
        self._count()
        return owner

    async def _claim(self, match_id: str) -> Claim:
        try:
            return await self._directory.leases.claim(match_id, worker=self.name)
        except UnknownSchema as error:
            other = await self._directory.matches.pass_on(match_id, worker=self.name)
            logger.warning("match of a newer release", extra={"match": match_id, "why": error, "passed_to": other})
            raise Unreadable(match_id) from error

    async def _adopt(self, match_id: str) -> None:
        async with self._claims.setdefault(match_id, asyncio.Lock()):
            if match_id not in self._owners and not self.is_draining:
                await self._own(match_id)

    async def _refresh(self, owner: MatchOwner, side: int) -> None:
        spec = await self._directory.matches.get(owner.spec.id)
        player = spec.players[side] if spec else None
        if player is not None:
            owner.seat_player(player)

    # What owners ask for (Host)

    def keep(self, owner: MatchOwner, checkpoint: Checkpoint) -> None:
        self.outbox.put(owner, "checkpoint", partial(self._save, owner, checkpoint))

    def may_serve(self, owner: MatchOwner) -> bool:
        if self._drain is None:
            return True
        self._drain.move(owner)
        return False

    def finished(self, owner: MatchOwner, record: FinishedMatch | None) -> None:
        self._crashes.pop(owner.spec.id, None)
        self.ending.running.add(owner.spec.id)
        self.spawn(self.ending.end(owner, replace(record, epoch=owner.epoch) if record else None))
        self._count()

    def rematch(self, owner: MatchOwner) -> None:
        spec = replace(
            owner.spec.swapped(),
            id=match_id_new(),
            created_at=self.clock.wall().isoformat(),
            rules_version=RULES.version,  # who played by old ones loads a new page on the way
        )
        self.outbox.put(owner, "rematch", partial(self._rematch, owner, spec))

    def closed(self, owner: MatchOwner) -> None:
        self.outbox.drop(owner, "rematch")
        if self._forget(owner) and not owner.is_done:
            self._release_soon(owner)

    def _release_soon(self, owner: MatchOwner) -> None:
        """Let go of a match; one that has begun is left for whoever finds it."""
        release = partial(self._directory.leases.release, owner.spec.id, worker=self.name, epoch=owner.epoch)
        self.outbox.put(owner, "release", partial(release, keep=owner.has_started))

    def crashed(self, owner: MatchOwner, error: Exception) -> None:
        logger.error("match crashed", exc_info=error, extra={"match": owner.spec.id})
        metrics.crashes.inc()
        self._forget(owner)
        owner.stop(1012)
        self._crashes[owner.spec.id] += 1
        if self._crashes[owner.spec.id] >= CRASHES_MAX:  # its checkpoint leads to the same failure again and again
            metrics.matches_finished.labels(owner.spec.counted_as, "server_error").inc()
            self.finished(owner, abandoned(owner.spec, owner.checkpoint))

    def may_judge_absence(self) -> bool:
        return self._renewal.is_fresh

    def _fenced(self, owner: MatchOwner) -> None:
        """A call found another owner; not news about a match that is being handed over."""
        if self._owners.get(owner.spec.id) is owner and not owner.is_parting:
            self.lost(owner)

    def lost(self, owner: MatchOwner) -> None:
        """Another worker has the match: nothing that happens here counts any more."""
        logger.warning("match lost to another worker", extra={"match": owner.spec.id, "epoch": owner.epoch})
        metrics.fenced.inc()
        self._forget(owner)
        owner.stop(1012, moved=True)

    def handed_over(self, owner: MatchOwner, target: str | None) -> None:
        """The match waits at `target`, or (None) for a worker that takes matches."""
        self.outbox.drop(owner)
        self._forget(owner)
        owner.stop(1012, moved=target is not None)

    def _restore(self, owner: MatchOwner) -> None:
        logger.warning("match unknown to the directory", extra={"match": owner.spec.id, "epoch": owner.epoch})
        restore = self._directory.leases.restore
        self.outbox.put(owner, "restore", partial(restore, owner.spec, worker=self.name, epoch=owner.epoch))
        if owner.checkpoint is not None:
            self.outbox.drop(owner, "checkpoint")
            self.keep(owner, owner.checkpoint)

    def _forget(self, owner: MatchOwner) -> bool:
        if self._owners.get(owner.spec.id) is not owner:
            return False
        del self._owners[owner.spec.id]
        self._count()
        return True

    def _count(self) -> None:
        metrics.matches_active.set(sum(not owner.is_over for owner in self._owners.values()))

    # Outbox to the outside world

    async def _save(self, owner: MatchOwner, checkpoint: Checkpoint) -> None:
        await self._directory.leases.checkpoint(
            owner.spec.id, worker=self.name, epoch=owner.epoch, checkpoint=checkpoint, known=owner.stored
        )
        owner.kept(checkpoint.state["version"])

    async def _rematch(self, owner: MatchOwner, spec: MatchSpec) -> None:
        with suppress(ValueError):  # an earlier call got through, though its answer did not
            await self._directory.matches.create(spec)
        owner.rematch_ready(spec.id)

    async def beat(self) -> None:
        """Renew the worker and its leases, and let go of matches that another worker owns by now."""
        owned = {match_id: owner.epoch for match_id, owner in self._owners.items() if not owner.is_done}
        watched = {match_id: len(self._owners[match_id].watchers) for match_id in owned}
        beat = await self._renewal.beat(owned, draining=self.is_draining, watched=watched)
        if beat is None:
            self._takeover.forget()
            return
        for match_id in sorted(owned if beat.went_back else beat.lost | beat.forgotten):
            owner = self._owners.get(match_id)
            if owner is None or owner.is_done or owner.is_parting or owner.epoch != owned[match_id]:
                continue
            if match_id in beat.lost:
                self.lost(owner)
            elif match_id in beat.forgotten:
                self._restore(owner)
            elif owner.checkpoint is not None:  # the directory may lack the last one
                self.keep(owner, owner.checkpoint)
        # Beside the beat, which nothing may hold up: many orphans would cost the adopter its own key
        if not self.is_draining and (self._looking is None or self._looking.done()):
            self._looking = self.spawn(self._look_after_others())

    async def _look_after_others(self) -> None:
        try:
            await self._takeover.look(self._owners.keys() | self.ending.running)
        except (RedisError, TimeoutError) as error:
            self.directory_failed(error)

    def directory_failed(self, error: Exception) -> None:
        self._renewal.failed(error)
        self._takeover.forget()

    # Life of the process

    async def start(self) -> None:
        """Announce the worker and start its background loops."""
        await self.logouts.heed()  # from here on
        await self.beat()
        self._loops = [
            asyncio.create_task(loop, name=name)
            for name, loop in (
                ("beat", _every(BEAT_SECONDS, self.beat)),
                ("results", _every(RETRY_SECONDS, self.ending.retry)),
                ("probe", _every(0.0, self._probe)),
                ("logouts", _every(lambda: self._pause(HEED_SECONDS), self.logouts.heed)),
            )
        ]
        logger.info("worker started", extra={"worker": self.name, "release": self.release})

    def _pause(self, seconds: float) -> float:
        return seconds if self.connections or self._owners else max(seconds, IDLE_SECONDS)

    async def _probe(self) -> None:
        """Measure how late the event loop runs what is due."""
        pause = self._pause(PROBE_SECONDS)
        due = time.monotonic() + pause
        await asyncio.sleep(pause)
        metrics.loop_lag.observe(max(0.0, time.monotonic() - due))
        metrics.loop_tick.set_to_current_time()

    async def stop(self) -> None:
        """Take no more, hand over what there is, give up the rest, and close every socket with 1012."""
        self._drain = Drain(self, self._directory)
        await self.beat()
        await self._drain.run()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.settle()
                owners = list(self._owners.values())
                for owner in owners:
                    if self._forget(owner) and not owner.is_done:
                        self._release_soon(owner)
                await self.outbox.flush()
                await self._directory.workers.gone(self.name, run=self._renewal.run)
                for owner in owners:
                    owner.stop(1000 if owner.is_done else 1012)
                await self._close_sockets()
        except (TimeoutError, RedisError) as error:
            logger.warning("worker stops in a hurry", extra={"worker": self.name, "error": error})
            await self._close_sockets()
        finally:
            for loop in self._loops:
                loop.cancel()
            self.outbox.close()
            self.results.close()
        logger.info("worker stopped", extra={"worker": self.name})

    async def _close_sockets(self) -> None:
        for connection in list(self.connections):
            connection.close(1012)
        for _ in range(int(CLOSE_SECONDS / PROBE_SECONDS)):
            if not self.connections:
                return
            await asyncio.sleep(PROBE_SECONDS)

    async def settle(self) -> None:
        """Wait until results and pending calls of this moment are through."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)  # failures are logged where they happen
        await self.outbox.flush()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("background work failed", exc_info=task.exception())


async def _every(seconds: float | Callable[[], float], work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` for ever; one that fails is logged and tried again."""
    while True:
        await asyncio.sleep(seconds() if callable(seconds) else seconds)
        try:
            await work()
        except Exception:
            logger.exception("background work failed")


_installed: Worker | None = None


def install(worker: Worker | None) -> None:
    """Make `worker` the one of this process."""
    global _installed
    _installed = worker


def installed() -> Worker | None:
    """The worker of this process, or None: it serves pages only."""
    return _installed
