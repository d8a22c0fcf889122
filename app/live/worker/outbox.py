"""Calls to the directory that must get through: the newest of a kind for a match, tried in order until they succeed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from redis.exceptions import RedisError

from live.clock import SECOND, Clock, sleep
from live.directory import Fenced, NoSuchMatch
from live.match.owner import MatchOwner

logger = logging.getLogger(__name__)

AGAIN_US: Final = 1 * SECOND

Call = Callable[[], Awaitable[None]]


class Outbox:
    """The calls that are due. `lost` hears of owners that are fenced, `failed` of a directory that does not answer."""

    def __init__(
        self, clock: Clock, *, lost: Callable[[MatchOwner], None], failed: Callable[[Exception], None]
    ) -> None:
        self._clock = clock
        self._lost = lost
        self._failed = failed
        self._due: dict[tuple[str, str], tuple[MatchOwner, Call]] = {}
        self._wakeup = asyncio.Event()

    def put(self, owner: MatchOwner, kind: str, call: Call) -> None:
        """Make `call` soon. It takes the place of an earlier one of its kind: a restore goes before the checkpoint."""
        self._due[owner.spec.id, kind] = owner, call
        self._wakeup.set()

    def drop(self, owner: MatchOwner, *kinds: str) -> None:
        """Never mind the calls of some kinds; without kinds: of all."""
        for match_id, kind in [key for key in self._due if key[0] == owner.spec.id]:
            if not kinds or kind in kinds:
                del self._due[match_id, kind]

    async def run(self) -> None:
        """Make calls as they come, for ever."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            if not await self.flush():
                await sleep(self._clock, AGAIN_US)
                self._wakeup.set()

    async def flush(self, match_id: str = "") -> bool:
        """Make the calls that are due, all or those of a match; False when the directory cannot be reached."""
        for key, asked in list(self._due.items()):
            if match_id and key[0] != match_id:
                continue
            owner, call = asked
            try:
                await call()
            except Fenced:
                self._lost(owner)
            except NoSuchMatch:
                pass  # Valkey has lost it: the next renewal notices and restores it
            except (RedisError, TimeoutError) as error:
                self._failed(error)
                return False
            except Exception:  # a call that fails by itself must not keep the others from being made
                logger.exception("call to the directory failed", extra={"match": owner.spec.id, "call": key[1]})
            if self._due.get(key) is asked:
                del self._due[key]
        return True
