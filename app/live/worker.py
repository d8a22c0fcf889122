"""One live worker: the matches that it owns, its leases in the directory, and the way of results to the database.

Owners are synchronous; what they ask for is kept here as pending calls to the directory, the newest of a kind, which
are tried until they succeed. So a Valkey that is away for a while stops no rally.
"""

import asyncio
import logging
import secrets
import string
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from redis.exceptions import RedisError

from live import metrics
from live.clock import SECOND, Clock
from live.codec import Refused
from live.connection import Connection
from live.directory import WORKER_SECONDS, Directory, DirectoryError, Fenced, NoSuchMatch
from live.owner import MatchOwner
from live.records import FinishedMatch, MatchSpec, Snapshot
from live.results import RETRY_SECONDS, ResultWriter
from live.tokens import SeatClaim

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 0.1
CRASHES_MAX: Final = 3  # of one match
STOP_SECONDS: Final = 8.0
CLOSE_SECONDS: Final = 2.0  # a socket is given one to say goodbye
ID_ALPHABET: Final = string.ascii_letters + string.digits
ID_LENGTH: Final = 12


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
    ) -> None:
        self.name = name
        self.clock = clock
        self.is_draining = False
        self.connections: set[Connection] = set()
        self._directory = directory
        self.results = results
        self._rng = rng
        self._release = release
        self._owners: dict[str, MatchOwner] = {}
        self._claims: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._pending: dict[tuple[str, str], tuple[MatchOwner, Callable[[], Awaitable[None]]]] = {}
        self._finishing: set[str] = set()  # over, but the directory does not say so yet
        self._wakeup = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._beat_at = clock.now()
        self._crashes: Counter[str] = Counter()
        self._is_cut_off = False  # the directory did not answer the last time

    # Sockets

    async def owner_for(self, claim: SeatClaim) -> MatchOwner:
        """The owner of the claimed match, made or taken over if need be. Refused (4401, 4404, 1012)."""
        if self.is_draining:
            raise Refused(1012, "this worker is about to stop")
        lock = self._claims.setdefault(claim.match_id, asyncio.Lock())
        try:
            async with lock:
                owner = self._owners.get(claim.match_id) or await self._take(claim.match_id)
                if claim.side is not None and owner.spec.players[claim.side] is None:
                    await self._refresh(owner, claim.side)
        except DirectoryError as error:
            raise Refused(4404, "no such match here") from error
        except (RedisError, TimeoutError) as error:
            self._directory_failed(error)
            raise Refused(1012, "the directory cannot be reached") from error
        if claim.side != owner.spec.side_of(claim.identity):
            raise Refused(4401, "the seat belongs to somebody else")
        return owner

    async def _take(self, match_id: str) -> MatchOwner:
        if match_id in self._finishing:
            raise NoSuchMatch(match_id)
        await self.flush()  # an owner before this one may have left a boundary behind
        claim = await self._directory.match_claim(match_id, worker=self.name)
        owner = MatchOwner(
            claim.spec, epoch=claim.epoch, clock=self.clock, rng=self._rng, hooks=self, snapshot=claim.snapshot
        )
        self._owners[match_id] = owner
        if claim.snapshot is not None:
            metrics.takeovers.inc()
            logger.info("match taken over", extra={"match": match_id, "epoch": claim.epoch})
        self._count()
        return owner

    async def _refresh(self, owner: MatchOwner, side: int) -> None:
        spec = await self._directory.match_get(owner.spec.id)
        player = spec.players[side] if spec else None
        if player is not None:
            owner.seat_player(player)

    # What owners ask for (OwnerHooks)

    def boundary(self, owner: MatchOwner, snapshot: Snapshot) -> None:
        save = partial(self._directory.match_snapshot, owner.spec.id, epoch=owner.epoch, snapshot=snapshot)
        self._ask(owner, "snapshot", save)

    def finished(self, owner: MatchOwner, record: FinishedMatch | None) -> None:
        self._pending.pop((owner.spec.id, "snapshot"), None)
        self._finishing.add(owner.spec.id)
        self._spawn(self._finish(owner, record))
        self._count()

    def rematch(self, owner: MatchOwner) -> None:
        self._spawn(self._rematch(owner))

    def closed(self, owner: MatchOwner) -> None:
        if self._forget(owner) and not owner.is_over:
            self._ask(owner, "release", partial(self._directory.match_release, owner.spec.id, epoch=owner.epoch))

    def crashed(self, owner: MatchOwner, error: Exception) -> None:
        logger.error("match crashed", exc_info=error, extra={"match": owner.spec.id})
        metrics.crashes.inc()
        self._forget(owner)
        owner.stop(1012)
        self._crashes[owner.spec.id] += 1
        if self._crashes[owner.spec.id] >= CRASHES_MAX:  # its snapshot leads to the same failure again and again
            metrics.matches_finished.labels(owner.spec.mode, "server_error").inc()
            self.finished(owner, None)

    def may_judge_absence(self) -> bool:
        return self.clock.now() - self._beat_at < WORKER_SECONDS * SECOND

    def _fence(self, owner: MatchOwner) -> None:
        logger.warning("match lost to another worker", extra={"match": owner.spec.id, "epoch": owner.epoch})
        metrics.fenced.inc()
        self._forget(owner)
        owner.stop(1012, moved=True)

    def _restore(self, owner: MatchOwner) -> None:
        logger.warning("match unknown to the directory", extra={"match": owner.spec.id, "epoch": owner.epoch})
        restore = self._directory.match_restore
        self._ask(owner, "restore", partial(restore, owner.spec, worker=self.name, epoch=owner.epoch))
        if owner.boundary is not None:
            self._pending.pop((owner.spec.id, "snapshot"), None)
            self.boundary(owner, owner.boundary)

    def _forget(self, owner: MatchOwner) -> bool:
        if self._owners.get(owner.spec.id) is not owner:
            return False
        del self._owners[owner.spec.id]
        self._count()
        return True

    def _count(self) -> None:
        metrics.matches_active.set(sum(not owner.is_over for owner in self._owners.values()))

    # Calls to the outside world

    async def _finish(self, owner: MatchOwner, record: FinishedMatch | None) -> None:
        """The directory forgets a match only when its result is safe. That of a stale owner counts for nothing."""
        if not await self._still_owns(owner):
            self._finishing.discard(owner.spec.id)
            self._fence(owner)
            return
        while record is not None:
            try:
                await self.results.write(record)
                break
            except Exception:
                logger.exception("result neither saved nor spooled", extra={"match": owner.spec.id})
                await asyncio.sleep(RETRY_SECONDS)
        self._ask(owner, "done", partial(self._done, owner))

    async def _done(self, owner: MatchOwner) -> None:
        with suppress(Fenced, NoSuchMatch):
            await self._directory.match_done(owner.spec.id, epoch=owner.epoch)
        self._finishing.discard(owner.spec.id)

    async def _still_owns(self, owner: MatchOwner) -> bool:
        """Also true when the directory does not answer: then nobody else can have been given the match."""
        try:
            return await self._directory.match_is_owned(owner.spec.id, epoch=owner.epoch)
        except (RedisError, TimeoutError) as error:
            self._directory_failed(error)
            return True

    async def _rematch(self, owner: MatchOwner) -> None:
        match_id = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
        spec = replace(_swapped(owner.spec), id=match_id, created_at=self.clock.wall().isoformat())
        try:
            await self._directory.match_create(spec)
        except (RedisError, TimeoutError) as error:
            self._directory_failed(error)
        else:
            owner.rematch_ready(match_id)

    def _ask(self, owner: MatchOwner, kind: str, call: Callable[[], Awaitable[None]]) -> None:
        self._pending[owner.spec.id, kind] = owner, call  # in order: a restore goes before the snapshot
        self._wakeup.set()

    async def flush(self) -> bool:
        """Make the pending calls to the directory; False when it cannot be reached and calls are left."""
        for key, asked in list(self._pending.items()):
            owner, call = asked
            try:
                await call()
            except Fenced:
                if self._owners.get(owner.spec.id) is owner:
                    self._fence(owner)
            except NoSuchMatch:
                pass  # Valkey has lost it: the next renewal notices and restores it
            except (RedisError, TimeoutError) as error:
                self._directory_failed(error)
                return False
            except Exception:  # a call that fails by itself must not keep the others from being made
                logger.exception("call to the directory failed", extra={"match": owner.spec.id, "call": key[1]})
            if self._pending.get(key) is asked:
                del self._pending[key]
        return True

    async def beat(self) -> None:
        """Renew the worker and its leases, and let go of matches that another worker owns by now."""
        owned = {match_id: owner.epoch for match_id, owner in self._owners.items() if not owner.is_over}
        try:
            beat = await self._directory.worker_beat(
                self.name, release=self._release, draining=self.is_draining, owned=owned
            )
        except (RedisError, TimeoutError) as error:
            self._directory_failed(error)
            return
        if self._is_cut_off:
            self._is_cut_off = False
            logger.info("directory is back", extra={"worker": self.name})
        self._beat_at = self.clock.now()
        metrics.directory_beat.set_to_current_time()
        for match_id in beat.lost | beat.forgotten:
            owner = self._owners.get(match_id)
            if owner is None or owner.is_over or owner.epoch != owned[match_id]:
                continue
            if match_id in beat.lost:
                self._fence(owner)
            else:
                self._restore(owner)

    def _directory_failed(self, error: Exception) -> None:
        """Count every failure, and log the first of a row."""
        metrics.directory_errors.inc()
        if not self._is_cut_off:
            self._is_cut_off = True
            logger.warning("directory unavailable", extra={"worker": self.name, "error": repr(error)})

    # Life of the process

    async def start(self) -> None:
        """Announce the worker and start its background loops."""
        await self.beat()
        self._loops = [
            asyncio.create_task(loop, name=name)
            for name, loop in (
                ("beat", _every(BEAT_SECONDS, self.beat)),
                ("keep", self._keep()),
                ("results", _every(RETRY_SECONDS, self._retry_results)),
                ("probe", _probe_loop()),
            )
        ]
        logger.info("worker started", extra={"worker": self.name, "release": self._release})

    async def stop(self) -> None:
        """Take no more, keep what there is, let another worker have it, and close every socket with 1012."""
        self.is_draining = True
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.beat()
                await self.settle()
                owners = list(self._owners.values())
                for owner in owners:
                    self.closed(owner)
                await self.flush()
                await self._directory.worker_gone(self.name)
                for owner in owners:
                    owner.stop(1012)
                await self._close_sockets()
        except (TimeoutError, RedisError) as error:
            logger.warning("worker stops in a hurry", extra={"worker": self.name, "error": error})
            await self._close_sockets()
        finally:
            for loop in self._loops:
                loop.cancel()
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
            await asyncio.gather(*self._tasks)
        await self.flush()

    async def _keep(self) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            if not await self.flush():
                await asyncio.sleep(BEAT_SECONDS)
                self._wakeup.set()

    async def _retry_results(self) -> None:
        await self.results.retry()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("background work failed", exc_info=task.exception())


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` for ever; one that fails is logged and tried again."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            logger.exception("background work failed")


async def _probe_loop() -> None:
    """Measure how late the event loop runs what is due."""
    while True:
        due = time.monotonic() + PROBE_SECONDS
        await asyncio.sleep(PROBE_SECONDS)
        metrics.loop_lag.observe(max(0.0, time.monotonic() - due))
        metrics.loop_tick.set_to_current_time()


def _swapped(spec: MatchSpec) -> MatchSpec:
    """Friends change sides for a rematch."""
    left, right = spec.players
    if spec.mode == "ai" or left is None or right is None:
        return spec
    return replace(spec, players=(replace(right, side=0), replace(left, side=1)))


_installed: Worker | None = None


def install(worker: Worker | None) -> None:
    """Make `worker` the one of this process."""
    global _installed
    _installed = worker


def installed() -> Worker | None:
    """The worker of this process, or None: it serves pages only."""
    return _installed
