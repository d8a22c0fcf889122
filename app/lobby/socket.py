"""The ASGI app of `/ws/lobby`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from redis.exceptions import RedisError

from live.protocol.socket import Refused
from lobby import metrics, protocol
from lobby.hall import Hall, installed
from lobby.protocol import Cancel, Claim, Coming, Hello, InvalidToken, Message, Wait, lobby_token_read
from lobby.session import Session

HELLO_S: Final = 5.0
CLEAN: Final = (1000, 1001)  # how pages close a socket, and browsers that of a page that is left

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
AsgiSend = Callable[[dict[str, Any]], Awaitable[None]]


class _Gone(Exception):
    """The peer has lost the socket, or closed it, which `is_clean`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.is_clean = code in CLEAN


async def lobby_socket(scope: Scope, receive: Receive, send: AsgiSend) -> None:
    """Routed by Channels' URLRouter. A process without a lobby closes with 4404."""
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    await send({"type": "websocket.accept"})
    hall = installed()
    if hall is None:
        await send({"type": "websocket.close", "code": 4404})
        return
    try:
        claim = await _hello(scope, receive)
    except Refused as refused:
        metrics.connects.labels("refused").inc()
        await _turn_away(receive, send, refused)
        return
    except _Gone:
        metrics.connects.labels("gone").inc()
        return
    session = Session(send, hall.clock, claim, (scope.get("extensions") or {}).get("matchpoint.rtt", lambda: None))
    is_clean = False
    try:
        await _enter(hall, session)
        while True:
            await _hear(hall, session, await _next(receive))
    except _Gone as gone:
        is_clean = gone.is_clean
    finally:
        await hall.leave(session, is_clean=is_clean)
        await session.end()


async def _turn_away(receive: Receive, send: AsgiSend, refused: Refused) -> None:
    await send({"type": "websocket.send", "text": protocol.error(refused.code, refused.detail).text})
    await send({"type": "websocket.close", "code": refused.code})


async def _hello(scope: Scope, receive: Receive) -> Claim:
    """What the first message proves. Refused, _Gone."""
    _check_origin(scope)
    try:
        async with asyncio.timeout(HELLO_S):
            message = protocol.decode(await _next(receive))
    except TimeoutError:
        raise Refused(4401, "no hello within 5 s") from None
    if not isinstance(message, Hello):
        raise Refused(4400, "the first message is hello")
    if message.protocol != protocol.PROTOCOL:
        raise Refused(4426, f"this lobby speaks protocol {protocol.PROTOCOL}")
    try:
        return lobby_token_read(message.token)
    except InvalidToken as error:
        raise Refused(4401, "the token is not valid, or no longer") from error


async def _enter(hall: Hall, session: Session) -> None:
    result = "error"
    try:
        await hall.enter(session)
        result = "accepted"
    except Refused as refused:
        result = "refused"
        session.refuse(refused)
    except (RedisError, TimeoutError):
        session.refuse(Refused(1012, "the lobby does not answer"))
    finally:
        metrics.connects.labels(result).inc()


async def _hear(hall: Hall, session: Session, text: str | None) -> None:
    if session.close_code is not None:
        return
    try:
        session.heard()
        await _obey(hall, session, protocol.decode(text))
    except Refused as refused:
        session.refuse(refused)
    except (RedisError, TimeoutError):  # the beat says so to everybody; what was wished is tried again there
        pass


async def _obey(hall: Hall, session: Session, message: Message) -> None:
    if isinstance(message, Hello):
        raise Refused(4400, "hello comes once, and first")
    if isinstance(message, Wait):
        hall.wait(session)
    elif isinstance(message, Cancel):
        await hall.cancel(session)
    elif isinstance(message, Coming):
        await hall.coming(session, message.match)
    else:
        session.measure()
        session.forget("here")
        session.tell(protocol.here())


async def _next(receive: Receive) -> str | None:
    """The next message; None is a binary one. _Gone."""
    message = await receive()
    if message["type"] == "websocket.disconnect":
        raise _Gone(message.get("code") or 1006)
    text: str | None = message.get("text")
    return text


def _check_origin(scope: Scope) -> None:
    """Another site's page must not speak for a player. With ALLOWED_HOSTS `*` any own name will do."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin1")
    is_own = settings.ALLOWED_HOSTS == ["*"] and urlsplit(origin).netloc == headers.get(b"host", b"-").decode("latin1")
    if origin != settings.MATCHPOINT_ORIGIN and not is_own:
        raise Refused(4403, "foreign origin")
