"""One open lobby socket: who it is, whether it waits, what it was told, and a writer that never holds up the rest."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from live.clock import SECOND, Clock
from live.protocol.socket import Refused
from lobby import protocol
from lobby.pairing import Ticket
from lobby.protocol import Claim, Frame
from lobby.queue import Met

SEND_S: Final = 5.0  # for one message, then the reader is too slow
BURST: Final = 12
RATE: Final = 2  # messages a second
UNKNOWN_RTT_MS: Final = 60
RTT_MAX_MS: Final = 2000

AsgiSend = Callable[[dict[str, Any]], Awaitable[None]]


class Session:
    """The server's end of a lobby socket. `tell`, `refuse` and `close` never block and never raise.

    `rtt` answers with the last round trip (µs) that the server has measured, or None.
    """

    def __init__(self, send: AsgiSend, clock: Clock, claim: Claim, rtt: Callable[[], int | None]) -> None:
        self._send = send
        self._clock = clock
        self._rtt = rtt
        self.claim = claim
        self.holder = secrets.token_hex(8)
        self.avoids: tuple[str, ...] = ()  # identities
        self.seen_at = clock.now()
        self.waits_since: float | None = None  # s since 1970
        self.ticket: Ticket | None = None  # as Valkey has it
        self.met: Met | None = None
        self.is_coming = False  # its page knows of that
        self.goes_over_at = 0  # on the clock
        self._told: dict[str, Frame] = {}
        self._pending: dict[str, Frame] = {}  # the newest of each kind: a slow reader misses nothing that still holds
        self._wakeup = asyncio.Event()
        self._tokens = float(BURST)
        self._filled_at = self.seen_at
        self.close_code: int | None = None
        self._writer = asyncio.create_task(self._write(), name="lobby-socket-writer")

    @property
    def identity(self) -> str:
        return self.claim.identity

    @property
    def is_waiting(self) -> bool:
        return self.waits_since is not None and self.close_code is None

    def goes_over_in(self) -> float:
        """Seconds that are left of the countdown to the match, if there is one."""
        return 0.0 if self.met is None else (self.goes_over_at - self._clock.now()) / SECOND

    def silence(self) -> float:
        """For how long (s) nothing was heard."""
        return (self._clock.now() - self.seen_at) / SECOND

    def heard(self) -> None:
        """A message has come. Refused (4429) when it is one too many."""
        now = self._clock.now()
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * RATE / SECOND) - 1
        self.seen_at = self._filled_at = now
        if self._tokens < 0:
            raise Refused(4429, "too many messages")

    def new_ticket(self, since: float) -> Ticket:
        measured = self._rtt()
        rtt = UNKNOWN_RTT_MS if measured is None else min(measured // 1000, RTT_MAX_MS)
        return Ticket(self.identity, self.claim.name, self.claim.rating, rtt, since, self.holder, self.avoids)

    def stop_waiting(self) -> None:
        self.waits_since = self.ticket = self.met = None

    def measure(self) -> None:
        """Start another measurement of the round trip."""
        self._rtt()

    def tell(self, frame: Frame) -> None:
        """Send a frame, unless it says what the last one of its kind said."""
        if self.close_code is None and self._told.get(frame.kind) != frame:
            self._told[frame.kind] = self._pending[frame.kind] = frame
            self._wakeup.set()

    def forget(self, kind: str) -> None:
        """What was told of a kind holds no longer: the same is news again."""
        self._told.pop(kind, None)
        self._pending.pop(kind, None)

    def refuse(self, refused: Refused) -> None:
        """Say why, and close."""
        self.tell(protocol.error(refused.code, refused.detail))
        self.close(refused.code)

    def close(self, code: int) -> None:
        """Close with `code` after what is pending; the first code wins."""
        if self.close_code is None:
            self.close_code = code
            self._wakeup.set()

    async def end(self) -> None:
        """The peer has gone, or was told to."""
        self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer

    async def _write(self) -> None:
        try:
            while True:
                await self._wakeup.wait()
                self._wakeup.clear()
                while self._pending:
                    frame = self._pending.pop(next(iter(self._pending)))
                    async with asyncio.timeout(SEND_S):
                        await self._send({"type": "websocket.send", "text": frame.text})
                if self.close_code is not None:
                    break
        except TimeoutError:
            self.close_code = self.close_code or 4408
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_S):
                await self._send({"type": "websocket.close", "code": self.close_code})
