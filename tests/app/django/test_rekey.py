"""A change of SECRET_KEY: nobody notices while both keys are known, and the old one is worth nothing afterwards."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.mail import EmailMultiAlternatives
from django.core.management import call_command
from django.test import Client

from accounts.mail import mail_queue
from accounts.models import User, WaitingMail
from tests.app.django.steps import delivered
from tests.app.django.test_accounts import log_in, set_up_totp, totp_code

OLD, NEW = "the old key" * 5, "the new key" * 5

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _old(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = OLD, []


def change(settings: Any, key: str, *fallbacks: str) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)


def test_whoever_is_signed_in_stays_so_and_second_factors_work(client: Client, user: User, settings: Any) -> None:
    log_in(client)
    secret, _ = set_up_totp(client)
    codes = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    change(settings, NEW, OLD)
    call_command("rekey")
    before = list(Authenticator.objects.order_by("pk").values_list("data", flat=True))
    call_command("rekey")
    assert list(Authenticator.objects.order_by("pk").values_list("data", flat=True)) == before
    change(settings, NEW)
    assert client.get("/").context["player"].user == user
    assert Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes() == codes
    client.post("/accounts/logout/")
    log_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": totp_code(secret, step=1)})
    assert client.get("/").context["player"].user == user


def test_a_mail_that_waits_meanwhile_arrives(settings: Any) -> None:
    mail_queue(EmailMultiAlternatives("hello", "text", to=["ada@example.com"]))
    lost = WaitingMail.objects.create(content="unreadable")
    change(settings, NEW, OLD)
    call_command("rekey")
    before = list(WaitingMail.objects.order_by("pk").values_list("content", flat=True))
    call_command("rekey")
    assert list(WaitingMail.objects.order_by("pk").values_list("content", flat=True)) == before
    lost.refresh_from_db()
    assert lost.content == "unreadable"
    change(settings, NEW)
    assert [message.subject for message in delivered()] == ["hello"]


def test_without_it_they_would_not(client: Client, user: User, settings: Any) -> None:
    log_in(client)
    set_up_totp(client)
    change(settings, NEW)
    assert client.get("/").context["player"].is_guest


def test_what_no_key_can_read_stays_and_holds_nothing_up(client: Client, user: User, settings: Any) -> None:
    log_in(client)
    set_up_totp(client)
    lost = Authenticator.objects.get(type="totp")
    lost.data["secret"] = "unreadable"
    lost.save()
    change(settings, NEW, OLD)
    call_command("rekey")
    lost.refresh_from_db()
    assert lost.data["secret"] == "unreadable"
    change(settings, NEW)
    assert client.get("/").context["player"].user == user


def test_a_guest_who_asks_for_something_meanwhile_stays_the_same(client: Client, settings: Any) -> None:
    guest = client.get("/").context["player"].identity
    change(settings, NEW, OLD)
    assert "mp_guest" in client.get("/").cookies
    assert "mp_guest" not in client.get("/").cookies
    change(settings, NEW)
    assert client.get("/").context["player"].identity == guest
