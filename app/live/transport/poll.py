"""The second transport: sockets that HTTP requests carry, for networks that let no WebSocket through.

A `Session` stands where a WebSocket stands: it speaks ASGI to the application, and to a match socket it is its `Wire`.
So messages, close codes, limits, tokens and the check of the Origin are those of sockets. The client holds one request
that waits (a long poll), and says what it has to say in others, which bring back what follows from it. Every answer
ends, so that no proxy on the way keeps it. Both directions are numbered: what was lost is asked for again, and what
comes twice or too early is told apart. The format: docs/protocol.md; why so: docs/decisions/0020-second-transport.md.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from live import metrics
from live.clock import SECOND, Clock
from live.protocol import codec
from live.protocol.codec import MESSAGE_BYTES
from live.transport.connection import AsgiSend, Budget
from live.transport.socket import INBOUND_MAX, RTT_EXTENSION, SOCKETS_MAX, WIRE_EXTENSION, Receive, Scope

logger = logging.getLogger(__name__)

SUFFIX: Final = "/poll"  # behind the address of the socket
HOLD_US: Final = 20 * SECOND  # proxies cut what says nothing for 30 or 60 s
GONE_US: Final = 5 * SECOND  # no request is held, and none has come
CLOSED_US: Final = 5 * SECOND  # an end whose answer was lost may be asked for again
BODY_BYTES: Final = 16 * 1024
UNHEARD_BYTES: Final = 16 * 1024  # and
UNHEARD_FRAMES: Final = 64  # that the client has not acknowledged, before its writer has to wait
EARLY_MAX: Final = 8  # batches that wait for one before them
REQUEST_BURST: Final = 120
REQUEST_RATE: Final = 60  # requests a second
NOT_ACCEPTED: Final = 4404
LOST: Final = 1006
LEFT: Final = 1001

App = Callable[[Scope, Receive, AsgiSend], Awaitable[None]]
_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Ask(Struct, forbid_unknown_fields=True):
    """The body of a request. Without `session` it opens one."""

    session: str = ""
    ack: _Count = 0  # messages that the client has heard
    at: _Count = 0  # messages that it has said before these
    messages: list[Raw] = []
    wait: bool = False  # to be held until there is something to hear
    bye: bool = False  # the client closes


class Refusal(Exception):
    """A request that belongs to no session, or must not; answered with `status`."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.error = error
        self.detail = detail


class Session:
    """One socket that is carried by requests. It lives as long as they come, and no other connection can take it on."""

    is_straight = True  # a Wire that is always there

    def __init__(self, scope: Scope, clock: Clock, drop: Callable[["Session"], None]) -> None:
        self.id = secrets.token_urlsafe(18)
        self.path: str = scope["path"]
        self.origin = dict(scope["headers"]).get(b"origin", b"")
        self.budget = Budget(clock.now, burst=REQUEST_BURST, rate=REQUEST_RATE)
        self.on_room: Callable[[], None] = lambda: None
        self._clock = clock
        self._drop = drop
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        self._hear: Callable[[str | None, int], None] | None = None
        self._gone: Callable[[], None] | None = None
        self._heard = 0
        self._early: dict[int, list[Raw]] = {}
        self._is_hearing = False
        self._frames: deque[bytes] = deque()  # that the client has not acknowledged
        self._first = 0  # the number of the first of them
        self._bytes = 0
        self._held: asyncio.Future[None] | None = None
        self._seen_at = clock.now()
        self._told: tuple[int, int] | None = None  # what the last held request was answered with, and when
        self._rtt: int | None = None
        self._is_accepted = False
        self._code: int | None = None
        self._is_over = False
        self._task: asyncio.Task[None] | None = None
        metrics.polled.inc()
        clock.call_at(self._seen_at + GONE_US, self._look)

    def run(self, app: App, scope: Scope) -> None:
        """Let the application of the socket begin."""
        extensions = {RTT_EXTENSION: self.rtt, WIRE_EXTENSION: self}
        socket = {
            "type": "websocket",
            "path": self.path,
            "query_string": b"",
            "headers": scope["headers"],
            "client": scope.get("client"),
            "subprotocols": [],
            "extensions": extensions,
        }
        self._task = asyncio.ensure_future(app(socket, self._inbox.get, self._send))
        self._task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.error("socket failed", exc_info=task.exception())
            self.serverClose(1011)

    # Requests

    async def answer(self, ask: Ask, receive: Receive) -> bytes | None:
        """What a request is answered with, after a while if it waits; None: nobody is there any more to hear it."""
        self._seen_at = self._clock.now()
        if ask.wait and self._told is not None and self._told[0] == ask.ack:
            self._rtt = self._seen_at - self._told[1]
        self._forget(ask.ack)
        self._take(ask)
        if ask.bye:
            self.end(LEFT)
            self._drop(self)
        elif ask.wait:
            if not await self._hold(receive):
                return None
            self._told = (self._first + len(self._frames), self._clock.now())
        close = b"" if self._code is None else b',"close":%d' % self._code
        packed = b",".join(self._frames)
        return b'{"session":"%b","at":%d,"messages":[%b]%b}' % (self.id.encode(), self._first, packed, close)

    def _forget(self, ack: int) -> None:
        """The client has these."""
        was_full = self._is_full
        while self._frames and self._first < ack:
            self._bytes -= len(self._frames.popleft())
            self._first += 1
        if was_full and not self._is_full:
            self.on_room()

    def _take(self, ask: Ask) -> None:
        """Hear the messages in the order in which they were said, each once."""
        if not ask.messages:
            return
        if ask.at > self._heard + INBOUND_MAX or len(self._early) >= EARLY_MAX:
            self.write(codec.error(4400, "messages are missing").data)
            self.serverClose(4400)
            return
        self._early[ask.at] = ask.messages
        self._is_hearing = True
        try:
            while self._early and (at := min(self._early)) <= self._heard:
                for message in self._early.pop(at)[self._heard - at :]:
                    self._heard += 1
                    self._put(bytes(message))
        finally:
            self._is_hearing = False

    def _put(self, message: bytes) -> None:
        if self._code is not None or self._is_over:
            return
        if len(message) > MESSAGE_BYTES:
            self.serverClose(1009)
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            text = None
        if self._hear is not None:
            self._hear(text, 0)
        elif self._inbox.qsize() < INBOUND_MAX:
            self._inbox.put_nowait({"type": "websocket.receive", "text": text})
        else:  # the application is busy with the first of them
            self.write(codec.error(4429, "too many messages").data)
            self.serverClose(4429)

    async def _hold(self, receive: Receive) -> bool:
        """Wait until there is something to tell, or for HOLD_US. False: the client has left meanwhile."""
        self._release()  # whoever waited before goes away empty-handed
        if self._frames or self._code is not None or self._is_over:
            return True
        held = self._held = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(self._clock.now() + HOLD_US, self._release)
        left = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({held, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            left.cancel()
            if self._held is held:
                self._held = None
            self._seen_at = self._clock.now()
        return held.done()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None and not held.done():
            held.set_result(None)

    def _look(self) -> None:
        """Whoever has no request here, and sends none, is gone."""
        if self._is_over:
            return
        since = self._clock.now() if self._held is not None else self._seen_at
        if self._clock.now() - since >= GONE_US:
            self.end()
            self._drop(self)
        else:
            self._clock.call_at(since + GONE_US, self._look)

    # The application's end

    async def _send(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                self._is_accepted = True
            case "websocket.send":
                while self._is_full and not self._is_over:
                    has_room = asyncio.Event()
                    self.on_room = has_room.set
                    await has_room.wait()
                self.write(message["text"].encode())
            case "websocket.close":
                self.serverClose(message.get("code") if self._is_accepted else NOT_ACCEPTED)

    @property
    def _is_full(self) -> bool:
        return self._bytes >= UNHEARD_BYTES or len(self._frames) >= UNHEARD_FRAMES

    def listen(self, hear: Callable[[str | None, int], None], gone: Callable[[], None]) -> None:
        """From here on messages go to `hear`, beginning with those that wait, and the end of the session to `gone`."""
        self._hear, self._gone = hear, gone
        while not self._inbox.empty():
            message = self._inbox.get_nowait()
            if message["type"] == "websocket.receive":
                hear(message["text"], 0)
        if self._is_over:
            self._gone = None
            gone()

    def write(self, message: bytes) -> bool:
        """Take a message for the client. False: there is no room; it was not taken, and `on_room` will be called."""
        if self._is_full:
            return False
        if self._code is None:
            self._frames.append(message)
            self._bytes += len(message)
            if not self._is_hearing:  # else it goes with the answer to what was said
                self._release()
        return True

    def rtt(self) -> int | None:
        """The last round trip (µs), or None; lets the held request go, whose next one ends another.

        It is an upper bound: from an answer until the client asks again.
        """
        self._release()
        return self._rtt

    def serverClose(self, code: int | None = None) -> None:
        """End it with `code` after what was written; the first code wins."""
        if self._code is not None or self._is_over:
            return
        self._code = 1000 if code is None else code
        self._release()
        asyncio.get_running_loop().call_soon(self.end)  # never inside the call of whoever closes
        self._clock.call_at(self._clock.now() + CLOSED_US, lambda: self._drop(self))

    def end(self, code: int = LOST) -> None:
        """The application hears no more of the client, who has gone with `code`."""
        if self._is_over:
            return
        self._is_over = True
        metrics.polled.dec()
        self._release()
        self.on_room()
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": self._code or code})
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()


class Polling:
    """The ASGI app of `<address of a socket>/poll`. `sockets` is that of the sockets.

    `clock` answers with that of this process, or None while it serves no sockets.
    """

    def __init__(self, sockets: App, clock: Callable[[], Clock | None]) -> None:
        self._sockets = sockets
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        status = 200
        try:
            ask = await _read(scope, receive)
            body = await self._session(scope, ask).answer(ask, receive)
        except Refusal as refusal:
            status, body = refusal.status, msgspec.json.encode({"error": refusal.error, "detail": refusal.detail})
        if body is None:
            return
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Cache-Control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _session(self, scope: Scope, ask: Ask) -> Session:
        """The session that a request belongs to, or a new one. Refusal."""
        path = scope["path"].removesuffix(SUFFIX)
        if not ask.session:
            return self._open({**scope, "path": path}, ask)
        session = self._sessions.get(ask.session)
        if session is None or session.path != path:
            raise Refusal(404, "no-session", "There is no such session here, or no longer: take the seat again.")
        if dict(scope["headers"]).get(b"origin", b"") != session.origin:
            raise Refusal(403, "origin", "The Origin is not that of the session.")
        if not session.budget.spend():
            session.write(codec.error(4429, "too many requests").data)
            session.serverClose(4429)
        return session

    def _open(self, scope: Scope, ask: Ask) -> Session:
        clock = self._clock()
        if clock is None:
            raise Refusal(404, "no-worker", "No live server is here: ask for the address of one.")
        if len(self._sessions) >= SOCKETS_MAX:
            raise Refusal(503, "full", "This server has no room for more; try again in a moment.")
        if not ask.messages:
            raise Refusal(400, "bad-request", "A request without a session brings the first message.")
        session = Session(scope, clock, self._drop)
        self._sessions[session.id] = session
        session.run(self._sockets, scope)
        return session

    def _drop(self, session: Session) -> None:
        self._sessions.pop(session.id, None)


async def _read(scope: Scope, receive: Receive) -> Ask:
    """The request, checked. Refusal. Its type makes browsers ask before another site's page may send it."""
    if scope["method"] != "POST":
        raise Refusal(405, "method", "Use POST.")
    kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refusal(415, "content-type", "Use Content-Type: application/json.")
    body = b""
    is_whole = False
    while not is_whole:
        message = await receive()
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(body) > BODY_BYTES:
            raise Refusal(413, "too-large", f"The body must not be longer than {BODY_BYTES} bytes.")
    try:
        return msgspec.json.decode(body, type=Ask)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, "bad-request", f"The body is not a request: {error}") from error
