"""Time as the live servers see it: a monotonic clock with timers, injected so that tests can turn it by hand."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

SECOND = 1_000_000  # µs


class Timer(Protocol):
    """A call that has been scheduled and can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock in integer µs, the wall clock for records, and timers on the monotonic one."""

    def now(self) -> int: ...

    def wall(self) -> datetime: ...

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer: ...


class LoopClock:
    """The clock of the running event loop. Create it inside the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        return int(self._loop.time() * SECOND)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        return self._loop.call_at(when / SECOND, callback)
