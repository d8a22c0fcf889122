"""Guessing passwords is slow, from one network and from many, and locks nobody else out."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from accounts.models import User
from tests.app.django.steps import log_in

pytestmark = pytest.mark.django_db

OWNER, ATTACKER = "198.51.100.7", "203.0.113.9"


@pytest.fixture(autouse=True)
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email="ada@example.com")
    EmailAddress.objects.create(user=user, email="ada@example.com", verified=True, primary=True)
    return user


@pytest.fixture
def networks() -> Iterator[str]:
    return (f"203.0.{number // 200}.{number % 200 + 1}" for number in count())


def gets_in(client: Client, login: str = "ada") -> bool:
    log_in(client, login)
    return not client.get("/").context["player"].is_guest


def guess(address: str, *logins: str) -> None:
    client = Client(REMOTE_ADDR=address)
    for login in logins:
        log_in(client, login, password="wrong")


def test_wrong_tries_from_elsewhere_keep_nobody_out() -> None:
    guess(ATTACKER, *["ada"] * 8)
    assert not gets_in(Client(REMOTE_ADDR=ATTACKER))
    assert gets_in(Client(REMOTE_ADDR=OWNER))


def test_name_address_and_case_count_as_one_account() -> None:
    guess(ATTACKER, "ada", "ADA", "ada@example.com", "Ada@Example.com", " ada ")
    assert not gets_in(Client(REMOTE_ADDR=ATTACKER))


def test_an_ipv6_customer_is_one_network() -> None:
    for number in range(5):
        guess(f"2001:db8::{number + 1}", "ada")
    assert not gets_in(Client(REMOTE_ADDR="2001:db8::ffff"))
    assert gets_in(Client(REMOTE_ADDR="2001:db8:0:1::1"))


def test_many_networks_meet_the_limit_of_the_account_and_its_owners_device_does_not(networks: Iterator[str]) -> None:
    device = Client(REMOTE_ADDR=OWNER)
    assert gets_in(device)
    device.post("/accounts/logout/")
    for address in [next(networks) for _ in range(50)]:
        guess(address, "ada")
    assert not gets_in(Client(REMOTE_ADDR=next(networks)))
    assert gets_in(device)


def test_a_device_is_known_to_its_own_account_alone_and_may_not_guess_either(
    make_user: Callable[..., User], networks: Iterator[str]
) -> None:
    make_user("bob")
    device = Client(REMOTE_ADDR=OWNER)
    assert gets_in(device, "bob")
    device.post("/accounts/logout/")
    for address in [next(networks) for _ in range(50)]:
        guess(address, "ada")
    assert not gets_in(device)
    for _ in range(5):
        log_in(device, "bob", password="wrong")
    assert not gets_in(device, "bob")


def test_a_new_password_by_mail_ends_the_wait() -> None:
    from accounts.adapter import AccountAdapter

    guess(OWNER, *["ada"] * 5)
    client = Client(REMOTE_ADDR=OWNER)
    assert not gets_in(client)
    AccountAdapter()._delete_login_attempts_cached_email(
        client.get("/").wsgi_request,
        email="ada@example.com",  # as allauth does after a reset
    )
    assert gets_in(client)
