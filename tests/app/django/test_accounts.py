"""Guests, registration, logging in and out, passwords, the second factor."""

import re
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.models import User
from live.records import FinishedMatch
from matches.models import Seat
from matches.services import match_finish
from tests.app.django.steps import PASSWORD, delivered, log_in, set_up_totp, totp_code

pytestmark = pytest.mark.django_db


# Guests


def test_a_guest_gets_a_friendly_name_and_keeps_it(client: Client) -> None:
    first = client.get("/").context["player"]
    assert first.is_guest
    assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+ \d\d", first.name)
    cookie = client.cookies["mp_guest"]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["max-age"]) == ("Lax", 365 * 24 * 3600)

    response = client.get("/")
    assert response.context["player"].identity == first.identity
    assert response.context["player"].name == first.name
    assert "mp_guest" not in response.cookies


def test_a_guest_chooses_a_name_and_stays_who_they_were(client: Client, user: User) -> None:
    before = client.get("/").context["player"]
    assert client.post("/me/guest/", {"name": "  Grace   H "}).headers["Location"] == "/"
    after = client.get("/").context["player"]
    assert (after.name, after.identity) == ("Grace H", before.identity)
    for name in ("", "Root", "\u200b", "x" * 31):
        page = client.post("/me/guest/", {"name": name})
        assert page.context["form"].errors["name"], name
    assert client.get("/").context["player"].name == "Grace H"
    client.force_login(user)
    assert client.post("/me/guest/", {"name": "Else"}).headers["Location"] == "/me/"
    newcomer = Client()  # whose first request this is
    newcomer.post("/me/guest/", {"name": "Else"})
    assert newcomer.get("/").context["player"].name == "Else"


@pytest.mark.parametrize("cookie", ["", "nonsense", "eyJpZCI6ICJ4In0:forged:signature"])
def test_a_forged_guest_cookie_makes_a_new_guest(client: Client, cookie: str) -> None:
    client.cookies["mp_guest"] = cookie
    response = client.get("/")
    assert response.status_code == 200
    assert response.context["player"].identity != "g:x"
    assert "mp_guest" in response.cookies


def test_answers_that_show_no_player_set_no_cookie(client: Client) -> None:
    assert not client.get("/livez").cookies


# Accounts


def test_registering_signs_in_and_takes_the_guests_matches_along(
    client: Client, guest_id: str, record: Callable[..., FinishedMatch]
) -> None:
    match_finish(record=record(left=f"g:{guest_id}"))
    form = {"username": "ada", "email": "ada@example.com", "password1": PASSWORD, "password2": PASSWORD}
    response = client.post("/accounts/signup/", form)
    assert response.status_code == 302, response.context["form"].errors
    user = User.objects.get(username="ada")
    player = client.get("/").context["player"]
    assert (player.user, player.name, player.identity) == (user, "ada", f"u:{user.pk}")
    assert Seat.objects.get(side=0).user == user
    assert len(delivered()) == 1  # asks to confirm the address, which can wait


def test_an_address_is_not_needed(client: Client) -> None:
    client.post("/accounts/signup/", {"username": "ada", "password1": PASSWORD, "password2": PASSWORD})
    assert client.get("/").context["player"].name == "ada"


def test_usernames_differ_by_more_than_case(client: Client, user: User) -> None:
    response = client.post("/accounts/signup/", {"username": "ADA", "password1": PASSWORD, "password2": PASSWORD})
    assert "username" in response.context["form"].errors


def test_logging_in_by_name_or_address_and_out_again(client: Client, make_user: Callable[..., User]) -> None:
    make_user(email="ada@example.com")
    for login in ("ada", "ada@example.com"):
        assert log_in(client, login).status_code == 302
        assert not client.get("/").context["player"].is_guest
        client.post("/accounts/logout/")
        assert client.get("/").context["player"].is_guest


def test_logging_out_needs_a_post(signed_in: Client) -> None:
    signed_in.get("/accounts/logout/")
    assert not signed_in.get("/").context["player"].is_guest


def test_logging_in_does_not_redirect_to_foreign_sites(client: Client, user: User) -> None:
    response = log_in(client, next="https://evil.example.com/")
    assert response.headers["Location"] == "/"


def test_guessing_passwords_is_slowed_down(client: Client, user: User) -> None:
    for _ in range(5):
        log_in(client, password="wrong")
    response = log_in(client)  # right, but too late
    assert response.status_code in (200, 429)
    assert client.get("/").context["player"].is_guest


def test_a_forged_forwarding_header_does_not_reset_the_limit(user: User) -> None:
    client = Client(REMOTE_ADDR="198.51.100.7")
    for number in range(5):
        client.post(
            "/accounts/login/",
            {"login": "ada", "password": "wrong"},
            headers={"x-forwarded-for": f"203.0.113.{number}"},
        )
    log_in(client)
    assert client.get("/").context["player"].is_guest


def test_a_forgotten_password_is_reset_by_mail(client: Client, make_user: Callable[..., User]) -> None:
    EmailAddress.objects.create(user=make_user(), email="ada@example.com", verified=True, primary=True)
    client.post("/accounts/password/reset/", {"email": "ada@example.com"})
    [message] = delivered()
    assert message.to == ["ada@example.com"]
    assert message.subject.startswith("[Matchpoint] ")
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", str(message.body))
    assert link
    form_path = client.get(link[1], follow=True).redirect_chain[-1][0]
    client.post(form_path, {"password1": "a better horse 43", "password2": "a better horse 43"})
    assert log_in(client, password="a better horse 43").status_code == 302
    assert not client.get("/").context["player"].is_guest


def test_asking_for_a_strangers_password_sends_nothing(client: Client) -> None:
    response = client.post("/accounts/password/reset/", {"email": "nobody@example.com"})
    assert response.status_code == 302  # the same answer as for an account
    assert not delivered()


def test_the_profile_is_for_users(client: Client, user: User) -> None:
    assert client.get("/me/").headers["Location"].startswith("/accounts/login/")
    client.force_login(user)
    client.post("/me/", {"display_name": "  Ada   Lovelace "})
    assert client.get("/").context["player"].name == "Ada Lovelace"
    refused = client.post("/me/", {"display_name": "x" * 31})
    assert "display_name" in refused.context["form"].errors
    assert refused.context["player"].name == "Ada Lovelace"


# The second factor


def test_totp_is_set_up_with_recovery_codes_and_asked_for(client: Client, user: User) -> None:
    log_in(client)
    secret, response = set_up_totp(client)
    assert response.status_code == 302
    assert set(Authenticator.objects.values_list("type", flat=True)) == {"totp", "recovery_codes"}
    client.post("/accounts/logout/")

    assert log_in(client).headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert client.get("/").context["player"].is_guest  # a password alone is not enough
    client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert client.get("/").context["player"].is_guest
    client.post("/accounts/2fa/authenticate/", {"code": totp_code(secret, step=1)})
    assert not client.get("/").context["player"].is_guest


def test_a_recovery_code_works_once(client: Client, user: User) -> None:
    log_in(client)
    set_up_totp(client)
    code = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]
    for is_first_use in (True, False):
        client.post("/accounts/logout/")
        log_in(client)
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert client.get("/").context["player"].is_guest is not is_first_use


def test_a_password_alone_opens_nothing_of_a_second_factor(client: Client, user: User) -> None:
    log_in(client)
    secret, _ = set_up_totp(client)
    client = Client()
    client.force_login(user)  # a session without a recent login
    for path in ("/accounts/2fa/recovery-codes/", "/accounts/2fa/totp/deactivate/"):
        assert client.get(path).headers["Location"].startswith("/accounts/2fa/reauthenticate/")
        client.post(f"/accounts/reauthenticate/?next={path}", {"password": PASSWORD})
        assert client.get(path).status_code == 302
    client.post("/accounts/2fa/reauthenticate/", {"code": totp_code(secret, step=1)})
    assert client.get("/accounts/2fa/recovery-codes/").status_code == 200


def test_an_old_session_is_asked_for_the_password_before_the_second_factor_changes(client: Client, user: User) -> None:
    client.force_login(user)  # a session without a recent login
    response = client.get("/accounts/2fa/totp/activate/")
    assert response.headers["Location"].startswith("/accounts/reauthenticate/")
