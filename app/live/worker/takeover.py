"""Matches that no owner looks after: their results must come even if no player ever returns.

A worker claims what was placed with it and nobody asked for, and finds new places for what dead workers have left
behind. Players who return are faster than both.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

from redis.exceptions import RedisError

from live.clock import SECOND, Clock
from live.directory import Damaged, Directory, DirectoryError
from live.directory.model import Waiting

logger = logging.getLogger(__name__)

ADOPT_US: Final = 3 * SECOND  # after its placement, for the players to claim a match themselves
# After a Valkey that was away for a while all workers look dead until they have renewed their keys.
ORPHAN_US: Final = 20 * SECOND
LOOK_US: Final = 5 * SECOND  # between two looks at dead workers
AT_ONCE: Final = 8  # matches that are taken over


class Takeover:
    """What one worker does about them. `adopt` claims a match; DirectoryError when that cannot be."""

    def __init__(
        self, name: str, *, directory: Directory, clock: Clock, adopt: Callable[[str], Awaitable[None]]
    ) -> None:
        self._name = name
        self._directory = directory
        self._clock = clock
        self._adopt = adopt
        self._seen: dict[str, int] = {}  # matches that were placed here, and workers that are dead: since when
        self._looked_at = clock.now()

    async def look(self, owned: Collection[str]) -> None:
        """Once a beat, unless the last look still runs. Raises redis' errors."""
        await self._look_here(owned)
        if self._clock.now() - self._looked_at >= LOOK_US:
            self._looked_at = self._clock.now()
            await self._look_elsewhere()

    def forget(self) -> None:
        """The directory was away: nobody is dead yet."""
        self._seen.clear()

    async def _look_here(self, owned: Collection[str]) -> None:
        found = await self._directory.workers.waiting(self._name, owned)
        await self._each(self._look_at, found)
        waited_for = {f"match {waiting.match_id}" for waiting in found}
        self._seen = {key: t for key, t in self._seen.items() if key in waited_for or not key.startswith("match ")}

    async def _each(self, work: Callable[[Waiting], Awaitable[None]], found: Collection[Waiting]) -> None:
        """Some at a time: one after the other takes too long, all at once starves whoever plays here."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(waiting: Waiting) -> None:
            async with room:
                await work(waiting)

        for outcome in await asyncio.gather(*map(one, found), return_exceptions=True):
            if isinstance(outcome, RedisError | TimeoutError):
                raise outcome
            if isinstance(outcome, Exception):  # of one match, which keeps nobody from looking after the others
                logger.error("match not looked after", exc_info=outcome)

    async def _look_at(self, waiting: Waiting) -> None:
        match_id, holder = waiting.match_id, waiting.lease.worker
        if holder not in ("", self._name) or (waiting.is_stale and not waiting.has_begun):
            await self._directory.workers.unload(match_id, worker=self._name)
        elif waiting.has_begun and self._is_due(f"match {match_id}", ADOPT_US):
            await self._take_in(match_id, is_free=not holder)

    async def _take_in(self, match_id: str, *, is_free: bool) -> None:
        try:
            if is_free:
                await self._directory.matches.place(match_id, worker=self._name)
            await self._adopt(match_id)
        except Damaged as error:
            await self._directory.workers.set_aside(match_id, worker=self._name, why=error)
            return
        except DirectoryError as error:
            logger.info("match not adopted", extra={"match": match_id, "why": repr(error)})
            return
        logger.info("match adopted", extra={"match": match_id, "worker": self._name})

    async def _look_elsewhere(self) -> None:
        dead = await self._directory.workers.dead()
        for name in dead:
            if not self._is_due(f"worker {name}", ORPHAN_US):
                continue
            await self._each(partial(self._pass_on, name), await self._directory.workers.waiting(name, ()))
            await self._directory.workers.forget(name)
        names = {f"worker {name}" for name in dead}
        self._seen = {key: t for key, t in self._seen.items() if key in names or not key.startswith("worker ")}

    async def _pass_on(self, dead: str, waiting: Waiting) -> None:
        if not waiting.has_begun or waiting.lease.worker not in ("", dead):
            await self._directory.workers.unload(waiting.match_id, worker=dead)
            return
        try:
            await self._directory.matches.pass_on(waiting.match_id, worker=dead)
        except Damaged as error:
            await self._directory.workers.set_aside(waiting.match_id, worker=dead, why=error)

    def _is_due(self, key: str, after: int) -> bool:
        return self._clock.now() - self._seen.setdefault(key, self._clock.now()) >= after
