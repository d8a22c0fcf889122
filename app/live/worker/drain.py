"""The way of matches to other workers while their own drains: each between two rallies, so that players hardly notice.

A match at rest goes at once, one that is being played when its point is decided. The lease and the last checkpoint move
in one step; only then its sockets hear `move` and are closed, so they find the match at its new place.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from redis.exceptions import RedisError

from live import metrics
from live.clock import SECOND, Clock, sleep
from live.directory import Directory, DirectoryError, NoSuchMatch
from live.match.owner import MatchOwner
from live.records import Checkpoint

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 45.0
LAST_US: Final = 3 * SECOND  # of that time: a countdown is called off now, however near its end it is
PATIENCE_US: Final = 400_000  # a serve that was announced longer ago is played: calling it off costs more
TICK_US: Final = 20_000  # between two matches at rest: their players need not all come at once
AGAIN_US: Final = 250_000


class Draining(Protocol):
    """What a drain needs of its worker."""

    name: str
    release: str
    clock: Clock

    @property
    def owners(self) -> Mapping[str, MatchOwner]: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> object: ...

    def handed_over(self, owner: MatchOwner, target: str | None) -> None: ...

    def lost(self, owner: MatchOwner) -> None: ...

    def keep(self, owner: MatchOwner, checkpoint: Checkpoint) -> None: ...

    def directory_failed(self, error: Exception) -> None: ...


class Drain:
    """One drain of one worker."""

    def __init__(self, worker: Draining, directory: Directory) -> None:
        self._worker = worker
        self._directory = directory
        self._deadline = worker.clock.now() + int(DRAIN_SECONDS * SECOND)
        self._moving: set[str] = set()

    async def run(self) -> None:
        """Return when every match has gone, or when the time is up, or at once if no other worker takes matches."""
        try:
            takers = [other for other in await self._directory.workers.alive() if not other.draining]
            await self._pass_on()
        except (RedisError, TimeoutError) as error:
            self._worker.directory_failed(error)
            return
        if not takers:
            logger.info("no other worker takes matches", extra={"worker": self._worker.name})
            for owner in self._left():
                if owner.can_part(LAST_US):
                    self.move(owner)
            return
        while (self._left() or self._offers()) and self._worker.clock.now() < self._deadline:
            self._move_one()
            await sleep(self._worker.clock, TICK_US)

    def move(self, owner: MatchOwner) -> None:
        """Hand a match over that stands between two rallies."""
        if owner.spec.id not in self._moving:
            self._moving.add(owner.spec.id)
            # Decided and done in one step: a moment later its countdown may be over, and the ball fly
            self._worker.spawn(self._move(owner, owner.part()))

    def _left(self) -> list[MatchOwner]:
        return [owner for owner in self._worker.owners.values() if not owner.is_over]

    def _offers(self) -> list[MatchOwner]:
        """Matches that are over, and one of whose players waits for the other's answer: for half a minute at most."""
        return [owner for owner in self._worker.owners.values() if owner.has_offer]

    def _move_one(self) -> None:
        """Take one of the matches at rest, first those whose countdown runs."""
        is_late = self._deadline - self._worker.clock.now() < LAST_US
        patience = LAST_US if is_late else PATIENCE_US
        resting = [owner for owner in self._left() if owner.spec.id not in self._moving and owner.can_part(patience)]
        if resting:
            self.move(min(resting, key=lambda owner: not owner.is_counting_down))

    async def _pass_on(self) -> None:
        """Matches that were placed here, and whose players have not come yet, go elsewhere without having been here."""
        owned = self._worker.owners
        for waiting in await self._directory.workers.waiting(self._worker.name, owned):
            await self._directory.matches.pass_on(waiting.match_id, worker=self._worker.name)

    async def _move(self, owner: MatchOwner, checkpoint: Checkpoint | None) -> None:
        directory, worker, match_id = self._directory, self._worker, owner.spec.id
        while worker.clock.now() < self._deadline:
            try:
                target = await directory.matches.hand_over(
                    match_id, worker=worker.name, epoch=owner.epoch, checkpoint=checkpoint, release=worker.release
                )
            except NoSuchMatch:  # Valkey has lost it
                await self._again(lambda: directory.leases.restore(owner.spec, worker=worker.name, epoch=owner.epoch))
            except DirectoryError:  # somebody else has it, perhaps by a call of ours whose answer was lost
                worker.lost(owner)
                return
            except (RedisError, TimeoutError) as error:
                worker.directory_failed(error)
                await sleep(self._worker.clock, AGAIN_US)
            else:
                metrics.handovers.labels("moved" if target else "freed").inc()
                logger.info("match handed over", extra={"match": match_id, "to": target or "nobody"})
                worker.handed_over(owner, target)
                return
        if checkpoint is not None:
            worker.keep(owner, checkpoint)

    async def _again(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await call()
        except (RedisError, TimeoutError) as error:
            self._worker.directory_failed(error)
            await sleep(self._worker.clock, AGAIN_US)
