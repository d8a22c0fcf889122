"""Staff at their consoles, and an Alertmanager that remembers what it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.core.cache import cache
from django.test import Client

from accounts.models import User

PASSWORD = "correct horse 42"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SILENCE = "9d2ad4d5-5dcd-4f32-a3d2-4d2b4e6c0ddc"


@pytest.fixture(autouse=True)
def _fresh_cache() -> None:
    cache.clear()


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(username: str = "ada", **fields: Any) -> User:
        return User.objects.create_user(username, password=PASSWORD, **fields)

    return make


def log_in(client: Client, username: str) -> None:
    client.post("/accounts/login/", {"login": username, "password": PASSWORD})


def prove_second_factor(client: Client) -> None:
    code = format_hotp_value(hotp_value(SECRET, int(time.time()) // 30))
    client.post("/accounts/2fa/authenticate/", {"code": code})


@pytest.fixture
def player(client: Client, make_user: Callable[..., User]) -> Client:
    make_user("ada")
    log_in(client, "ada")
    return client


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user("grace", is_staff=True, is_superuser=True)


@pytest.fixture
def half_way(client: Client, staff: User) -> Client:
    """Staff with a password and no second factor yet."""
    log_in(client, "grace")
    return client


@pytest.fixture
def oncall(client: Client, staff: User) -> Client:
    """Staff with both factors."""
    TOTP.activate(staff, SECRET)
    log_in(client, "grace")
    prove_second_factor(client)
    return client


def alert(name: str, state: str = "active", **labels: str) -> dict[str, Any]:
    """An alert as Alertmanager's API gives it."""
    silenced = [SILENCE] if state == "silenced" else []
    inhibited = ["abc"] if state == "inhibited" else []
    return {
        "annotations": {
            "summary": f"{name} <b>happened</b>",
            "description": "It is so.",
            "impact": "Nobody can sign in.",
            "runbook_url": f"https://pong.example.com/ops/runbooks/{name}",
            "dashboard_url": "https://pong.example.com/ops/grafana/d/matchpoint-overview/overview",
        },
        "startsAt": (datetime.now(UTC) - timedelta(minutes=5)).isoformat().replace("+00:00", "Z"),
        "endsAt": "2030-01-01T00:00:00.000Z",
        "updatedAt": "2026-03-01T20:00:00.000Z",
        "fingerprint": "52fe2f2b0a3d0a3f",
        "receivers": [{"name": "page"}],
        "status": {"state": state, "silencedBy": silenced, "inhibitedBy": inhibited, "mutedBy": []},
        "labels": {"alertname": name, "severity": "page", "component": "postgres", "host": "mp1"} | labels,
        "generatorURL": "https://pong.example.com/ops/prometheus/graph?g0.expr=up",
    }


class Recorder(BaseHTTPRequestHandler):
    """The part of Alertmanager's API that the pages use."""

    server: "FakeAlertmanager"

    def do_GET(self) -> None:
        kind = "alerts" if "/alerts" in self.path else "silences"
        self._answer(200, self.server.has[kind])

    def do_POST(self) -> None:
        silence = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append(("create", silence))
        if silence["comment"] == "please refuse":
            self._answer(400, "no such thing")
        else:
            self._answer(200, {"silenceID": SILENCE})

    def do_DELETE(self) -> None:
        self.server.told.append(("expire", self.path.rsplit("/", 1)[1]))
        self._answer(200, None)

    def _answer(self, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


class FakeAlertmanager(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.has: dict[str, list[Any]] = {"alerts": [], "silences": []}
        self.told: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def manager(settings: Any) -> Iterator[FakeAlertmanager]:
    """The only Alertmanager that answers; the first of the list is dead."""
    server = FakeAlertmanager()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings.ALERTMANAGER_URLS = ["http://127.0.0.1:9", server.url]
    yield server
    server.shutdown()
    server.server_close()


def silence(comment: str = "moving the data folder", state: str = "active") -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "id": SILENCE,
        "status": {"state": state},
        "updatedAt": now.isoformat(),
        "comment": comment,
        "createdBy": "ada",
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "matchers": [
            {"isEqual": True, "isRegex": False, "name": "alertname", "value": "PostgresDown"},
            {"isEqual": False, "isRegex": True, "name": "host", "value": "db.*"},
        ],
    }
