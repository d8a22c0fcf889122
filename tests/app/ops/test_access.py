"""Consoles are for staff who have used a second factor in this session: told to nginx, and kept by every page."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import User

from .conftest import PASSWORD

PAGES = [
    "/ops/",
    "/ops/oncall/",
    "/ops/oncall/silence/?alertname=PostgresDown",
    "/ops/oncall/silence/9d2ad4d5-5dcd-4f32-a3d2-4d2b4e6c0ddc/expire/",
    "/ops/runbooks/",
    "/ops/runbooks/PostgresDown",
    "/ops/runbooks/NoSuchThing",
    "/ops/grafana",
    "/ops/grafana/",
    "/ops/grafana/api/live/ws",
    "/ops/prometheus",
    "/ops/prometheus/api/v1/query?query=up",
    "/ops/alertmanager/",
    "/ops/alertmanager/api/v2/silences",
]
METHODS = ["get", "head", "post", "put", "patch", "delete", "options"]

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("who", ["stranger", "player", "half_way"])
def test_nobody_else_gets_into_any_page_by_any_method(
    request: pytest.FixtureRequest, client: Client, who: str, method: str, path: str
) -> None:
    visitor = client if who == "stranger" else request.getfixturevalue(who)
    answer = getattr(visitor, method)(path)
    assert answer.status_code == (403 if who == "player" else 302)
    if who != "player":
        assert answer.headers["Location"].startswith("/admin/login/?next=%2Fops%2F")


@pytest.mark.parametrize(("who", "status"), [("stranger", 401), ("player", 403), ("half_way", 401), ("oncall", 204)])
def test_nginx_is_told_who_may_pass(request: pytest.FixtureRequest, client: Client, who: str, status: int) -> None:
    answer = (client if who == "stranger" else request.getfixturevalue(who)).get("/ops/auth")
    assert answer.status_code == status
    assert "no-store" in answer.headers["Cache-Control"]
    assert ("X-Ops-User" in answer.headers) == (status == 204)


def test_nginx_is_told_a_name_that_no_console_has_by_itself(oncall: Client, make_user: Callable[..., User]) -> None:
    answer = oncall.get("/ops/auth")
    assert (answer.headers["X-Ops-User"], answer.headers["X-Ops-Role"]) == ("grace@staff", "Admin")
    User.objects.filter(username="grace").update(username="zoë admin", is_superuser=False)
    answer = oncall.get("/ops/auth")
    assert (answer.headers["X-Ops-User"], answer.headers["X-Ops-Role"]) == ("zo%C3%AB%20admin@staff", "Viewer")


def test_logging_out_closes_the_consoles_at_once(oncall: Client) -> None:
    stolen = oncall.cookies.copy()
    assert oncall.get("/ops/auth").status_code == 204
    oncall.post("/accounts/logout/")
    thief = Client()
    thief.cookies.update(stolen)
    assert thief.get("/ops/auth").status_code == 401
    assert thief.get("/ops/oncall/").status_code == 302


@pytest.mark.parametrize("field", ["is_staff", "is_active"])
def test_losing_the_right_closes_the_consoles_at_once(oncall: Client, staff: User, field: str) -> None:
    assert oncall.get("/ops/auth").status_code == 204
    User.objects.filter(pk=staff.pk).update(**{field: False})
    assert oncall.get("/ops/auth").status_code == (403 if field == "is_staff" else 401)


def test_the_second_factor_is_asked_for_again_after_half_a_day(oncall: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("accounts.second_factor.time.time", lambda: now + 13 * 3600)
    assert oncall.get("/ops/auth").status_code == 401
    answer = oncall.get("/ops/runbooks/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/accounts/2fa/reauthenticate/")


def test_the_login_leads_back_to_the_console(client: Client) -> None:
    wanted = "/ops/grafana/d/matchpoint-overview/overview?var-host=mp1&from=now-1h"
    answer = client.get("/ops/enter", headers={"X-Original-URI": wanted})
    assert answer.headers["Location"] == (
        "/admin/login/?next=%2Fops%2Fgrafana%2Fd%2Fmatchpoint-overview%2Foverview%3Fvar-host%3Dmp1%26from%3Dnow-1h"
    )


@pytest.mark.parametrize("target", ["", "//evil.example.com/ops/", "https://evil.example.com/", "/accounts/logout/"])
def test_the_login_leads_nowhere_else(client: Client, target: str) -> None:
    answer = client.get("/ops/enter", headers={"X-Original-URI": target})
    assert answer.headers["Location"] == "/admin/login/?next=%2Fops%2F"


def test_a_console_that_is_not_there_is_said_so(oncall: Client) -> None:
    for path in ("/ops/grafana/d/matchpoint-overview", "/ops/prometheus/graph"):
        answer = oncall.get(path)
        assert answer.status_code == 404
        assert "There is no" in answer.content.decode()
    assert oncall.get("/ops/grafana").headers["Location"] == "/ops/grafana/"
    assert oncall.get("/ops/alertmanager/").headers["Location"] == "/ops/oncall/"


class Outage:
    """PostgreSQL that does not answer."""

    def __call__(self, execute: Any, sql: str, *arguments: Any) -> Any:
        raise OperationalError("connection refused")


@pytest.fixture
def cached_sessions(settings: Any) -> None:
    """Sessions as production has them; the cache of the tests is in memory."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"


@pytest.mark.usefixtures("cached_sessions")
def test_logging_out_closes_the_consoles_while_valkey_takes_no_writes(
    oncall: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen = oncall.cookies.copy()

    def thief() -> Client:
        client = Client()
        client.cookies.update(stolen)
        return client

    assert thief().get("/ops/auth").status_code == 204
    with monkeypatch.context() as valkey:
        valkey.setattr(LocMemCache, "delete", lambda *arguments, **options: False)
        oncall.post("/accounts/logout/")
        assert thief().get("/ops/auth").status_code == 401
        assert thief().get("/ops/oncall/").status_code == 302
    assert thief().get("/ops/auth").status_code == 401
    with connection.execute_wrapper(Outage()):
        assert thief().get("/ops/auth").status_code != 204, "forgotten as soon as Valkey takes writes"


@pytest.mark.usefixtures("cached_sessions")
class TestWithoutTheDatabase:
    def test_who_was_in_stays_in_and_is_told(self, oncall: Client) -> None:
        oncall.get("/ops/auth")
        with connection.execute_wrapper(Outage()):
            assert oncall.get("/ops/auth").headers["X-Ops-User"] == "grace@staff"
            page = oncall.get("/ops/runbooks/PostgresDown")
        assert page.status_code == 200
        assert "The database does not answer" in page.content.decode()

    def test_strangers_and_players_stay_out(self, player: Client) -> None:
        player.get("/ops/auth")
        with connection.execute_wrapper(Outage()):
            assert player.get("/ops/auth").status_code == 503
            assert Client().get("/ops/auth").status_code == 401
            assert player.get("/ops/runbooks/").status_code == 503

    def test_staff_who_proved_no_second_factor_stay_out(self, half_way: Client) -> None:
        half_way.get("/ops/auth")
        with connection.execute_wrapper(Outage()):
            assert half_way.get("/ops/auth").status_code == 503

    def test_without_valkey_nobody_gets_in(self, oncall: Client) -> None:
        oncall.get("/ops/auth")
        cache.clear()
        with connection.execute_wrapper(Outage()):
            assert oncall.get("/ops/auth").status_code == 503
            assert "Closed" in oncall.get("/ops/oncall/").content.decode()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("change", ["demote", "password", "second factor"])
    def test_what_was_taken_away_before_stays_away(self, oncall: Client, staff: User, change: str) -> None:
        assert oncall.get("/ops/auth").status_code == 204
        if change == "demote":
            staff.is_staff = False
            staff.save()
        elif change == "password":
            staff.set_password(PASSWORD + "!")
            staff.save()
        else:
            Authenticator.objects.filter(user=staff).delete()
        with connection.execute_wrapper(Outage()):
            assert oncall.get("/ops/auth").status_code == 503

    def test_a_session_from_before_a_new_password_stays_out(self, oncall: Client, staff: User) -> None:
        oncall.get("/ops/auth")
        known = cache.get(f"ops:pass:{staff.pk}")
        cache.set(f"ops:pass:{staff.pk}", known | {"session": "that of another session"})
        with connection.execute_wrapper(Outage()):
            assert oncall.get("/ops/auth").status_code == 503

    def test_the_second_factor_ages_all_the_same(self, oncall: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        oncall.get("/ops/auth")
        now = time.time()
        monkeypatch.setattr("accounts.second_factor.time.time", lambda: now + 13 * 3600)
        with connection.execute_wrapper(Outage()):
            assert oncall.get("/ops/auth").status_code == 503
