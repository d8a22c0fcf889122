"""A passkey logs its owner in, and nobody else; what no authenticator sends gets a sentence."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.test import Client
from fido2.utils import websafe_encode
from playwright.sync_api import Page, expect, sync_playwright

from accounts.models import User
from accounts.passkeys import KEYS_MAX
from audit.models import Entry
from tests.app.django.authenticator import SoftwareAuthenticator
from tests.app.django.steps import PASSWORD, delivered, log_in, proved

OWNER = "ada@example.com"
ADD, KEYS, LOGIN = "/accounts/2fa/webauthn/add/", "/accounts/2fa/webauthn/", "/accounts/2fa/webauthn/login/"
PATIENCE_MS = 20_000

pytestmark = pytest.mark.django_db(transaction=True)  # allauth tells of recovery codes on commit


@pytest.fixture(autouse=True)
def _on_localhost(settings: Any) -> None:
    settings.MATCHPOINT_ORIGIN = "http://localhost"  # browsers have passkeys over HTTPS, and here


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email=OWNER)
    EmailAddress.objects.create(user=user, email=OWNER, verified=True, primary=True)
    return user


def add(client: Client, key: SoftwareAuthenticator, **fields: Any) -> Any:
    options = client.get(ADD).context["js_data"]["creation_options"]
    given = key.create(json.loads(json.dumps(options, default=dict)))
    return client.post(ADD, {"name": "phone", "passwordless": "on", "credential": json.dumps(given), **fields})


def handle(user: User) -> str:
    return str(websafe_encode(user_pk_to_url_str(user).encode()))


def log_in_with(client: Client, key: SoftwareAuthenticator, user: User, **changed: Any) -> Any:
    options = client.get(LOGIN, headers={"accept": "application/json"}).json()["request_options"]
    given = key.get(options, user_handle=handle(user)) | changed
    return client.post(LOGIN, {"credential": json.dumps(given), "next": "/leaderboard/"})


def is_in(client: Client) -> bool:
    return not client.get("/").context["player"].is_guest


@pytest.fixture
def key(client: Client, owner: User) -> SoftwareAuthenticator:
    """A passkey of Ada's; `client` is logged out again."""
    key = SoftwareAuthenticator()
    log_in(client)
    proved(client)
    assert add(client, key).headers["Location"] == "/accounts/2fa/recovery-codes/"
    client.post("/accounts/logout/")
    return key


def noted() -> list[tuple[str, str, str]]:
    return list(Entry.objects.order_by("pk").values_list("kind", "name", "what"))


def test_a_passkey_logs_in_without_password_or_second_factor(
    client: Client, owner: User, key: SoftwareAuthenticator
) -> None:
    assert [message.subject for message in delivered()] == ["[Matchpoint] A passkey was added to your account"]
    assert delivered()[0].to == [OWNER]
    Entry.objects.all().delete()
    assert log_in_with(client, key, owner).headers["Location"] == "/leaderboard/"
    assert is_in(client)
    assert noted() == [("login", "ada", "")]


def test_a_borrowed_session_neither_adds_nor_removes_a_passkey(
    client: Client, owner: User, key: SoftwareAuthenticator
) -> None:
    log_in_with(client, key, owner)
    found = Authenticator.objects.get(type="webauthn")
    proof = "/accounts/2fa/webauthn/reauthenticate/"
    for response in (
        client.get(ADD),
        client.post(ADD, {"credential": "{}"}),
        client.post(f"{KEYS}keys/{found.pk}/remove/"),
        client.post(f"{KEYS}keys/{found.pk}/edit/", {"name": "mine"}),
    ):
        assert response.headers["Location"].startswith(proof)
    proved(client)  # the password alone is not enough
    assert client.get(ADD).headers["Location"].startswith(proof)

    options = client.get(proof).context["js_data"]["request_options"]
    given = key.get(json.loads(json.dumps(options, default=dict)))
    client.post(proof, {"credential": json.dumps(given), "next": KEYS})
    delivered().clear()
    client.post(f"{KEYS}keys/{found.pk}/remove/")
    assert not Authenticator.objects.exists()
    assert [message.subject for message in delivered()] == ["[Matchpoint] A passkey was removed from your account"]
    assert ("factor", "ada", "removed webauthn") in noted()


def test_after_the_password_the_key_is_asked_for(client: Client, owner: User, key: SoftwareAuthenticator) -> None:
    assert log_in(client).headers["Location"] == "/accounts/2fa/authenticate/"
    page = client.get("/accounts/2fa/authenticate/")
    other = SoftwareAuthenticator()
    options = json.loads(json.dumps(page.context["js_data"]["request_options"], default=dict))
    refused = client.post("/accounts/2fa/authenticate/", {"credential": json.dumps(other.get(options))})
    assert "Incorrect code" in refused.content.decode()
    assert noted()[-1] == ("factor-failed", "ada", "")
    options = json.loads(json.dumps(refused.context["js_data"]["request_options"], default=dict))
    client.post("/accounts/2fa/authenticate/", {"credential": json.dumps(key.get(options))})
    assert is_in(client)


def test_the_admin_opens_for_staff_who_came_with_a_passkey(
    client: Client, owner: User, key: SoftwareAuthenticator
) -> None:
    User.objects.update(is_staff=True, is_superuser=True)
    client.force_login(owner)
    refused = client.get("/admin/", follow=True)
    assert refused.redirect_chain[-1][0].startswith("/accounts/2fa/webauthn/reauthenticate/")
    client.post("/accounts/logout/")
    log_in_with(client, key, owner)
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "spoiled",
    [
        {"origin": "https://evil.example.com"},
        {"rp_id": "evil.example.com"},
        {"verifies": False},
        {"credential_id": b"another key 1234"},
    ],
    ids=lambda spoiled: next(iter(spoiled)),
)
def test_what_another_site_or_key_signed_opens_nothing(
    client: Client, owner: User, key: SoftwareAuthenticator, spoiled: dict[str, Any]
) -> None:
    vars(key).update(spoiled)
    log_in_with(client, key, owner)
    assert not is_in(client)
    assert noted()[-1] == ("login-failed", "", "passkey")


def test_an_answer_counts_once_and_for_its_owner(
    client: Client, owner: User, key: SoftwareAuthenticator, make_user: Callable[..., User]
) -> None:
    other = make_user("bob")
    log_in_with(client, key, other)  # whose handle somebody wrote into an answer
    assert not is_in(client)
    options = client.get(LOGIN, headers={"accept": "application/json"}).json()["request_options"]
    given = {"credential": json.dumps(key.get(options, user_handle=handle(owner)))}
    thief = Client()
    thief.get(LOGIN, headers={"accept": "application/json"})
    thief.post(LOGIN, given)
    assert not is_in(thief)
    client.post(LOGIN, given)
    client.post("/accounts/logout/")
    client.post(LOGIN, given)
    assert not is_in(client)


def test_who_is_banned_does_not_come_in_with_a_passkey(client: Client, owner: User, key: SoftwareAuthenticator) -> None:
    User.objects.update(is_active=False)
    assert log_in_with(client, key, owner).headers["Location"] == "/accounts/inactive/"
    assert not is_in(client)


NONSENSE = [
    "",
    "{",
    "[]",
    '"x"',
    "1",
    "{}",
    '{"response": 1}',
    '{"response": {"userHandle": "MQ"}}',
    '{"id": "a", "rawId": "a", "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}}',
    '{"id": "MQ", "rawId": "MQ", "response": {"clientDataJSON": "e30", "attestationObject": "oA"}}',
    '{"id": "MQ", "rawId": "MQ", "response": {"clientDataJSON": "e30", "attestationObject": "gA"}}',
    '{"response": {"userHandle": "' + "OTk5" * 40 + '"}}',
    '{"a": ' * 3000 + "1" + "}" * 3000,
    '{"a": "' + "x" * 20_000 + '"}',
]


@pytest.mark.parametrize("credential", NONSENSE, ids=range(len(NONSENSE)))
def test_what_no_authenticator_sends_gets_a_sentence(
    client: Client, owner: User, key: SoftwareAuthenticator, credential: str
) -> None:
    client.get(LOGIN, headers={"accept": "application/json"})
    page = client.post(LOGIN, {"credential": credential}, follow=True)
    assert [str(message) for message in page.context["messages"]]
    log_in(client)
    client.get("/accounts/2fa/authenticate/")
    assert client.post("/accounts/2fa/authenticate/", {"credential": credential}).context["webauthn_form"].errors
    client.post("/accounts/2fa/authenticate/", {"credential": ""})
    Authenticator.objects.all().delete()
    client.force_login(owner)
    proved(client)
    client.get(ADD)
    assert client.post(ADD, {"credential": credential}).context["form"].errors
    assert not Authenticator.objects.exists()


def test_ten_keys_are_enough(client: Client, owner: User, key: SoftwareAuthenticator) -> None:
    found = Authenticator.objects.get(type="webauthn")
    for _ in range(KEYS_MAX - 1):
        Authenticator.objects.create(user=owner, type="webauthn", data=found.data)
    log_in_with(client, key, owner)
    options = client.get("/accounts/2fa/webauthn/reauthenticate/").context["js_data"]["request_options"]
    given = key.get(json.loads(json.dumps(options, default=dict)))
    client.post("/accounts/2fa/webauthn/reauthenticate/", {"credential": json.dumps(given)})
    assert "ten keys" in add(client, SoftwareAuthenticator()).content.decode()
    assert Authenticator.objects.filter(type="webauthn").count() == KEYS_MAX


@pytest.fixture
def page(live_server: Any, owner: User, settings: Any) -> Iterator[Page]:
    """Chromium with an authenticator inside, which says yes to everything."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: `docker/lab/bootstrap.sh browser` installs it")
    settings.MATCHPOINT_ORIGIN = live_server.url.replace("127.0.0.1", "localhost")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--disable-gpu", "--no-first-run"], chromium_sandbox=os.geteuid() != 0
        )
        expect.set_options(timeout=PATIENCE_MS)
        page = browser.new_page(base_url=settings.MATCHPOINT_ORIGIN)
        page.set_default_timeout(PATIENCE_MS)
        session = page.context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        about = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
        about |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
        session.send("WebAuthn.addVirtualAuthenticator", {"options": about})
        yield page
        browser.close()


def test_a_browser_makes_a_passkey_and_comes_back_with_it(page: Page) -> None:
    page.goto("/accounts/login/?next=/accounts/2fa/webauthn/add/")
    page.get_by_label("Login").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Name of the key").fill("laptop")
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/recovery-codes/")
    page.goto("/accounts/logout/")
    page.get_by_role("button", name="Log out").click()
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("navigation", name="Site").get_by_role("link", name="ada")).to_be_visible()
