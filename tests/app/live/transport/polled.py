"""A client of the second transport, without a network: requests to the application, and a socket that they carry."""

import asyncio
import json
from typing import Any

from tests.app.live.conftest import ORIGIN, Socket, settle

Answer = tuple[int, dict[str, Any]]

sessions: dict[str, tuple[str, str | None]] = {}  # path and Origin by id: the application outlives a test


class Request:
    """One HTTP request to the application, and its answer when it has come."""

    def __init__(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        kind: str = "application/json",
        origin: str | None = ORIGIN,
        **fields: Any,
    ) -> None:
        from matchpoint.asgi import application

        self.status: int | None = None
        self.answer: dict[str, Any] = {}
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "http.request", "body": body or json.dumps(fields).encode()})
        headers = [(b"host", b"testserver"), (b"content-type", kind.encode())]
        headers += [(b"origin", origin.encode())] if origin else []
        self._place = (path, origin)
        scope = {"type": "http", "method": method, "path": path + "/poll", "query_string": b"", "headers": headers}
        self.task = asyncio.ensure_future(application(scope, self._inbox.get, self._hear))

    async def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            assert (b"Cache-Control", b"no-store") in message["headers"]
        else:
            self.answer = json.loads(message["body"])
            if "session" in self.answer:
                sessions[self.answer["session"]] = self._place

    def leave(self) -> None:
        """The client goes, or a proxy cuts."""
        self._inbox.put_nowait({"type": "http.disconnect"})


async def ask(path: str, **fields: Any) -> Answer:
    """Ask, and expect the answer now."""
    request = Request(path, **fields)
    await settle()
    assert request.status is not None, "it is held"
    await request.task
    return request.status, request.answer


class Polled(Socket):
    """A socket's client that speaks by requests: one is always held, and each message has one of its own."""

    def open(self, path: str, **options: Any) -> None:
        self._path = path
        self._headers = {"origin": options.get("origin", ORIGIN)}
        self._session = ""
        self._heard = self._said = 0
        self.requests: list[Request] = []
        self.is_reading = True
        self.is_accepted = True
        self._task = asyncio.ensure_future(asyncio.Event().wait())  # until it is closed

    def say_raw(self, text: str) -> None:
        at, self._said = self._said, self._said + 1
        self._request(at=at, messages=[json.loads(text)], wait=not self._session)

    def _request(self, **fields: Any) -> None:
        request = Request(self._path, session=self._session, ack=self._heard, **self._headers, **fields)
        self.requests.append(request)
        request.task.add_done_callback(lambda _: self._answered(request, holds=fields.get("wait", False)))

    def _answered(self, request: Request, *, holds: bool) -> None:
        if request.status != 200 or self.close_code is not None:
            return
        answer = request.answer
        self._session = answer["session"]
        fresh = answer["messages"][max(0, self._heard - answer["at"]) :]
        if self.is_reading:
            self._heard += len(fresh)
            self.frames += fresh
        self.close_code = answer.get("close")
        if holds and self.is_reading and self.close_code is None and not self._task.cancelled():
            self._request(wait=True)
        for frame in fresh:
            self.on_frame(frame)
        if self.close_code is not None:
            self._task.cancel()
            self.on_close(self)

    def leave(self) -> None:
        """The page closes it."""
        self._task.cancel()
        self._request(bye=True)

    def drop(self) -> None:
        self._task.cancel()
        for request in self.requests:
            request.leave()
