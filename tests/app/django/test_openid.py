"""Accounts elsewhere: a tiny issuer, and people who come from it. Off, there is nothing of it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import reload
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp
from allauth.socialaccount.providers import registry
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.test import Client
from django.urls import clear_url_caches

from accounts.models import User
from audit.models import Entry
from matchpoint import urls
from tests.app.django.steps import delivered, log_in, proved

LOGIN, BACK, CONNECTIONS = "/accounts/openid/site/", "/accounts/openid/site/back/", "/accounts/connections/"
CLIENT = "matchpoint"

pytestmark = pytest.mark.django_db


class Issuer:
    """An OpenID Connect provider that says of everybody what `claims` has. `broken`: paths that answer nonsense."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {"sub": "77", "email": "ada@example.com", "email_verified": True, "name": "Ada L"}
        self.token: dict[str, Any] = {}  # other claims in the token than at the user's page
        self.broken: dict[str, bytes] = {}
        self.verifiers: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(urlsplit(self.path).path)

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                issuer.verifiers += form["code_verifier"]
                self._answer(self.path)

            def _answer(self, path: str) -> None:
                body = issuer.broken.get(path) or json.dumps(issuer.answer(path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            ways = {"authorization": "authorize", "token": "token", "userinfo": "me"}
            found = {f"{name}_endpoint": f"{self.url}/{way}" for name, way in ways.items()}
            return found | {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/token":
            claims = self.claims | {"iss": self.url, "aud": CLIENT, "exp": time.time() + 60, "iat": time.time()}
            token = jwt.encode(claims | self.token, "x" * 32, algorithm="HS256")
            return {"access_token": "open", "token_type": "Bearer", "id_token": token}
        return self.claims

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def issuer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """The site with an issuer, as if it had started with one."""
    issuer = Issuer()
    app = {"provider_id": "site", "name": "Club", "client_id": CLIENT, "secret": "s"}
    settings.OPENID = app | {"settings": {"server_url": issuer.url}}
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [settings.OPENID]}}
    monkeypatch.setitem(registry.provider_map, "openid_connect", OpenIDConnectProvider)
    reload(urls)
    clear_url_caches()
    yield issuer
    issuer.close()
    settings.OPENID = None
    reload(urls)
    clear_url_caches()


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email="ada@example.com")
    EmailAddress.objects.create(user=user, email="ada@example.com", verified=True, primary=True)
    return user


def come(client: Client, **query: str) -> Any:
    """Goes to the issuer and comes back."""
    way = client.get(LOGIN, query)
    assert way.status_code == 302, way.content
    state = parse_qs(urlsplit(way.headers["Location"]).query)
    assert state["code_challenge_method"] == ["S256"]
    return client.get(BACK, {"code": "c", "state": state["state"][0]})


def is_in(client: Client) -> bool:
    return not client.get("/").context["player"].is_guest


def newcomer(client: Client, username: str = "ada") -> User:
    assert come(client).headers["Location"] == f"{CONNECTIONS}signup/"
    client.post(f"{CONNECTIONS}signup/", {"username": username, "email": "ada@example.com"})
    return User.objects.get(username=username)


def test_without_an_issuer_there_is_nothing_of_it(client: Client, signed_in: Client) -> None:
    for path in (LOGIN, BACK, CONNECTIONS, f"{CONNECTIONS}signup/", "/accounts/oidc/site/login/"):
        assert signed_in.get(path).status_code == 404
    assert "onnections" not in signed_in.get("/me/").content.decode()


def test_a_newcomer_chooses_a_name_and_brings_the_address_along(client: Client, issuer: Issuer) -> None:
    assert "Log in with Club" in client.get("/accounts/login/").content.decode()
    user = newcomer(client, "zoe")
    assert is_in(client)
    assert list(EmailAddress.objects.values_list("email", "verified")) == [("ada@example.com", True)]
    assert (user.first_name, user.last_name, user.has_usable_password()) == ("", "", False)
    assert SocialAccount.objects.get().extra_data == {"userinfo": {"sub": "77", "email": "ada@example.com"}}
    client.post("/accounts/logout/")
    come(client)
    assert is_in(client)
    assert len(issuer.verifiers) == 2


def test_names_that_are_kept_for_the_site_are_no_newcomers(client: Client, issuer: Issuer) -> None:
    issuer.claims["preferred_username"] = "admin"
    come(client)
    refused = client.post(f"{CONNECTIONS}signup/", {"username": "admin", "email": "ada@example.com"})
    assert "kept for the site" in refused.content.decode()
    assert not User.objects.exists()


def test_an_address_opens_no_account_and_the_owner_joins_the_two(client: Client, issuer: Issuer, owner: User) -> None:
    answer = come(client)
    assert answer.headers["Location"] == "/accounts/login/?next=%2Faccounts%2Fconnections%2F"
    assert not is_in(client)
    log_in(client)
    asked = come(client, process="connect")  # and the session alone does not join them
    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
    assert not SocialAccount.objects.exists()
    proved(client)
    assert SocialAccount.objects.get().user == owner
    assert [message.to for message in delivered()] == [["ada@example.com"]]
    assert ("factor", "ada", "added openid") in Entry.objects.values_list("kind", "name", "what")
    client.post("/accounts/logout/")
    come(client)
    assert is_in(client)


def test_an_account_elsewhere_under_another_address_is_not_joined(client: Client, issuer: Issuer, owner: User) -> None:
    """Else whoever brings a browser to log in elsewhere as somebody else has a way in for good."""
    issuer.claims["email"] = "mallory@example.com"
    log_in(client)
    proved(client)
    assert come(client, process="connect").headers["Location"] == "/accounts/email/"
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("verified", [False, None, "false", "true", 1])
def test_an_address_without_a_promise_counts_for_nothing(
    client: Client, issuer: Issuer, owner: User, verified: Any
) -> None:
    issuer.claims["email_verified"] = verified
    come(client)
    client.post(f"{CONNECTIONS}signup/", {"username": "mallory"})
    assert list(EmailAddress.objects.values_list("user__username", "verified")) == [("ada", True)]
    log_in(client)
    proved(client)
    come(client, process="connect")
    assert not SocialAccount.objects.filter(user=owner).exists()


def test_a_borrowed_session_from_elsewhere_gains_nothing_that_lasts(client: Client, issuer: Issuer) -> None:
    user = newcomer(client)
    now = time.time()
    new = {"password1": "stolen horse 42", "password2": "stolen horse 42"}
    with pytest.MonkeyPatch.context() as later:
        later.setattr("accounts.openid.time.time", lambda: now + 301)
        for path, form in (
            ("/accounts/email/", {"action_add": "", "email": "mallory@example.com"}),
            ("/accounts/password/set/", new),
            ("/privacy/delete/", {}),
        ):
            assert client.post(path, form).headers["Location"].startswith(LOGIN), path
        assert client.get("/accounts/2fa/totp/activate/").headers["Location"].startswith(LOGIN)
    user.refresh_from_db()
    assert not user.has_usable_password()
    come(client, next="/accounts/password/set/")  # who logs in there once more may
    client.post("/accounts/password/set/", new)
    user.refresh_from_db()
    assert user.has_usable_password()


def test_staff_from_elsewhere_need_a_second_factor_as_well(client: Client, issuer: Issuer) -> None:
    newcomer(client)
    User.objects.update(is_staff=True, is_superuser=True)
    assert client.get("/admin/").status_code == 302


BROKEN: list[tuple[str, bytes]] = [
    ("/.well-known/openid-configuration", b"<html>"),
    ("/.well-known/openid-configuration", b"[]"),
    ("/.well-known/openid-configuration", b"{}"),
    ("/token", b"{}"),
    ("/token", b'{"access_token": "open"}'),
    ("/token", b'{"access_token": "open", "id_token": "x.y.z"}'),
    ("/token", b'{"access_token": "open", "id_token": 1}'),
    ("/me", b'["x"]'),
    ("/me", b"{}"),
]


@pytest.mark.parametrize(("path", "answer"), BROKEN, ids=range(len(BROKEN)))
def test_an_issuer_that_makes_no_sense_gets_nobody_in(client: Client, issuer: Issuer, path: str, answer: bytes) -> None:
    way = client.get(LOGIN)
    issuer.broken[path] = answer
    state = parse_qs(urlsplit(way.headers["Location"]).query)["state"][0]
    refused = client.get(BACK, {"code": "c", "state": state})
    assert refused.status_code == 401
    assert not User.objects.exists()
    assert client.get(LOGIN).status_code in (302, 401)
    assert ("login-failed", "", "openid") in Entry.objects.values_list("kind", "name", "what")


@pytest.mark.parametrize("token", [{"sub": "78"}, {"aud": "another"}, {"iss": "https://evil.example.com"}, {"exp": 1}])
def test_a_token_for_somebody_else_opens_nothing(client: Client, issuer: Issuer, token: dict[str, Any]) -> None:
    issuer.token = token
    assert come(client).status_code == 401
    assert not User.objects.exists()
    assert not is_in(client)


def test_an_answer_that_nobody_asked_for_opens_nothing(client: Client, issuer: Issuer) -> None:
    come(Client())
    assert client.get(BACK, {"code": "c", "state": "made up"}).status_code == 401
    issuer.close()
    assert client.get(LOGIN).status_code == 401  # it is away
    issuer.close = lambda: None  # type: ignore[method-assign]


def test_no_page_of_the_admin_opens_another_way_in(client: Client, issuer: Issuer) -> None:
    SocialApp.objects.create(provider="openid_connect", provider_id="evil", name="Evil", client_id="x", secret="x")
    assert client.get("/accounts/openid/evil/").status_code == 404


def test_who_has_an_account_elsewhere_alone_is_deleted_with_it(client: Client, issuer: Issuer) -> None:
    newcomer(client)
    assert client.post("/privacy/delete/").status_code == 302
    assert User.objects.get().deletion.due_at
    User.objects.all().delete()
    assert not SocialAccount.objects.exists()


def test_with_a_password_too_the_password_proves(client: Client, issuer: Issuer, owner: User) -> None:
    SocialAccount.objects.create(user=owner, provider="site", uid="77")
    come(client)
    asked = client.post("/accounts/email/", {"action_add": "", "email": "new@example.com"})
    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
