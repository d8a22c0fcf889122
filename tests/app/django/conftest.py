"""What the tests of pages, API and services share. Each test starts with an empty cache and an empty directory."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import signing
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from live import directory
from live.records import FinishedMatch, MatchSpec, PlayerSpec

PASSWORD = "correct horse 42"

# Events in the shape of docs/protocol.md; what they say does not matter here.
TIMELINE: list[dict[str, Any]] = [
    {"v": 1, "k": "serve", "t": 1_500_000, "x": 500.0, "y": 300.0, "vx": 560.0, "vy": 0.0},
    {"v": 2, "k": "point", "t": 2_600_000, "side": 0, "score": [1, 0]},
]


@pytest.fixture(autouse=True)
def _fresh_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    monkeypatch.setattr(directory, "_fake_server", None)


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(username: str = "ada", **fields: Any) -> User:
        return User.objects.create_user(username, password=PASSWORD, **fields)

    return make


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    return make_user()


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def worker() -> str:
    """The name of a live worker that takes matches, as far as the directory knows."""
    name = "local-8101"
    asyncio.run(directory_beat(name))
    return name


async def directory_beat(name: str) -> None:
    await directory.get_directory().workers.beat(name, release="dev", draining=False, owned={})


@pytest.fixture
def record() -> Callable[..., FinishedMatch]:
    """A finished match, the left player having won 7:3 against the computer; keywords replace fields."""

    def make(
        match_id: str = "abcDEF123456", *, left: str = "g:guest1", right: str = "ai:easy", **fields: Any
    ) -> FinishedMatch:
        started_at = datetime(2026, 3, 1, 20, 0, tzinfo=UTC)
        mode: Any = "ai" if right.startswith("ai:") else "friend"
        spec = MatchSpec(
            id=match_id,
            mode=mode,
            level="easy" if mode == "ai" else None,
            points=7,
            players=(
                PlayerSpec(side=0, kind="human", identity=left, name="Left Player"),
                PlayerSpec(side=1, kind="ai" if mode == "ai" else "human", identity=right, name="Right Player"),
            ),
            created_at=(started_at - timedelta(seconds=5)).isoformat(),
        )
        values: dict[str, Any] = {
            "spec": spec,
            "started_at": started_at,
            "finished_at": started_at + timedelta(seconds=90),
            "duration_us": 88_000_000,
            "winner": 0,
            "reason": "score",
            "score": (7, 3),
            "rules_version": 1,
            "timeline": TIMELINE,
        }
        return FinishedMatch(**values | fields)

    return make


@pytest.fixture
def guest_id(client: Client) -> str:
    """The id of the guest that `client` is from now on."""
    client.get("/")
    return str(signing.loads(client.cookies["mp_guest"].value, salt="accounts.guest")["id"])
