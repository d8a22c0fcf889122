"""The bot's way through HTTP: cookies, CSRF, and sentences that say what failed."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from live.bot.site import Failure, Over, Site, Unavailable

Answers = dict[str, tuple[int, str]]


class Server(ThreadingHTTPServer):
    """Gives the prepared answers and remembers the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: Answers = {"/": (200, '<meta name="csrf-token" content="t0ken">')}
        self.seen: list[tuple[str, dict[str, str], str]] = []

    @property
    def url(self) -> str:
        return f"http://pong.example.com:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.seen.append((f"{self.command} {self.path}", dict(self.headers), body))
        status, text = self.server.answers[self.path]
        self.send_response(status)
        self.send_header("Set-Cookie", "csrftoken=c00kie; Path=/")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def site(server: Server) -> Site:
    return Site(server.url, address="127.0.0.1")


def test_posts_with_the_cookies_and_the_token_of_the_page(server: Server, site: Site) -> None:
    server.answers["/api/matches"] = (201, '{"id": "m1", "url": "/m/m1/"}')
    site.open()
    assert site.match_create(mode="ai", points=3) == ("m1", "/m/m1/")
    call, headers, body = server.seen[-1]
    assert call == "POST /api/matches"
    assert (headers["X-CSRFToken"], headers["Cookie"]) == ("t0ken", "csrftoken=c00kie")
    assert headers["Host"] == server.url.removeprefix("http://")  # although another address was dialled
    assert headers["Origin"] == server.url
    assert json.loads(body) == {"mode": "ai", "points": 3}


def test_takes_the_token_of_the_cookie_when_the_page_has_none(server: Server, site: Site) -> None:
    server.answers |= {"/": (200, "<p>hello</p>"), "/api/matches": (201, '{"id": "m1", "url": "/m/m1/"}')}
    site.open()
    site.match_create()
    assert server.seen[-1][1]["X-CSRFToken"] == "c00kie"


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Failure), (404, Failure), (409, Over), (429, Unavailable), (503, Unavailable)]
)
def test_an_unexpected_status_is_named_with_the_body(
    server: Server, site: Site, status: int, kind: type[Failure]
) -> None:
    server.answers["/api/matches/m1/seat"] = (status, "<html><style>p {}</style><p>What\nhappened</p></html>")
    with pytest.raises(Failure, match=f"POST /api/matches/m1/seat answered {status}: What happened$") as caught:
        site.match_seat("m1")
    assert type(caught.value) is kind


def test_an_answer_that_is_not_json_is_named(server: Server, site: Site) -> None:
    server.answers["/api/matches/m1"] = (200, "It works!")
    with pytest.raises(Failure, match="not with JSON: It works!"):
        site.match_get("m1")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable, match="Connection refused"):
        Site(f"http://pong.example.com:{port}", address="127.0.0.1").open()


@pytest.mark.parametrize("url", ["pong.example.com", "ftp://pong.example.com", "https://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Failure, match="not the address of a site"):
        Site(url)
