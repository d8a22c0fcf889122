"""Whoever borrows a session, or registers with somebody's address, gains nothing that lasts."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.models import User
from tests.app.django.steps import PASSWORD, delivered, log_in, proved, totp_code

OWNER, THIEF = "ada@example.com", "mallory@example.com"

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email=OWNER)
    EmailAddress.objects.create(user=user, email=OWNER, verified=True, primary=True)
    return user


@pytest.fixture
def borrowed(client: Client, owner: User) -> Client:
    """A session that its owner opened a second ago, in the hands of somebody who does not know the password."""
    log_in(client)
    return client


def mails_to(address: str) -> list[Any]:
    return [message for message in delivered() if message.to == [address]]


def link_in(message: Any, kind: str) -> str:
    found = re.search(rf"http://testserver(/accounts/{kind}/\S+)", str(message.body))
    assert found, message.body
    return found[1]


def test_a_borrowed_session_gains_nothing_that_lasts(borrowed: Client, owner: User) -> None:
    """The way that an auditor went: add an address, ask for a new password, set it."""
    borrowed.post("/accounts/email/", {"action_add": "", "email": THIEF})
    borrowed.post("/accounts/email/", {"action_primary": "", "email": THIEF})
    borrowed.post("/accounts/email/", {"action_remove": "", "email": OWNER})
    borrowed.get("/accounts/2fa/totp/activate/")
    borrowed.post("/accounts/2fa/totp/activate/", {"code": "000000"})
    borrowed.post("/accounts/password/change/", {"oldpassword": "", "password1": "x" * 12, "password2": "x" * 12})
    borrowed.post("/accounts/password/set/", {"password1": "stolen horse 42", "password2": "stolen horse 42"})
    Client().post("/accounts/password/reset/", {"email": THIEF})
    assert not mails_to(THIEF)
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [(OWNER, True, True)]
    assert not Authenticator.objects.exists()
    owner.refresh_from_db()
    assert owner.check_password(PASSWORD)


def test_an_unconfirmed_address_opens_no_account(client: Client, owner: User) -> None:
    EmailAddress.objects.create(user=owner, email=THIEF, verified=False)
    owner.email = "old@example.com"  # a field that nothing vouches for
    owner.save()
    for address in (THIEF, "old@example.com"):
        assert client.post("/accounts/password/reset/", {"email": address}).status_code == 302
    assert not delivered()


def test_every_change_asks_for_the_password_and_is_told_to_the_old_address(borrowed: Client, owner: User) -> None:
    asked = borrowed.post("/accounts/email/", {"action_add": "", "email": THIEF})
    assert asked.headers["Location"].startswith("/accounts/reauthenticate/")
    borrowed.post(asked.headers["Location"], {"password": PASSWORD})  # and the address is added
    link = link_in(mails_to(THIEF)[0], "confirm-email")
    borrowed.post(link)
    assert [THIEF in message.body for message in mails_to(OWNER)] == [True]

    borrowed.post("/accounts/email/", {"action_primary": "", "email": THIEF})
    borrowed.post("/accounts/email/", {"action_remove": "", "email": OWNER})
    subjects = [message.subject for message in mails_to(OWNER)]
    told = ["The address of your account was changed", "An address was removed from your account"]
    assert subjects[1:] == [f"[Matchpoint] {subject}" for subject in told]


def test_a_changed_password_is_told_to_confirmed_addresses_alone(borrowed: Client, owner: User) -> None:
    new = {"password1": "a better horse 43", "password2": "a better horse 43"}
    borrowed.post("/accounts/password/change/", {"oldpassword": PASSWORD, **new})
    assert [message.subject for message in mails_to(OWNER)] == ["[Matchpoint] The password of your account was changed"]
    delivered().clear()
    EmailAddress.objects.update(verified=False)
    log_in(borrowed, password=new["password1"])
    third = {"password1": "the best horse 44", "password2": "the best horse 44"}
    borrowed.post("/accounts/password/change/", {"oldpassword": new["password1"], **third})
    assert User.objects.get().check_password(third["password1"])
    assert not delivered()


def test_an_account_under_a_victims_address_stays_a_strangers(client: Client) -> None:
    """The victim's click confirms nothing for who cannot log in, and the address stays free for its owner."""
    form = {"email": OWNER, "password1": PASSWORD, "password2": PASSWORD}
    client.post("/accounts/signup/", {"username": "mallory", **form})
    link = link_in(mails_to(OWNER)[0], "confirm-email")
    victim = Client()
    for answer in (victim.get(link), victim.post(link)):
        assert answer.headers["Location"].startswith("/accounts/login/?next=")
    victim.post("/accounts/signup/", {"username": "ada", **form})
    assert victim.get("/").context["player"].name == "ada"
    victim.post(link)
    assert not EmailAddress.objects.filter(verified=True).exists()
    victim.post("/accounts/password/reset/", {"email": OWNER})
    assert not [message for message in delivered() if "password/reset/key" in message.body]


@pytest.mark.django_db(transaction=True)
def test_staff_prove_themselves_again_before_they_change_an_account(client: Client, make_user: Any) -> None:
    staff, player = make_user("grace", is_staff=True, is_superuser=True), make_user("bob")
    log_in(client, "grace")
    proved(client)
    secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
    client.post("/accounts/2fa/totp/activate/", {"code": totp_code(secret)})
    client.post("/accounts/logout/")
    log_in(client, "grace")
    client.post("/accounts/2fa/authenticate/", {"code": totp_code(secret, step=1)})
    change = f"/admin/accounts/user/{player.pk}/password/"
    answer = client.post(change, {"password1": "stolen horse 42", "password2": "stolen horse 42"})
    assert answer.headers["Location"].startswith("/accounts/2fa/reauthenticate/")
    player.refresh_from_db()
    assert player.check_password(PASSWORD)
    assert client.get(f"/admin/accounts/user/{staff.pk}/change/").status_code == 200  # reading is not asked for
