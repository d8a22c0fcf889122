"""One open match socket: a queue with limits and a single writer, a budget for what comes in, one way to close."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from live import metrics
from live.clock import SECOND, Clock
from live.protocol import codec
from live.protocol.socket import Frame, Refused

logger = logging.getLogger(__name__)

QUEUE_MESSAGES: Final = 64
QUEUE_BYTES: Final = 32 * 1024
CLOSE_US: Final = 1 * SECOND  # for the last frames of a socket that closes
INPUT_BURST: Final = 60
INPUT_RATE: Final = 30  # messages a second
CONSUMER: Final = "match"

AsgiSend = Callable[[dict[str, Any]], Awaitable[None]]


class Wire(Protocol):
    """The straight way of a socket (live.transport.wire), or requests that carry one (live.transport.poll)."""

    on_room: Callable[[], None]

    def write(self, message: bytes) -> bool: ...

    def serverClose(self, code: int | None = None) -> None: ...


_REASONS: Final = {
    1000: "over",
    1001: "timeout",
    1009: "protocol",
    1012: "server_shutdown",
    4408: "timeout",
    **dict.fromkeys((4400, 4401, 4403, 4404, 4409, 4426, 4429), "protocol"),
}

# Looked up once: it counts every frame.
_sent: Final = {name: metrics.ws_messages.labels(CONSUMER, "out", name) for name in codec.FRAMES}


class Budget:
    """A token bucket over messages of one socket, on a clock in µs: `burst` at once, `rate` a second."""

    __slots__ = ("_burst", "_clock", "_filled_at", "_rate", "_tokens")

    def __init__(self, clock: Callable[[], int], *, burst: int = INPUT_BURST, rate: int = INPUT_RATE) -> None:
        self._clock = clock
        self._burst = burst
        self._rate = rate
        self._tokens = float(burst)
        self._filled_at = clock()

    def spend(self) -> bool:
        """Whether one more message is within the limits."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate / SECOND)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Connection:
    """The server's end of a socket that is open. `send` and `close` never block and never raise.

    Frames go out by `wire` at once, as long as it has room; without one, by a task and the ASGI server's `send`.
    `rtt` answers with the last round trip (µs) that the server itself has measured, or None.
    """

    __slots__ = (
        "_clock", "_close_code", "_queue", "_queued_bytes", "_send", "_wakeup", "_wire", "_writer", "budget",
        "identity", "line_rtt", "on_close", "protocol", "rtt", "seen_at", "told_by", "waited",
    )  # fmt: skip

    def __init__(self, send: AsgiSend, clock: Clock, rtt: Callable[[], int | None], wire: Wire | None = None) -> None:
        self._send = send
        self._clock = clock
        self._wire = wire
        self._queue: list[bytes] = []  # a deque of nothing takes 760 bytes, and this is empty as a rule
        self._queued_bytes = 0
        self._wakeup: asyncio.Event | None = None
        self._writer: asyncio.Task[None] | None = None
        self._close_code: int | None = None
        self.rtt = rtt
        self.on_close: Callable[[], None] = lambda: None  # called soon after `close`, never inside it
        self.budget = Budget(clock.now)
        self.seen_at = clock.now()
        self.identity = ""
        self.protocol = 0
        self.line_rtt: int | None = None  # (µs) as the kernel of the edge has measured it when the socket opened
        self.told_by = ""  # the owner whose events the client holds
        self.waited = 0
        if wire is None:
            self._wakeup = asyncio.Event()
            self._writer = asyncio.create_task(self._write(self._wakeup), name="match-socket-writer")
            self._writer.add_done_callback(_report)
        else:
            wire.on_room = partial(self._write_on, wire)

    @property
    def closing(self) -> bool:
        return self._close_code is not None

    @property
    def close_reason(self) -> str:
        """Why the socket ended, as the metric has it."""
        return "client" if self._close_code is None else _REASONS.get(self._close_code, "error")

    def end(self) -> None:
        """The peer has gone."""
        self._queue.clear()
        if self._writer is not None:
            self._writer.cancel()

    def silence(self) -> int:
        return self._clock.now() - self.seen_at

    def send(self, frame: Frame) -> None:
        """Send or queue a frame; a reader that lets the queue overflow is closed with 4408."""
        if self.closing:
            return
        if self._wire is None or self._queue or not self._wire.write(frame.data):
            full = len(self._queue) >= QUEUE_MESSAGES or self._queued_bytes + len(frame.data) > QUEUE_BYTES
            if full and self._queue:
                self._queue.clear()
                self.close(4408)
                self._stop_writing()
                return
            self._queue.append(frame.data)
            self._queued_bytes += len(frame.data)
            self._wake()
        _sent[frame.name].inc()

    def refuse(self, refused: Refused) -> None:
        """Say why, and close."""
        self.send(codec.error(refused.code, refused.detail))
        self.close(refused.code)

    def close(self, code: int) -> None:
        """Close with `code` after the frames that are queued; the first code wins."""
        if self.closing:
            return
        self._close_code = code
        self._wake()
        asyncio.get_running_loop().call_soon(lambda: self.on_close())
        if self._wire is not None and not self._queue:
            self._wire.serverClose(code)
        else:
            self._clock.call_at(self._clock.now() + CLOSE_US, self._stop_writing)

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()

    def _stop_writing(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
        elif self._wire is not None:
            self._queue.clear()
            self._wire.serverClose(self._close_code)

    def _write_on(self, wire: Wire) -> None:
        """The wire has room again."""
        while self._queue and wire.write(self._queue[0]):
            self._queued_bytes -= len(self._queue.pop(0))
        if self._close_code is not None and not self._queue:
            wire.serverClose(self._close_code)

    async def _write(self, wakeup: asyncio.Event) -> None:
        try:
            while self._queue or not self.closing:
                if not self._queue:
                    wakeup.clear()
                    await wakeup.wait()
                    continue
                frame = self._queue.pop(0)
                self._queued_bytes -= len(frame)
                await self._send({"type": "websocket.send", "text": frame.decode()})
        finally:
            if self._close_code is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_US / SECOND):
                        await self._send({"type": "websocket.close", "code": self._close_code})


def _report(writer: asyncio.Task[None]) -> None:
    if not writer.cancelled() and writer.exception() is not None:
        logger.error("socket writer failed", exc_info=writer.exception())
