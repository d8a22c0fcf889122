"""The status page behind nginx, with the role's own configuration: it outlives the app, and says so."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.app.ops.edge import Edge, edge
from tests.conftest import poll

POLICY = "default-src 'self'"
PAUSE_S = 0.05  # nginx lets nobody ask more than 30 times a second


class Worker(ThreadingHTTPServer):
    """A web worker as far as nginx can tell. `status` is what it answers with, `stuck` that it answers no more."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.status = 200
        self.stuck = threading.Event()
        self.let_go = threading.Event()
        self.seen: list[dict[str, str]] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.let_go.set()
        if self._thread.is_alive():
            self.shutdown()
            self.server_close()
            self._thread.join()


class _Page(BaseHTTPRequestHandler):
    server: Worker

    def do_GET(self) -> None:
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.stuck.is_set():
            self.server.let_go.wait()
            return
        language = self.headers.get("Accept-Language", "")
        text = f'<div data-copy="fresh">{language}</div>' if self.path == "/status" else '{"copy": "fresh"}'
        kind = "text/html; charset=utf-8" if self.path == "/status" else "application/json"
        self.send_response(self.server.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Cache-Control", "public, max-age=1")  # the app says more
        self.send_header("Vary", "Accept-Language, Cookie")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


@pytest.fixture
def site(tmp_path: Path, worker: Worker) -> Iterator[Edge]:
    with edge(tmp_path, [worker.address]) as site:
        yield site


def read(site: Edge, path: str = "/status", **headers: str) -> tuple[int, str]:
    answer = site.ask(path, **headers)
    return answer.status, answer.text


def expired(site: Edge, worker: Worker, path: str = "/status") -> None:
    """Ask until nginx has to ask the worker again: what it keeps is over now."""
    asked = len(worker.seen)

    def asks_again() -> bool:
        read(site, path)
        return len(worker.seen) > asked

    poll(asks_again, within_s=20, every_s=PAUSE_S, what="nginx to ask again")


def test_a_copy_that_is_kept_may_load_what_the_page_may(site: Edge, worker: Worker) -> None:
    for _ in range(5):
        assert site.ask("/status").headers.get_all("Content-Security-Policy") == [POLICY]
    assert len(worker.seen) < 5
    expired(site, worker)
    worker.stop()
    poll(lambda: "stale" in read(site)[1], within_s=20, every_s=PAUSE_S, what="the last copy")
    assert site.ask("/status").headers.get_all("Content-Security-Policy") == [POLICY]


def test_visitors_share_one_answer_and_bring_nothing_along(site: Edge, worker: Worker) -> None:
    for number in range(5):
        assert read(site, Cookie=f"__Host-sessionid={number}")[0] == 200
    assert len(worker.seen) < 5
    assert not [headers for headers in worker.seen if "cookie" in headers]
    assert {headers["x-forwarded-proto"] for headers in worker.seen} == {"https"}


@pytest.mark.parametrize("fault", ["stopped", "broken", "stuck"])
def test_it_outlives_the_workers_and_says_so(site: Edge, worker: Worker, fault: str) -> None:
    assert read(site) == (200, '<div data-copy="fresh">en</div>')
    assert read(site, "/status.json") == (200, '{"copy": "fresh"}')
    if fault == "stopped":
        worker.stop()
    elif fault == "broken":
        worker.status = 503
    else:
        worker.stuck.set()

    def says_so(path: str, fresh: str) -> bool:
        answer = read(site, path)
        if answer == (200, fresh.replace("fresh", "stale")):
            return True
        assert answer == (200, fresh), "the copy is kept for a second"
        return False

    for path, fresh in {"/status": '<div data-copy="fresh">en</div>', "/status.json": '{"copy": "fresh"}'}.items():
        poll(partial(says_so, path, fresh), within_s=20, every_s=PAUSE_S, what="an old copy that says that it is one")


def test_it_is_fresh_again_when_a_worker_is_back(site: Edge, worker: Worker) -> None:
    read(site)
    worker.status = 503
    expired(site, worker)
    assert read(site)[1] == '<div data-copy="stale">en</div>'
    worker.status = 200
    expired(site, worker)
    assert read(site)[1] == '<div data-copy="fresh">en</div>'


def test_without_a_copy_there_is_the_page_of_a_bad_moment(site: Edge, worker: Worker) -> None:
    worker.stop()
    status, text = read(site)
    assert status == 502
    assert "We play that one again" in text


@pytest.mark.parametrize(
    ("accepted", "cookie", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "", "de"),
        ("en-GB,en;q=0.9,de;q=0.5", "", "en"),
        ("it,de;q=0.5", "", "de"),
        ("fr-CH, fr;q=0.9, en;q=0.8", "", "fr"),
        ("es,de;q=0.5", "", "es"),
        ("it", "", "en"),
        ("den", "", "en"),
        ("", "", "en"),
        ("en", "django_language=de", "de"),
        ("de", "django_language=en", "en"),
        ("de", "django_language=es", "es"),
        ("en", "django_language=../../etc", "en"),
    ],
)
def test_every_language_has_its_copy(site: Edge, accepted: str, cookie: str, language: str) -> None:
    read(site, **{"Accept-Language": "de" if language == "en" else "en"})
    headers = {"Accept-Language": accepted} | ({"Cookie": cookie} if cookie else {})
    assert read(site, **headers)[1] == f'<div data-copy="fresh">{language}</div>'


def test_only_these_two_are_kept(site: Edge, worker: Worker) -> None:
    for _ in range(3):
        read(site, "/statuses")
        read(site, "/")
    assert len(worker.seen) == 6
    read(site, "/status?a=1")
    read(site, "/status?a=2")
    assert len(worker.seen) == 7, "anybody could fill the cache, and reach the workers as often as they like"
