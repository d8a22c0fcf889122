"""The socket of the page /connection: answers pings, so that a visitor sees what the way to a worker is worth."""

import asyncio
from typing import Final

from live.clock import sleep
from live.protocol import codec
from live.protocol.socket import Refused
from live.transport.connection import AsgiSend
from live.transport.socket import Receive, Scope, check_origin
from live.worker.worker import Worker, installed

ECHOES_MAX: Final = 60  # of one socket
SECONDS_MAX: Final = 20.0
AT_ONCE: Final = 50  # of a worker
LOOK_US: Final = 5_000

_open: set[object] = set()


async def echo_socket(scope: Scope, receive: Receive, send: AsgiSend) -> None:
    """The ASGI app of `/ws/<worker>/echo`. `pong` has `c` as it came, `s` (wall clock, ms) and `lag` (ms)."""
    await receive()
    await send({"type": "websocket.accept"})
    worker = installed()
    place = object()
    code = 1000
    try:
        check_origin(scope)
        if worker is None or worker.name != scope["url_route"]["kwargs"]["worker"]:
            raise Refused(4404, "this is another worker")
        if len(_open) >= AT_ONCE:
            raise Refused(4429, "this worker has no room for more")
        _open.add(place)
        async with asyncio.timeout(SECONDS_MAX):
            if not await _answer(worker, receive, send):
                return
    except Refused as refused:
        await send({"type": "websocket.send", "text": codec.error(refused.code, refused.detail).data.decode()})
        code = refused.code
    except TimeoutError:
        pass
    finally:
        _open.discard(place)
    await send({"type": "websocket.close", "code": code})


async def _answer(worker: Worker, receive: Receive, send: AsgiSend) -> bool:
    """Whether the peer is there still when it has had its answers. Refused."""
    clock = worker.clock
    lag = 0
    for _ in range(ECHOES_MAX):
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return False
        ping = codec.decode(message.get("text"))
        if not isinstance(ping, codec.Ping):
            raise Refused(4400, "only pings are answered here")
        text = codec.echo(ping.c, wall_ms=clock.wall().timestamp() * 1000, lag_ms=lag / 1000).data.decode()
        await send({"type": "websocket.send", "text": text})
        due = clock.now() + LOOK_US  # after the answer, so that it costs no round trip
        await sleep(clock, LOOK_US)
        lag = max(0, clock.now() - due)
    return True
