"""A real web worker with production's settings, whose database and Valkey hang: the status page does not notice."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.ports import free_ports, listens
from tests.app.status.conftest import FakePrometheus
from tests.conftest import ROOT, poll
from tests.processes import end, run, start

NAME = "pong.example.com"


class Hole:
    """Takes connections, counts them, and never says a word."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.visitors: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.visitors.append(self._socket.accept()[0])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for visitor in self.visitors:
            visitor.close()


@pytest.fixture
def holes() -> Iterator[tuple[Hole, Hole]]:
    holes = (Hole(), Hole())
    yield holes
    for hole in holes:
        hole.close()


@pytest.fixture
def port(tmp_path: Path, holes: tuple[Hole, Hole], prometheus: FakePrometheus) -> Iterator[int]:
    """Where the worker answers. It is given a database, a Valkey, and a Prometheus that answers."""
    database, valkey = holes
    (port,) = free_ports(1)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MATCHPOINT_")} | {
        "MATCHPOINT_ENV": "build",
        "MATCHPOINT_DOMAIN": NAME,
        "MATCHPOINT_SECRET_KEY": "x" * 60,
        "MATCHPOINT_DATABASE_URL": f"postgres://u:p@127.0.0.1:{database.port}/matchpoint",
        "MATCHPOINT_VALKEY_URL": f"redis://127.0.0.1:{valkey.port}/0",
        "MATCHPOINT_EMAIL_URL": "smtp://127.0.0.1:25",
        "MATCHPOINT_PROMETHEUS_URLS": f"http://127.0.0.1:1,{prometheus.url}",
        "MATCHPOINT_STATE_DIR": str(tmp_path),
        "MATCHPOINT_STATIC_ROOT": str(tmp_path / "static"),
    }
    app = ROOT / "app"
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    run(collect, cwd=app, env=environment, check=True)
    serve = [sys.executable, "-m", "matchpoint.serve", "web", "--port", str(port)]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = start(
            serve, cwd=app, env=environment | {"MATCHPOINT_ENV": "production"}, stdout=file, stderr=subprocess.STDOUT
        )

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        return listens(port)

    try:
        poll(ready, within_s=60, every_s=0.05, what=f"the worker to listen ({log})")
        yield port
    finally:
        end(process, grace_s=60)


def get(port: int, path: str) -> tuple[int, str]:
    """As a visitor who has signed in asks, through the edge."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {
        "Host": NAME,
        "X-Forwarded-Proto": "https",
        "Cookie": "__Host-sessionid=0123456789abcdef0123456789abcdef; csrftoken=a",
    }
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_the_page_asks_neither_database_nor_valkey(port: int, holes: tuple[Hole, Hole]) -> None:
    def asked_nobody() -> bool:
        before = [len(hole.visitors) for hole in holes]
        for path in ("/status", "/status.json", "/status"):
            status, text = get(port, path)
            assert status == 200
            assert "Everything works" in text or '"operational"' in text
        return [len(hole.visitors) for hole in holes] == before

    # The process itself looks for mails to send every few seconds; a page that asked would do so each time
    poll(asked_nobody, within_s=30, what="a moment in which nobody looks up a session")
    before = [len(hole.visitors) for hole in holes]
    assert get(port, "/matches/")[0] == 503, "so the database is really away"
    assert len(holes[0].visitors) > before[0]
