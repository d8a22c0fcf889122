"""A Prometheus that answers over HTTP what a test wants, and a status page that asks it."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings

from status import views
from status.board import Board, get_board
from status.measure import (
    AVAILABLE,
    BEST_LATELY,
    COUNT,
    ERRORS,
    LATENCY,
    PER_DAY,
    RECORDED,
    RESULTS_WAITING,
    WAYS,
)
from status.model import DAY_S, PARTS

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()

Vector = list[tuple[dict[str, str], str]]


class FakePrometheus:
    """Answers by the text of the query. `mode` says how: ok, error, garbage, hang, drip."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.refused: set[str] = set()  # queries that are answered with an error
        self.instants: dict[str, Vector] = {}
        self.days: dict[str, dict[tuple[tuple[str, str], ...], dict[str, str]]] = {}
        self.alerts: list[Any] = []
        self.asked: list[str] = []
        self._let_go = threading.Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """From now on nobody listens there."""
        self._let_go.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append(parameters.get("query", parts.path))
        if self.mode == "hang":
            self._let_go.wait()
            return
        status, body = 200, json.dumps({"status": "success", "data": self._data(parts.path, parameters)})
        if self.mode == "error" or parameters.get("query") in self.refused:
            status, body = 422, json.dumps({"status": "error", "errorType": "execution", "error": "no"})
        elif self.mode == "garbage":
            body = "<html>not what you think</html>"
        elif self.mode == "shape":
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}})
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body) + (1 if self.mode == "drip" else 0)))
        handler.end_headers()
        handler.wfile.write(body.encode())
        if self.mode == "drip":  # the last byte never comes
            self._let_go.wait()

    def _data(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        if path.endswith("/alerts"):
            return {"alerts": self.alerts}
        if path.endswith("/query_range"):
            return {"resultType": "matrix", "result": self._matrix(parameters)}
        vector = self.instants.get(parameters["query"], [])
        return {
            "resultType": "vector",
            "result": [{"metric": labels, "value": [NOON, value]} for labels, value in vector],
        }

    def _matrix(self, parameters: dict[str, str]) -> list[dict[str, Any]]:
        """What is told of a day is the value at the midnight that ends it."""
        start, end, step = (float(parameters[name]) for name in ("start", "end", "step"))
        result = []
        for labels, days in self.days.get(parameters["query"], {}).items():
            ends = {(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + DAY_S): days[day] for day in days}
            grid = [start + number * step for number in range(int((end - start) / step) + 1)]
            values = [[at, ends[at]] for at in grid if at in ends]
            if values:
                result.append({"metric": dict(labels), "values": values})
        return result

    # What a test says of the site

    def ratios(self, **ratios: str) -> None:
        """Availability of the parts in this minute, and at best in the last two."""
        self.instants[RECORDED] = [({"part": part, "__name__": "x"}, value) for part, value in ratios.items()]
        self.instants[BEST_LATELY] = [({"part": part}, value) for part, value in ratios.items()]

    def history(self, available: dict[str, dict[str, str]], minutes: str = str(PER_DAY)) -> None:
        """Availability by part and day, each with that many recorded minutes."""
        by_part = {part: (("part", part),) for part in available}
        self.days[AVAILABLE % DAY_S] = {by_part[part]: days for part, days in available.items()}
        self.days[COUNT % DAY_S] = {by_part[part]: dict.fromkeys(days, minutes) for part, days in available.items()}

    def today(self, seconds: int, *, available: str, minutes: str, latency: str = "NaN") -> None:
        self.instants[AVAILABLE % seconds] = [({"part": part}, available) for part in PARTS]
        self.instants[COUNT % seconds] = [({"part": part}, minutes) for part in PARTS]
        for query in LATENCY.values():
            self.instants[query % seconds] = [({}, latency)]


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    """All is well, and has been for three days."""
    fake = FakePrometheus()
    fake.ratios(**dict.fromkeys(PARTS, "1"))
    fake.instants[WAYS] = [({"probe": "https_home"}, "1"), ({"probe": "wss"}, "1")]
    fake.instants[ERRORS] = [({"sloth_slo": "page-availability"}, "0")]
    fake.instants[RESULTS_WAITING] = [({}, "0")]
    days = [(datetime.fromtimestamp(NOON, UTC) - timedelta(days=ago)).date().isoformat() for ago in (3, 2, 1)]
    fake.history({part: dict.fromkeys(days, "1") for part in PARTS})
    fake.today(DAY_S // 2, available="1", minutes="720", latency="0.02")
    for query in LATENCY.values():
        fake.days[query % DAY_S] = {(): dict.fromkeys(days, "0.0184")}
    yield fake
    fake.stop()


class Clock:
    """Both clocks of a board; it stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


BoardOf = Callable[..., Board]


@pytest.fixture
def board_of(tmp_path: Path, clock: Clock) -> BoardOf:
    def make(*urls: str, path: Path | None = None) -> Board:
        return Board(list(urls), path or tmp_path / "status.json", clock=clock.monotonic, wall=clock.wall)

    return make


@pytest.fixture
def page_of(monkeypatch: pytest.MonkeyPatch, board_of: BoardOf) -> Iterator[Callable[..., Board]]:
    """Lets the site's own pages show what a board of these Prometheus knows."""

    def use(*urls: str) -> Board:
        board = board_of(*urls)
        monkeypatch.setattr(views, "get_board", lambda: board)
        monkeypatch.setattr(views, "_drawn", {})
        return board

    yield use
    get_board.cache_clear()


def pytest_configure() -> None:
    assert settings.PROMETHEUS_URLS == []
