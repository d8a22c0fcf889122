"""Daphne with what the match sockets need and it lacks: output back-pressure, measured round trips, a clean stop.

Importing this module makes the event loop (Daphne does that at import), so choose its policy before.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from autobahn.exception import Disconnected
from daphne.http_protocol import HTTPFactory
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import defer
from twisted.web.http import HTTPChannel

from live.protocol import codec
from live.protocol.codec import MESSAGE_BYTES
from live.transport.connection import Budget
from live.transport.socket import INBOUND_MAX, RTT_EXTENSION, WIRE_EXTENSION
from live.transport.wire import Wire, with_options

FRAME_BYTES: Final = 4096
ACCEPTS: Final = 2  # connections in each
ACCEPT_SECONDS: Final = 0.004
BACKLOG: Final = 1024  # connections that wait for that: beyond it the kernel lets them try again after a second
WRITE_BUFFER_BYTES: Final = 16 * 1024  # unsent bytes of a socket before its writer has to wait
# What edges let through of what players send (cookies of 16 KiB, addresses of 8) and what they add, with room for more
HEADERS_BYTES: Final = 48 * 1024
HEADERS_MAX: Final = 500
TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 55\r\nConnection: close\r\n\r\n"
    b"The headers are too large: clear this site's cookies.\r\n"
)


_HTTPChannel: Any = HTTPChannel  # Twisted has types for a part of it


class Channel(_HTTPChannel):  # type: ignore[misc]  # as above
    """A connection whose requests may be as large as nginx lets them be, and which says so of those that are larger.

    Twisted closes such a connection at once. nginx, which is sending still, takes that for a worker that died, and
    asks the next one. So the headers are read to their end before they are refused.
    """

    MAX_LENGTH = totalHeadersSize = HEADERS_BYTES
    maxHeaders = HEADERS_MAX
    _refused: bytes | None = None  # what came last of headers that are too large

    def lineReceived(self, line: bytes) -> None:
        size, count = self._receivedHeaderSize + len(line), self._receivedHeaderCount + 1
        if line and (size > self.totalHeadersSize or count >= self.maxHeaders):
            self._refuse()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse()
        self.rawDataReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if self._refused is None:
            super().rawDataReceived(data)
            return
        self._refused += data
        if b"\r\n\r\n" in self._refused:
            self.transport.write(TOO_LARGE)
            self.loseConnection()
        self._refused = self._refused[-3:]

    def _refuse(self) -> None:
        self._refused = b"\r\n"  # of the line that was one too many
        self.setRawMode()


class MatchpointProtocol(Wire, WebSocketProtocol):  # type: ignore[misc]  # Daphne has no types
    """A WebSocket whose writer can be made to wait, and whose round trip the server knows."""

    def onConnect(self, request: Any) -> Any:
        self.failByDrop = False  # say why: a browser cannot tell a dropped connection from a lost one
        self._frames = Budget(lambda: time.monotonic_ns() // 1000)
        return super().onConnect(request)

    def onOpen(self) -> None:
        # The HTTP protocol that did the handshake was the transport's producer until now.
        self.transport.unregisterProducer()
        self.transport.bufferSize = WRITE_BUFFER_BYTES
        self.transport.registerProducer(self, True)
        super().onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.application_queue.qsize() < INBOUND_MAX:
            super().onMessage(payload, isBinary)
        else:  # the application is busy with the first of them
            self._refuse()

    def spend(self) -> None:
        """A ping costs as much as a message, and so does each part of one."""
        if not self._frames.spend():
            self._refuse()

    def _refuse(self) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(codec.error(4429, "too many messages").data)
            self.serverClose(4429)

    def serverClose(self, code: int | None = None) -> None:
        # Autobahn's own method refuses the codes that RFC 6455 gives to servers, such as 1001 and 1012.
        self.sendCloseFrame(code=1000 if code is None else code)

    async def room(self) -> None:
        """Wait until Twisted has room for more."""
        if self.is_full:
            has_room = asyncio.Event()
            self.on_room = has_room.set
            await has_room.wait()


def pace(port: Any) -> None:
    """Let a few connections in at a time, and then the matches that are played have their turn.

    When a worker dies or a host reboots all its players come at once, and a handshake takes longer than an input.
    """
    accept = port.doRead

    def some() -> None:
        port.numberAccepts = ACCEPTS
        accept()
        port.stopReading()
        port.reactor.callLater(ACCEPT_SECONDS, go_on)

    def go_on() -> None:
        if port.connected and not port.disconnecting:
            port.startReading()

    port.doRead = some


class Server(DaphneServer):  # type: ignore[misc]  # Daphne has no types
    """Daphne's server. `failed` is set when it could not listen. `is_paced`: see `pace`."""

    def __init__(self, application: Any, *, endpoint: str, ready: Callable[[], None], is_paced: bool = False) -> None:
        super().__init__(
            application,
            endpoints=[f"{endpoint}:backlog={BACKLOG}"],
            signal_handlers=False,  # the process stops in its own order
            ready_callable=ready,
            websocket_max_message_size=MESSAGE_BYTES,
            websocket_max_frame_size=FRAME_BYTES,
            server_name="matchpoint",
        )
        self.failed = ""
        self._is_paced = is_paced
        self._ports: list[Any] = []
        self._is_stopping = False

    def run(self) -> None:
        WebSocketFactory.protocol = MatchpointProtocol
        HTTPFactory.protocol = Channel
        super().run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, MatchpointProtocol):
            scope["extensions"] = {RTT_EXTENSION: protocol.rtt, WIRE_EXTENSION: protocol}
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        if self._is_stopping and message["type"] == "http.response.start":
            # Edges keep connections open for more requests, and must not send one just when we close.
            message = {**message, "headers": [*message.get("headers", ()), (b"Connection", b"close")]}
        with suppress(Disconnected):  # the peer went between its last frame and Daphne's notice of it
            await super().handle_reply(protocol, message)
        if message["type"] == "websocket.send" and isinstance(protocol, MatchpointProtocol):
            await protocol.room()

    def listen_success(self, port: Any) -> None:
        self._ports.append(port)
        if self.ws_factory.protocol is MatchpointProtocol:
            self.ws_factory.protocol = with_options(MatchpointProtocol, self.ws_factory)
        if self._is_paced:
            pace(port)
        super().listen_success(port)

    async def finish_requests(self, seconds: float, *, last_call: float = 0.0) -> None:
        """Accept no connection any more, and wait for the HTTP requests that run, but not for ever.

        For `last_call` seconds connections that are kept open may bring one more request. It is answered, and told that
        the connection ends with it.
        """
        self._is_stopping = True
        for port in self._ports:
            port.stopListening()
        if last_call:
            await asyncio.sleep(last_call)
        requests = self._running(MatchpointProtocol, is_kind=False)
        if requests:
            await asyncio.wait(requests, timeout=seconds)

    def _running(self, kind: type, *, is_kind: bool) -> list[asyncio.Task[None]]:
        """The applications that run behind protocols that are, or are not, of a kind."""
        return [
            task
            for protocol, details in self.connections.items()
            if isinstance(protocol, kind) is is_kind
            and (task := details.get("application_instance")) is not None
            and not task.done()
        ]

    def listen_error(self, failure: Any) -> None:
        self.failed = failure.getErrorMessage()
        self.stop()

    def kill_all_applications(self) -> Any:
        """Cancel what still runs. Daphne's own version fails on connections whose application has been reaped."""
        running = self._running(object, is_kind=True)
        for task in running:
            task.cancel()
        return defer.Deferred.fromFuture(asyncio.gather(*running, return_exceptions=True)) if running else None
