"""What ends the sessions of an account ends its sockets."""

import io
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from live import directory
from live.directory import revocations
from tests.app.django.steps import PASSWORD, log_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The identities whose sockets were closed."""
    found: list[str] = []
    monkeypatch.setattr("accounts.services.revoke", found.append)
    return found


def by_logging_out(client: Client, user: User) -> None:
    client.post("/accounts/logout/")


def by_another_password(client: Client, user: User) -> None:
    new = {"password1": "a better horse 43", "password2": "a better horse 43"}
    client.post("/accounts/password/change/", {"oldpassword": PASSWORD, **new})


def by_a_password_that_somebody_else_sets(client: Client, user: User) -> None:
    other = User.objects.get(pk=user.pk)
    other.set_password("a better horse 43")
    other.save()


def by_a_ban(client: Client, user: User) -> None:
    other = User.objects.get(pk=user.pk)
    other.is_active = False
    other.save()


def by_deletion(client: Client, user: User) -> None:
    User.objects.get(pk=user.pk).delete()


@pytest.mark.parametrize(
    "way", [by_logging_out, by_another_password, by_a_password_that_somebody_else_sets, by_a_ban, by_deletion]
)
def test_what_ends_sessions_closes_sockets(
    client: Client, user: User, closed: list[str], django_capture_on_commit_callbacks: Any, way: Callable[..., None]
) -> None:
    log_in(client)
    client.post("/me/", {"display_name": "Countess"})
    identity = f"u:{user.pk}"
    assert closed == []
    with django_capture_on_commit_callbacks(execute=True):
        way(client, user)
    assert set(closed) == {identity}


def test_a_valkey_that_is_away_keeps_nobody_logged_in(
    client: Client, user: User, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    log_in(client)
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"  # nothing listens there
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post("/accounts/logout/").status_code == 302
    assert client.get("/").context["player"].is_guest


def test_a_revocation_says_who_and_when(settings: Any) -> None:
    before = int(time.time())
    revocations.revoke("u:5")
    from fakeredis import FakeRedis

    valkey = FakeRedis(server=directory.fake_server(), decode_responses=True)
    assert [fields for _, fields in valkey.xrange(revocations.STREAM)] == [{"identity": "u:5"}]
    assert before <= int(str(valkey.get("mp:revoked:u:5"))) <= time.time()
    assert 60 < int(str(valkey.ttl("mp:revoked:u:5"))) <= 120


def test_all_other_sessions_can_be_ended(
    client: Client, user: User, closed: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    lost, stranger = Client(headers={"user-agent": "A lost phone"}), Client()
    for each in (client, lost):
        log_in(each)
    assert "A lost phone" in client.get("/accounts/sessions/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/accounts/sessions/")
    assert closed == [f"u:{user.pk}"]
    assert lost.get("/").context["player"].is_guest
    assert not client.get("/").context["player"].is_guest
    assert "A lost phone" not in client.get("/accounts/sessions/").content.decode()
    assert stranger.get("/accounts/sessions/").headers["Location"].startswith("/accounts/login/")


def test_what_is_told_of_sessions_opens_none(client: Client, user: User) -> None:
    log_in(client)
    answer = client.post(reverse("export"))
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
        assert "usersessions.UserSession.json" in archive.namelist()
    assert str(client.session.session_key).encode() not in everything
