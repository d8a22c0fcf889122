"""An event loop whose time is turned: it never waits, and jumps to the next timer when nothing is left to do.

Everything that runs belongs to a process, by its context. One that is frozen does nothing until it thaws; one that is
dead never does anything again, whatever it was in the middle of.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zlib import crc32

SECOND: Final = 1_000_000
BEGIN: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
STORM: Final = 200_000  # callbacks without time going on: something runs in circles


class Process:
    """What runs together, stops together, and has one wall clock. `skew` is how far that is wrong, in s."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_frozen = False
        self.skew = 0.0
        self.held: deque[asyncio.Handle] = deque()
        self._context = copy_context()
        self._context.run(_current.set, self)

    def context(self) -> Context:
        return self._context.copy()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work, context=self.context())

    def call_later(self, seconds: float, call: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, call, *args, context=self.context())

    def freeze(self) -> None:
        """SIGSTOP."""
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False
        asyncio.get_running_loop()._ready.extend(self.held)  # type: ignore[attr-defined]
        self.held.clear()

    def kill(self) -> None:
        """SIGKILL."""
        self.is_dead = True
        self.thaw()


_current: ContextVar[Process | None] = ContextVar("process", default=None)


def process_of(context: Context) -> Process | None:
    return context.get(_current)


class SimLoop(asyncio.BaseEventLoop):
    """`time()` is seconds since the beginning. Work for threads is done at once, and takes a while by the clock."""

    _ready: "deque[asyncio.Handle]"
    _scheduled: "list[asyncio.TimerHandle]"

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._time = 0.0
        self._storm = 0
        self.steps = 0
        self.trace = 0  # of which steps were run when, by whom
        self.is_ending = False
        self._dropped: list[asyncio.Handle] = []  # what the dead would have done

    def time(self) -> float:
        return self._time

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """`func` at a moment of its own, its answer a moment later: a process may die before, between and after."""
        future = self.create_future()

        def answer(outcome: Any, error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(outcome)

        def work() -> None:
            try:
                outcome, error = func(*args), None
            except Exception as raised:
                outcome, error = None, raised
            self.call_later(self._rng.uniform(0.001, 0.05), answer, outcome, error)

        self.call_later(self._rng.uniform(0.001, 0.05), work)
        return future

    def end(self) -> None:
        """Let go of everything that still runs, or never would again."""
        self.is_ending = True
        self._ready.extend(self._dropped)
        self.set_exception_handler(lambda loop, context: None)
        for _ in range(3):
            tasks = asyncio.all_tasks(self)
            for task in tasks:
                task.cancel()
            if tasks:
                self.run_until_complete(asyncio.wait(tasks, timeout=10))
        self.close()

    def _run_once(self) -> None:
        if not self._ready and not self._stopping:
            while self._scheduled and self._scheduled[0]._cancelled:  # type: ignore[attr-defined]
                heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]
            if not self._scheduled:
                raise RuntimeError("nothing will ever happen again")
            when = self._scheduled[0].when()
            if when > self._time:
                self._time, self._storm = when, 0
        while self._scheduled and self._scheduled[0].when() <= self._time:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            self._ready.append(timer)
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            process = process_of(handle._context)  # type: ignore[attr-defined]
            if handle.cancelled():
                continue
            if process is not None and process.is_dead and not self.is_ending:
                self._dropped.append(handle)
                continue
            if process is not None and process.is_frozen and not self.is_ending:
                process.held.append(handle)
                continue
            self.steps += 1
            self._storm += 1
            if not self.is_ending:
                self.trace = crc32(f"{self._time!r} {process and process.name} {_name(handle)}".encode(), self.trace)
            handle._run()  # type: ignore[attr-defined]
        if self._storm > STORM:
            raise RuntimeError(f"time stands still at {self._time:.6f} s")


def _name(handle: asyncio.Handle) -> str:
    """What runs: a function, or the coroutine of a task."""
    call = handle._callback  # type: ignore[attr-defined]
    task = getattr(call, "__self__", None)
    named: Any = task.get_coro() if isinstance(task, asyncio.Task) else call
    return getattr(named, "__qualname__", type(named).__name__)


class SimClock:
    """The `live.clock.Clock` of a process."""

    def __init__(self, process: Process) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process

    def now(self) -> int:
        return round(self._loop.time() * SECOND)

    def used(self) -> int:
        return 0  # computing takes no time here

    def wall(self) -> datetime:
        return BEGIN + timedelta(seconds=self._loop.time() + self._process.skew)

    def epoch(self) -> float:
        """The wall clock as `time.time` has it."""
        return self.wall().timestamp()

    def call_at(self, when: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_at(when / SECOND, callback)
