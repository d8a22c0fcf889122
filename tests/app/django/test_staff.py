"""The admin is for staff who have used a second factor in this session, and for nobody else."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.test import Client

from accounts.models import User
from live.records import FinishedMatch
from matches.models import Match
from matches.services import match_finish
from tests.app.django.steps import PASSWORD, log_in, set_up_totp

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
LISTS = [
    "/admin/accounts/user/",
    "/admin/matches/match/",
    "/admin/matches/seat/",
    "/admin/matches/timeline/",
    "/admin/mfa/authenticator/",
]

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(make_user: Callable[..., User]) -> User:
    return make_user("grace", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(client: Client, staff: User) -> Client:
    """A client that has logged in as staff with both factors."""
    TOTP.activate(staff, SECRET)
    client.post("/accounts/login/", {"login": "grace", "password": PASSWORD})
    code = format_hotp_value(hotp_value(SECRET, int(time.time()) // 30))
    client.post("/accounts/2fa/authenticate/", {"code": code})
    return client


def test_strangers_are_sent_to_the_sites_own_login(client: Client) -> None:
    response = client.get("/admin/matches/match/", follow=True)
    assert [path for path, _ in response.redirect_chain] == [
        "/admin/login/?next=/admin/matches/match/",
        "/accounts/login/?next=%2Fadmin%2Fmatches%2Fmatch%2F",
    ]


def test_the_admin_has_no_login_form_of_its_own(client: Client, staff: User) -> None:
    client.post("/admin/login/", {"username": "grace", "password": PASSWORD})
    assert client.get("/").context["player"].is_guest


def test_players_are_refused(signed_in: Client) -> None:
    assert signed_in.get("/admin/", follow=True).status_code == 403


@pytest.mark.parametrize("path", ["/admin/", *LISTS, "/admin/password_change/", "/admin/accounts/user/add/"])
def test_staff_without_a_second_factor_reach_nothing(client: Client, staff: User, path: str) -> None:
    client.post("/accounts/login/", {"login": "grace", "password": PASSWORD})
    for response in (client.get(path, follow=True), client.post(path, follow=True)):
        assert response.redirect_chain[-1][0].startswith("/accounts/reauthenticate/?next=%2Faccounts%2F2fa%2Ftotp%2F")


def test_staff_are_sent_to_set_up_the_second_factor_after_logging_in(client: Client, staff: User) -> None:
    response = client.post("/accounts/login/", {"login": "grace", "password": PASSWORD})
    assert response.headers["Location"] == "/accounts/2fa/totp/activate/"


@pytest.mark.django_db(transaction=True)  # allauth tells of a new second factor on commit
def test_setting_up_the_second_factor_opens_the_admin(client: Client, staff: User) -> None:
    log_in(client, "grace")
    set_up_totp(client)
    assert client.get("/admin/").status_code == 200


def test_a_session_that_used_no_second_factor_is_asked_for_it(client: Client, staff: User) -> None:
    TOTP.activate(staff, SECRET)
    client.force_login(staff)  # a session from before the second factor was set up
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[-1][0].startswith("/accounts/2fa/reauthenticate/")
    code = format_hotp_value(hotp_value(SECRET, int(time.time()) // 30))
    client.post(response.redirect_chain[-1][0], {"code": code})
    assert client.get("/admin/").status_code == 200


def test_the_second_factor_is_asked_for_again_after_half_a_day(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert admin.get("/admin/").status_code == 200
    now = time.time()
    monkeypatch.setattr("accounts.second_factor.time.time", lambda: now + 13 * 3600)
    assert admin.get("/admin/").status_code == 302


def test_removing_the_second_factor_closes_the_admin(admin: Client, staff: User) -> None:
    Authenticator.objects.filter(user=staff).delete()
    assert admin.get("/admin/").status_code == 302


def test_the_login_page_does_not_send_staff_elsewhere(admin: Client) -> None:
    assert admin.get("/admin/login/?next=https://evil.example.com/").headers["Location"] == "/admin/"


@pytest.mark.parametrize("path", LISTS)
def test_every_list_shows_filters_and_searches(admin: Client, record: Callable[..., FinishedMatch], path: str) -> None:
    match_finish(record=record())
    assert admin.get(path).status_code == 200
    assert admin.get(path, {"q": "Left"}).status_code == 200


def test_the_secret_of_a_second_factor_is_neither_shown_nor_stored_in_the_clear(admin: Client, staff: User) -> None:
    authenticator = Authenticator.objects.get(user=staff, type="totp")
    assert SECRET not in json.dumps(authenticator.data)
    page = admin.get(f"/admin/mfa/authenticator/{authenticator.pk}/change/")
    assert page.status_code == 200
    assert authenticator.data["secret"] not in page.content.decode()


def test_second_factors_outlive_a_change_of_the_secret_key(staff: User, settings: Any) -> None:
    TOTP.activate(staff, SECRET)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new one"
    code = format_hotp_value(hotp_value(SECRET, int(time.time()) // 30))
    assert Authenticator.objects.get(user=staff).wrap().validate_code(code)


def test_results_can_be_read_and_not_rewritten(admin: Client, record: Callable[..., FinishedMatch]) -> None:
    match_finish(record=record())
    match = Match.objects.get()
    page = admin.get(f"/admin/matches/match/{match.pk}/change/")
    assert "Left Player" in page.content.decode()
    assert admin.post(f"/admin/matches/match/{match.pk}/change/", {"winner": 1}).status_code == 403
    assert admin.post(f"/admin/matches/match/{match.pk}/delete/", {"post": "yes"}).status_code == 403
    timeline = admin.get(f"/admin/matches/timeline/{match.pk}/change/").content.decode()
    assert "serve" in timeline
