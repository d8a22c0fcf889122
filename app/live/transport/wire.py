"""The straight way between a match and its socket: whole frames, no queue, no task.

Daphne hands each message through a queue, a task and four layers of Twisted and autobahn. A `Wire` reads the short
frames that clients send, and writes finished frames to the socket itself as long as Twisted has nothing buffered. All
else (handshake, long or broken frames, closing, full buffers) stays with them. What it takes for that is private to
Twisted, autobahn and Daphne; it all stands in this file, and tests/app/live/transport/test_wire.py has a test for each
name. Where one is missing, or TLS ends in this process, sockets go the plain way of ASGI.
"""

import logging
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import main, tcp

logger = logging.getLogger(__name__)

PING_TAG: Final = b"rtt "
OF_TWISTED: Final = ("socket", "dataBuffer", "_tempDataLen", "TLS")  # of a tcp.Server
OF_AUTOBAHN: Final = ("state", "data", "current_frame", "inside_message", "autoPingPending")  # of a WebSocketProtocol
OF_DAPHNE: Final = ("application_queue", "last_ping")  # of its WebSocketProtocol
# Of a handshake that is over, of both: some kB a socket that nobody reads again
REMAINS: Final = ("clean_headers", "http_headers", "http_request_data", "http_response_data", "application_deferred")
READ_BYTES: Final = 4096
WAITED_MAX_NS: Final = 10_000_000_000  # whoever waits longer is closed for silence
JUMP_NS: Final = 50_000_000  # more than a clock is slewed between two reads of a process that has something to do
SHORT: Final = 126  # bytes from which on a frame has a longer head

# Linux' value, on all its architectures that have wheels: Python has no name for it
_TIMESTAMPNS: Final = 35 if sys.platform == "linux" else None
_STAMP: Final = struct.Struct("@ll")  # seconds and ns of the wall clock
_ANCILLARY: Final = socket.CMSG_SPACE(_STAMP.size)
_TEXT, _PONG = 0x81, 0x8A  # final frames
_HEADS: Final = [bytes((_TEXT, size)) for size in range(SHORT)]
_PING: Final = bytes((0x89, len(PING_TAG) + 8)) + PING_TAG


def frame(message: bytes) -> bytes:
    """A text message of the server as a WebSocket frame."""
    size = len(message)
    if size < SHORT:
        return _HEADS[size] + message
    if size < 1 << 16:
        return struct.pack(">BBH", _TEXT, 126, size) + message
    return struct.pack(">BBQ", _TEXT, 127, size) + message


def with_options(kind: Any, factory: Any) -> Any:
    """The WebSocketProtocol `kind` with the options of its factory, once for all sockets.

    Autobahn copies them to every instance, 29 of them, and formats them for a log that nobody keeps.
    """
    options = {name: getattr(factory, name) for name in getattr(kind, "CONFIG_ATTRS", ())}
    methods = {name: staticmethod(value) if callable(value) else value for name, value in options.items()}
    return type(kind.__name__, (kind,), {**methods, "CONFIG_ATTRS": ()})


class _Nowhere:
    """Daphne's queue of a socket whose messages go another way: what is put there is heard already."""

    def qsize(self) -> int:
        return 0

    def put_nowait(self, message: dict[str, Any]) -> None: ...


_nowhere: Final = _Nowhere()


class Arrivals:
    """How long ago the kernel stamped bytes, by the wall clock: which may be set, and then nobody knows for a while."""

    def __init__(self) -> None:
        self._ahead = time.time_ns() - time.monotonic_ns()  # of the wall clock
        self._doubted_until = 0

    def waited(self, stamp: int) -> int:
        """µs since `stamp` (ns of the wall clock); 0 when that is not known."""
        wall, steady = time.time_ns(), time.monotonic_ns()
        if abs(wall - steady - self._ahead) > JUMP_NS:
            self._doubted_until = steady + WAITED_MAX_NS
        self._ahead = wall - steady
        waited = wall - stamp
        return waited // 1000 if 0 < waited < WAITED_MAX_NS and steady >= self._doubted_until else 0


_arrivals: Final = Arrivals()


class Wire:
    """What is added to a WebSocketProtocol of Daphne.

    `hear` gets a text, or None for a binary message, and for how long (µs) that has waited to be read: a player does
    not pay for what else this process had to do. Only the kernel knows when bytes came; where it does not say, 0.
    """

    _hear: Callable[[str | None, int], None] | None = None
    _waited = 0  # of the bytes that were read last
    _gone: Callable[[], None] | None = None
    _rtt: int | None = None
    is_full = False  # Twisted's buffer: nothing more goes in until `on_room` is called
    on_room: Callable[[], None] = staticmethod(lambda: None)

    # Of the protocol that this is mixed into
    transport: Any
    state: int
    STATE_OPEN: int
    data: bytes
    current_frame: Any
    inside_message: bool
    autoPingPending: Any
    application_queue: Any
    request: Any
    send_queue: Any
    sendPing: Callable[[bytes], None]

    @property
    def is_straight(self) -> bool:
        """Whether the straight way can be gone: plain TCP, and everything is where it is expected."""
        transport = self.transport
        if type(transport) is not tcp.Server or transport.TLS or self.state != self.STATE_OPEN:
            return False
        missing = [name for name in OF_TWISTED if not hasattr(transport, name)]
        missing += [name for name in (*OF_AUTOBAHN, *OF_DAPHNE) if not hasattr(self, name)]
        if missing:
            logger.warning("sockets go the slow way", extra={"missing": missing})
        return not missing

    def listen(self, hear: Callable[[str | None, int], None], gone: Callable[[], None]) -> None:
        """From here on messages go to `hear`, beginning with those that wait, and the end of the socket to `gone`."""
        self._hear, self._gone = hear, gone
        if _TIMESTAMPNS is not None:
            self.transport.socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
            self.transport.doRead = self._read
        queue = self.application_queue
        while not queue.empty():
            message = queue.get_nowait()
            if message["type"] == "websocket.disconnect":
                self._end()
                return
            hear(message.get("text"), 0)
        self.application_queue = _nowhere
        for name in REMAINS:
            setattr(self, name, None)
        self.request.headers = self.send_queue = ()

    def write(self, message: bytes) -> bool:
        """Send a text message now. False: there is no room; nothing was sent, and `on_room` will be called.

        A socket that closes takes it, and forgets it.
        """
        if self.is_full:
            return False
        if self.state == self.STATE_OPEN:
            self._put(frame(message))
        return True

    def rtt(self) -> int | None:
        """The last measured round trip (µs), or None; starts the next measurement."""
        stamp = struct.pack(">Q", time.monotonic_ns())
        if self._hear is None:
            self.sendPing(PING_TAG + stamp)
        elif self.state == self.STATE_OPEN and not self.is_full:
            self._put(_PING + stamp)
        return self._rtt

    def onPong(self, payload: bytes) -> None:
        if payload.startswith(PING_TAG) and len(payload) == len(PING_TAG) + 8:
            (sent,) = struct.unpack(">Q", payload[len(PING_TAG) :])
            self._rtt = max(0, time.monotonic_ns() - sent) // 1000

    def _put(self, octets: bytes) -> None:
        transport = self.transport
        if transport.dataBuffer or transport._tempDataLen:
            transport.write(octets)  # behind what waits there
            return
        try:
            sent = transport.socket.send(octets)
        except OSError:  # full, or lost: Twisted finds out which
            sent = 0
        if sent < len(octets):
            transport.write(octets[sent:])

    # Called by Twisted, autobahn and Daphne

    def _read(self) -> Exception | None:
        """Twisted's `doRead`, with the time at which the bytes came."""
        try:
            data, ancillary, _, _ = self.transport.socket.recvmsg(READ_BYTES, _ANCILLARY)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self._waited = 0
        for _, kind, value in ancillary:
            if kind == _TIMESTAMPNS:
                seconds, ns = _STAMP.unpack(value)
                self._waited = _arrivals.waited(seconds * 1_000_000_000 + ns)
        self.dataReceived(data)
        return None

    def dataReceived(self, data: bytes) -> None:
        """Whole, short, masked texts and pongs are read here; from the first other frame on it is autobahn's turn."""
        at, end, hear = 0, len(data), self._hear
        if hear is not None and not self.data and self.current_frame is None and not self.inside_message:
            self.last_ping = time.time()
            while end - at >= 6 and self.state == self.STATE_OPEN:
                kind, size = data[at], data[at + 1] - 0x80
                after = at + 6 + size
                if not 0 <= size < SHORT or after > end:
                    break
                if kind == _TEXT:
                    try:
                        text = _unmasked(data, at + 2, size).decode()
                    except UnicodeDecodeError:
                        break
                    hear(text, self._waited)
                elif kind == _PONG and self.autoPingPending is None:
                    self.spend()
                    self.onPong(_unmasked(data, at + 2, size))
                else:
                    break
                at = after
        if at < end:
            super().dataReceived(data[at:] if at else data)  # type: ignore[misc]  # of the protocol

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self._hear is None:
            super().onMessage(payload, isBinary)  # type: ignore[misc]  # of the protocol
        else:
            self._hear(None if isBinary else payload.decode(), self._waited)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        super().onClose(wasClean, code, reason)  # type: ignore[misc]  # of the protocol
        self._end()

    def _end(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()

    # A push producer of Twisted's

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full = False
        self.on_room()

    stopProducing = resumeProducing

    # Frames that are no message of their own: pings, pongs, and the parts of a message in fragments

    def onFrameBegin(self) -> None:
        self.spend()
        super().onFrameBegin()  # type: ignore[misc]  # of the protocol

    def spend(self) -> None:
        """Count such a frame; too many close the socket."""


def _unmasked(data: bytes, at: int, size: int) -> bytes:
    """The payload of `size` bytes behind the mask at `at`."""
    begin = at + 4
    mask = (data[at:begin] * (size // 4 + 1))[:size]
    value = int.from_bytes(data[begin : begin + size], "big") ^ int.from_bytes(mask, "big")
    return value.to_bytes(size, "big")
