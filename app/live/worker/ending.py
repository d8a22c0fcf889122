"""The end of a match: its result goes to the database, and only then the directory forgets the match."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from redis.exceptions import RedisError

from live.clock import SECOND, Clock, sleep
from live.directory import Directory, Fenced, NoSuchMatch
from live.match.owner import MatchOwner
from live.match.timeline import abandoned
from live.records import FinishedMatch
from live.worker.outbox import Outbox
from live.worker.results import RETRY_SECONDS, ResultWriter

logger = logging.getLogger(__name__)

Tell = Callable[[], Awaitable[None]]

REPEAT_US: Final = 30 * SECOND  # longer ago than any directory goes back
PROOF_US: Final = 1 * SECOND  # between two questions whether the match is still ours


class Ending:
    """The matches of one worker that are over. `running` are those of which the directory does not know it yet.

    Whoever calls `end` puts the match there first, so that nobody takes it up again before that runs.
    """

    def __init__(
        self,
        name: str,
        directory: Directory,
        results: ResultWriter,
        *,
        clock: Clock,
        outbox: Outbox,
        lost: Callable[[MatchOwner], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._name = name
        self._directory = directory
        self._clock = clock
        self._results = results
        self._outbox = outbox
        self._lost = lost
        self._failed = failed
        self.running: set[str] = set()
        self._told: dict[str, tuple[Tell, int]] = {}  # and of which it knows: what was told to it, and when

    async def end(self, owner: MatchOwner, record: FinishedMatch | None) -> None:
        """Store the result, if there is one, and tell the directory. That of a stale owner counts for nothing."""
        if record is not None and not await self._still_owns(owner):
            self.running.discard(owner.spec.id)
            self._lost(owner)
            return
        is_saved = record is None
        while record is not None:
            try:
                is_saved = await self._results.write(record)
                break
            except Exception:
                logger.exception("result neither saved nor spooled", extra={"match": owner.spec.id})
                await asyncio.sleep(RETRY_SECONDS)
        tell = self._directory.results.done if is_saved else self._directory.results.wait
        call = partial(tell, owner.spec.id, worker=self._name, epoch=owner.epoch)
        # What is stored is over, whoever has it by the time that it has to be told again
        again = partial(self._directory.results.recorded, owner.spec.id) if is_saved and record else call
        self._outbox.put(owner, "done", partial(self._done, owner.spec.id, call, again))

    async def retry(self) -> None:
        """Try results again that wait in the spool, and tell the directory of those that are safe now."""
        await self._results.retry()
        for match_id in list(self._results.saved_late):
            try:
                await self._directory.results.recorded(match_id)
            except (RedisError, TimeoutError) as error:
                self._failed(error)
                return
            self._results.saved_late.remove(match_id)
            self._told[match_id] = partial(self._directory.results.recorded, match_id), self._clock.now()
        try:
            await self._repeat()
            await self.rescue()
        except (RedisError, TimeoutError) as error:
            self._failed(error)

    async def _repeat(self) -> None:
        """Tell a directory again that went back in time, before it gives away what is over. Raises redis' errors."""
        now = self._clock.now()
        self._told = {key: (again, t) for key, (again, t) in self._told.items() if now - t < REPEAT_US}
        for match_id in await self._directory.results.reopened(self._told):
            logger.warning("match over came back", extra={"match": match_id})
            again, _ = self._told[match_id]
            await self._done(match_id, again, again)

    async def rescue(self) -> None:
        """Store results that Valkey still has and whose host may be lost. Raises redis' errors."""
        for overdue in await self._directory.results.overdue():
            record = abandoned(overdue.spec, overdue.checkpoint)
            logger.warning("result of another host rescued", extra={"match": overdue.spec.id})
            if record is None or await self._results.write(replace(record, epoch=overdue.epoch)):
                await self._directory.results.recorded(overdue.spec.id)

    async def _done(self, match_id: str, call: Tell, again: Tell) -> None:
        with suppress(Fenced, NoSuchMatch):
            await call()
        self.running.discard(match_id)
        self._told[match_id] = again, self._clock.now()

    async def _still_owns(self, owner: MatchOwner) -> bool:
        """Waits for a directory that does not answer: the match may be elsewhere, and go on there."""
        while True:
            try:
                return await self._directory.leases.is_owned(owner.spec.id, worker=self._name, epoch=owner.epoch)
            except (RedisError, TimeoutError) as error:
                self._failed(error)
                await sleep(self._clock, PROOF_US)
