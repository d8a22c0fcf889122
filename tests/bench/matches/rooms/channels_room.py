"""A room as the tutorial of Channels builds one: a consumer that tells a group, over channels-redis, under Daphne.

`daphne channels_room:application`, with REDIS_URL in the environment. It relays inputs, answers probes, and tells a hit
a second.
"""

import asyncio
import json
import os
import time
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import re_path

settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]], "capacity": 1000},
        }
    },
)
django.setup()


def compact(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


class PongConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types
    ball: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        kwargs = self.scope["url_route"]["kwargs"]
        self.side = int(kwargs["side"])
        self.group = f"match_{kwargs['match']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        if self.side == 0:
            self.ball = asyncio.create_task(self.hits())

    async def disconnect(self, code: int) -> None:
        if self.ball is not None:
            self.ball.cancel()
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = json.loads(text_data or "{}")
        if message["t"] == "ping":
            await self.send(text_data=compact({"t": "pong", "c": message["c"], "s": time.monotonic_ns() // 1000}))
        else:
            target = message["target"]
            await self.tell(k="pad", side=self.side, y=target, target=target, seq=message["seq"])

    async def hits(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self.tell(k="hit", side=0, n=1, x=0, y=300, vx=700, vy=90)

    async def tell(self, **event: Any) -> None:
        event = {"v": 0, "k": event.pop("k"), "t": time.monotonic_ns() // 1000, **event}
        await self.channel_layer.group_send(self.group, {"type": "match.event", "event": event})

    async def match_event(self, message: dict[str, Any]) -> None:
        await self.send(text_data=compact({"t": "ev", "e": [message["event"]]}))


application = ProtocolTypeRouter(
    {"websocket": URLRouter([re_path(r"^room/(?P<match>\w+)/(?P<side>[01])$", PongConsumer.as_asgi())])}
)
