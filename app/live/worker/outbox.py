"""Calls to the directory that must get through: the newest of a kind for a match, tried in order until they succeed.

Each match has its own row, so that one whose call hangs or fails holds up no other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Final
from weakref import WeakValueDictionary

from redis.exceptions import RedisError

from live.clock import Clock, sleep
from live.directory import Fenced, NoSuchMatch
from live.match.owner import MatchOwner

logger = logging.getLogger(__name__)

AGAIN_US: Final = 500_000  # a match waits at its point until this gets through
AT_ONCE: Final = 16  # calls; the others wait for these
SHARED: Final = frozenset({"checkpoint"})  # those of all matches travel together (live.directory.checkpoints)

Call = Callable[[], Awaitable[None]]


class Outbox:
    """The calls that are due. `lost` hears of owners that are fenced, `failed` of a directory that does not answer."""

    def __init__(
        self, clock: Clock, *, lost: Callable[[MatchOwner], None], failed: Callable[[Exception], None]
    ) -> None:
        self._clock = clock
        self._lost = lost
        self._failed = failed
        self._due: dict[str, dict[str, tuple[MatchOwner, Call]]] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(AT_ONCE)

    def put(self, owner: MatchOwner, kind: str, call: Call) -> None:
        """Make `call` soon. It takes the place of an earlier one of its kind: a restore goes before the checkpoint."""
        match_id = owner.spec.id
        self._due.setdefault(match_id, {})[kind] = owner, call
        if match_id not in self._keepers:
            self._keepers[match_id] = asyncio.create_task(self._keep(match_id), name="outbox")

    def drop(self, owner: MatchOwner, *kinds: str) -> None:
        """Never mind the calls of some kinds; without kinds: of all."""
        calls = self._due.get(owner.spec.id, {})
        for kind in kinds or tuple(calls):
            calls.pop(kind, None)

    async def flush(self, match_id: str | None = None) -> bool:
        """Make the calls of one match, or of all; False when the directory cannot be reached and calls are left."""
        ids = list(self._due) if match_id is None else [match_id]
        return all(await asyncio.gather(*map(self._make, ids)))

    def close(self) -> None:
        """Try no more."""
        for keeper in self._keepers.values():
            keeper.cancel()

    async def _keep(self, match_id: str) -> None:
        try:
            while match_id in self._due:
                if not await self._make(match_id):
                    await sleep(self._clock, AGAIN_US)
        finally:  # in the step that found nothing due: what comes later begins anew
            del self._keepers[match_id]

    async def _make(self, match_id: str) -> bool:
        async with self._locks.setdefault(match_id, asyncio.Lock()):
            calls = self._due.get(match_id, {})
            while calls:
                kind, asked = next(iter(calls.items()))
                if not await self._call(kind, *asked):
                    return False
                if calls.get(kind) is asked:
                    del calls[kind]
            if self._due.get(match_id) is calls:
                del self._due[match_id]
        return True

    async def _call(self, kind: str, owner: MatchOwner, call: Call) -> bool:
        """Make one call; False when it has to be made again."""
        try:
            async with nullcontext() if kind in SHARED else self._room:
                await call()
        except Fenced:
            self._lost(owner)
        except NoSuchMatch:
            pass  # Valkey has lost it: the next renewal notices and restores it
        except (RedisError, TimeoutError) as error:
            self._failed(error)
            return False
        except Exception:  # a call that fails by itself must not keep the others from being made
            logger.exception("call to the directory failed", extra={"match": owner.spec.id, "call": kind})
        return True
