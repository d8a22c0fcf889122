"""Time as the live servers see it: a monotonic clock with timers, injected so that tests can turn it by hand."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

SECOND = 1_000_000  # µs


class Timer(Protocol):
    """A call that has been scheduled and can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """A monotonic clock in integer µs, the wall clock for records, timers on the monotonic one, and processor time."""

    def now(self) -> int: ...

    def used(self) -> int:
        """Processor time (µs) of this process, all its threads."""

    def wall(self) -> datetime: ...

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer: ...


class LoopClock:
    """The system's clocks and the timers of the running event loop. Create it inside the loop.

    The loop's own time stands still while callbacks run, so it would measure none of them.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        return time.monotonic_ns() // 1000

    def used(self) -> int:
        return time.process_time_ns() // 1000

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        return self._loop.call_later(max(0, when - self.now()) / SECOND, callback)


async def sleep(clock: Clock, us: int) -> None:
    """Wait for `us` on `clock`."""
    over = asyncio.Event()
    timer = clock.call_at(clock.now() + us, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
