"""What Daphne serves: pages and API by Django, the lobby, and the live server's sockets, which requests may carry."""

import os
import re
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import re_path

from matchpoint.middleware import PROBES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matchpoint.settings")

CARRIED = r"^ws/.+/poll$"  # requests that carry a socket


async def unknown_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Refuse a socket at an address that is not ours (the router itself would raise)."""
    await receive()
    await send({"type": "websocket.close"})


def build_application() -> ProtocolTypeRouter:
    pages = get_asgi_application()
    # These need the settings, which the line above has loaded
    from live.clock import Clock
    from live.transport.echo import echo_socket
    from live.transport.poll import Polling
    from live.transport.socket import match_socket
    from live.worker import worker
    from lobby import hall
    from lobby.socket import lobby_socket

    def clock() -> Clock | None:
        serving = worker.installed() or hall.installed()
        return None if serving is None else serving.clock

    route: Any = re_path  # typed for views, and these are ASGI applications
    sockets = URLRouter(
        [
            route(r"^ws/(?P<worker>[a-z0-9-]+)/match/(?P<match_id>[A-Za-z0-9]+)$", match_socket),
            route(r"^ws/(?P<worker>[a-z0-9-]+)/echo$", echo_socket),
            # With a name of the page's choosing, by which the edge finds the process that carries its requests
            route(r"^ws/lobby(?:/[a-z0-9]{1,32})?$", lobby_socket),
            route(r"", unknown_socket),
        ]
    )
    http = URLRouter([route(CARRIED, Polling(sockets, clock)), route(r"", pages)])
    return ProtocolTypeRouter({"http": http, "websocket": sockets})


application = build_application()


async def sockets_only(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """For live workers: no page delays a ball, and what can be asked of pages cannot be asked of them."""
    if scope["type"] != "http" or scope["path"] in PROBES or re.match(CARRIED, scope["path"].lstrip("/")):
        await application(scope, receive, send)
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": b"This process has no pages.\n"})
