"""Whatever opens an account, and whatever staff do, is noted once, without secrets."""

import logging
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP
from django.test import Client

from accounts.models import User
from audit.models import Entry
from tests.app.django.steps import PASSWORD, log_in, proved, set_up_totp, totp_code

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def noted() -> list[tuple[str, str, str]]:
    return list(Entry.objects.order_by("pk").values_list("kind", "name", "what"))


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email="ada@example.com")
    EmailAddress.objects.create(user=user, email="ada@example.com", verified=True, primary=True)
    return user


def test_the_life_of_an_account_is_noted(owner: User, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(REMOTE_ADDR="198.51.100.7")
    with caplog.at_level(logging.INFO, "audit"):
        log_in(client, password="a wrong horse")
    log_in(client, "my own password")
    log_in(client, "ada@example.com")
    proved(client)
    client.post("/accounts/email/", {"action_add": "", "email": "new@example.com"})
    client.post("/accounts/email/", {"action_remove": "", "email": "new@example.com"})
    set_up_totp(client)
    new = {"password1": "a better horse 43", "password2": "a better horse 43"}
    client.post("/accounts/password/change/", {"oldpassword": PASSWORD, **new})
    assert noted() == [
        ("login-failed", "ada", ""),
        ("login-failed", "", "no such account"),
        ("login", "ada", ""),
        ("address", "ada", "added new@example.com"),
        ("address", "ada", "removed new@example.com"),
        ("factor", "ada", "added totp"),
        ("factor", "ada", "added recovery_codes"),
        ("logout", "ada", ""),
        ("password", "ada", ""),
    ]
    assert set(Entry.objects.values_list("address", flat=True)) == {"198.51.100.7"}
    line = next(record for record in caplog.records if record.message == "audit")
    assert (vars(line)["kind"], vars(line)["user"], vars(line)["address"]) == ("login-failed", "ada", "198.51.100.7")
    everything = "".join(map(str, Entry.objects.values_list()))
    assert not any(secret in everything for secret in (PASSWORD, "wrong horse", "better horse", "my own password"))


def test_what_staff_do_is_noted_and_can_be_read_and_not_changed(client: Client, make_user: Callable[..., User]) -> None:
    staff, player = make_user("grace", is_staff=True, is_superuser=True), make_user("bob")
    TOTP.activate(staff, SECRET)
    log_in(client, "grace")
    client.post("/accounts/2fa/authenticate/", {"code": totp_code(SECRET)})
    client.post("/accounts/2fa/reauthenticate/", {"code": totp_code(SECRET, step=1)})
    proved(client)
    client.post(f"/admin/accounts/user/{player.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(username="bob").exists()
    kind, name, what = noted()[-1]
    assert (kind, name) == ("staff", "grace")
    assert what.startswith("Deletion: Accounts | user bob")

    page = client.get("/admin/audit/entry/", {"q": "grace"})
    assert "Deletion: Accounts | user bob" in page.content.decode()
    entry = Entry.objects.get(kind="staff")
    assert client.post(f"/admin/audit/entry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"/admin/audit/entry/{entry.pk}/change/", {"what": "nothing"}).status_code == 403


def test_a_wrong_code_is_noted(client: Client, owner: User) -> None:
    TOTP.activate(owner, SECRET)
    log_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert [kind for kind, *_ in noted()] == ["factor-failed"]
