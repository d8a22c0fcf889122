"""The match socket: a raw ASGI app, one call a WebSocket, from the handshake to the last frame.

Channels' consumers would cost a thread hop for every message and share one thread for the ORM. Refusals come after the
handshake, because a browser cannot see why a handshake failed.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from live import metrics
from live.clock import SECOND
from live.match.owner import MatchOwner
from live.protocol import codec
from live.protocol.socket import Refused
from live.protocol.tokens import InvalidToken, seat_token_read
from live.transport.connection import CONSUMER, INPUT_BURST, AsgiSend, Connection
from live.worker.worker import Worker, installed

logger = logging.getLogger(__name__)

HELLO_US: Final = 5 * SECOND
SILENCE_US: Final = 3 * SECOND  # of a player in a match: the page pings every second
AGAIN_US: Final = 200_000  # after a stall of this process: what was said meanwhile is read first
QUIET_US: Final = 90 * SECOND  # of everybody else: browsers wake hidden pages once a minute
SOCKETS_MAX: Final = 5_000  # of a worker, at about 30 kB each
LINE_RTT_DIGITS: Final = 9  # of µs
RTT_EXTENSION: Final = "matchpoint.rtt"
WIRE_EXTENSION: Final = "matchpoint.wire"
INBOUND_MAX: Final = INPUT_BURST  # messages that wait while their match is looked for

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class _Gone(Exception):
    """The peer has closed the socket, or lost it."""


def check_origin(scope: Scope) -> None:
    """Another site's page must not speak for a player. With ALLOWED_HOSTS `*` any own name will do. Refused (4403)."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin1")
    own = {settings.MATCHPOINT_ORIGIN}
    if settings.ALLOWED_HOSTS == ["*"] and urlsplit(origin).netloc == headers.get(b"host", b"-").decode("latin1"):
        own.add(origin)
    if origin not in own:
        raise Refused(4403, "foreign origin")


async def match_socket(scope: Scope, receive: Receive, send: AsgiSend) -> None:
    """The ASGI app of `/ws/<worker>/match/<match_id>` (routed by Channels' URLRouter)."""
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    await send({"type": "websocket.accept"})
    worker = installed()
    if worker is None:
        await send({"type": "websocket.close", "code": 4404})
        return
    await _Socket(scope, receive, send, worker).run()


class _Socket:
    """One WebSocket after its handshake."""

    __slots__ = ("_connection", "_is_doubted", "_owner", "_receive", "_scope", "_wire", "_worker")

    def __init__(self, scope: Scope, receive: Receive, send: AsgiSend, worker: Worker) -> None:
        self._scope = scope
        self._receive = receive
        self._worker = worker
        extensions = scope.get("extensions") or {}
        wire = extensions.get(WIRE_EXTENSION)
        self._wire = wire if wire is not None and wire.is_straight else None
        self._connection = Connection(send, worker.clock, extensions.get(RTT_EXTENSION, lambda: None), self._wire)
        self._owner: MatchOwner | None = None
        self._is_doubted = False

    async def run(self) -> None:
        """Until the socket ends; on the straight way, until messages go to the match by themselves."""
        connection = self._connection
        connection.on_close = self._detach
        self._worker.connections[connection] = None
        metrics.ws_connections.labels(CONSUMER).inc()
        is_handed_on = False
        try:
            try:
                await self._enter()
                self._watch_silence()
            except Refused as refused:
                connection.refuse(refused)
            if self._wire is not None:
                is_handed_on = True
                del self._scope, self._receive  # of the handshake, and some kB
                self._wire.listen(self._hear, self._end)
                return
            while True:
                self._hear(await self._next())
        except _Gone:
            pass
        finally:
            if not is_handed_on:
                self._end()

    def _end(self) -> None:
        """The peer has gone."""
        connection = self._connection
        self._detach()
        self._worker.connections.pop(connection, None)
        metrics.ws_connections.labels(CONSUMER).dec()
        metrics.ws_disconnects.labels(CONSUMER, connection.close_reason).inc()
        connection.end()

    async def _enter(self) -> None:
        """From the first message to a place in the match. Refused, _Gone."""
        result = "error"  # unless it turns out otherwise
        try:
            check_origin(self._scope)
            if len(self._worker.connections) > SOCKETS_MAX:
                raise Refused(4429, "this worker has no room for more")
            message = await self._hello()
            await self._sit_down(message)
            result = "accepted"
        except _Gone:
            result = "gone"
            raise
        except Refused as refused:
            result = {1012: "error", 4404: "error", 4429: "capacity"}.get(refused.code, "auth_rejected")
            raise
        finally:
            metrics.ws_connects.labels(CONSUMER, result).inc()

    async def _hello(self) -> codec.Hello:
        clock = self._worker.clock
        deadline = clock.call_at(clock.now() + HELLO_US, self._hello_is_late)
        try:
            message = codec.decode(await self._next())
        finally:
            deadline.cancel()
        if not isinstance(message, codec.Hello):
            raise Refused(4400, "the first message is hello")
        return message

    async def _sit_down(self, message: codec.Hello) -> None:
        """Take the place that the token proves. Refused, _Gone."""
        try:
            claim = seat_token_read(message.token)
        except InvalidToken as error:
            raise Refused(4401, "the token is not valid, or no longer") from error
        route = self._scope["url_route"]["kwargs"]
        if claim.worker != route["worker"] or claim.match_id != route["match_id"]:
            raise Refused(4401, "the token is for another place")
        if claim.worker != self._worker.name:
            raise Refused(4404, "this is another worker")
        self._connection.identity = claim.identity  # from here on the socket hears of a revocation
        if await self._worker.logouts.include(claim):
            raise Refused(4401, "logged out")
        owner = await self._worker.owner_for(claim)
        if self._connection.closing:
            raise _Gone
        self._connection.protocol = message.protocol
        self._connection.told_by = message.owner
        self._connection.line_rtt = self._line_rtt()
        self._owner = owner
        self._guarded(owner, partial(owner.attach, self._connection, claim.side, message.version))

    def _line_rtt(self) -> int | None:
        """What the edge says of the line, in µs; None without an edge."""
        said = dict(self._scope["headers"]).get(b"x-tcp-rtt", b"")
        return int(said) if said.isdigit() and len(said) <= LINE_RTT_DIGITS else None

    def _hear(self, text: str | None, waited: int = 0) -> None:
        """Hand a message to the owner, which has waited (µs) to be read; None is a binary one."""
        connection, owner = self._connection, self._owner
        if connection.closing or owner is None:
            return
        connection.seen_at = self._worker.clock.now()
        connection.waited = waited
        try:
            if not connection.budget.spend():
                raise Refused(4429, "too many messages")
            message = codec.decode(text)
            self._guarded(owner, partial(message.heard_by, owner, connection))
        except Refused as refused:
            connection.refuse(refused)
        else:
            if isinstance(message, codec.Input):
                passed = self._worker.clock.now() - connection.seen_at
                metrics.input_broadcast.observe((passed + waited) / SECOND)

    async def _next(self) -> str | None:
        """The next message. _Gone."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Gone
        self._connection.seen_at = self._worker.clock.now()
        return message.get("text")

    def _guarded(self, owner: MatchOwner, call: Callable[[], None]) -> None:
        """A match that fails is taken over from its last boundary; nobody else notices."""
        try:
            call()
        except Refused:
            raise
        except Exception as error:
            self._worker.crashed(owner, error)

    def _detach(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            self._guarded(owner, partial(owner.detach, self._connection))

    def _hello_is_late(self) -> None:
        self._connection.refuse(Refused(4401, "no hello within 5 s"))

    def _watch_silence(self) -> None:
        """Close a socket that says nothing: its peer may be gone without a word."""
        connection = self._connection
        if connection.closing or self._owner is None:
            return
        now = self._worker.clock.now()
        due = connection.seen_at + (SILENCE_US if self._owner.needs_pulse(connection) else QUIET_US)
        if now < due:
            self._is_doubted = False
            # The limit changes when the match starts, so look again before the longer one is over.
            self._worker.clock.call_at(min(due, now + SILENCE_US), self._watch_silence)
        elif not self._is_doubted:
            self._is_doubted = True
            self._worker.clock.call_at(now + AGAIN_US, self._watch_silence)
        else:
            connection.close(1001)
