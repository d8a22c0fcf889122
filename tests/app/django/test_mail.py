"""Mails wait for the relay, and neither they nor the answers tell who has an account."""

import time
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPRecipientsRefused
from typing import Any
from unittest.mock import Mock

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import REGISTRY

from accounts.mail import GIVE_UP, _claim, mails_send
from accounts.models import User, WaitingMail
from tests.app.django.steps import PASSWORD, delivered

pytestmark = pytest.mark.django_db

KNOWN, UNKNOWN = "ada@example.com", "bob@example.com"


@pytest.fixture(autouse=True)
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email=KNOWN)
    EmailAddress.objects.create(user=user, email=KNOWN, verified=True, primary=True)
    return user


@pytest.fixture
def relay_down(settings: Any) -> Any:
    """Nothing listens at the relay's address until `settings.EMAIL_BACKEND` is put back."""
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    return lambda: setattr(settings, "EMAIL_BACKEND", backend)


def ask(address: str) -> Any:
    return Client().post("/accounts/password/reset/", {"email": address})


def sign_up(name: str, address: str) -> Any:
    form = {"username": name, "email": address, "password1": PASSWORD, "password2": PASSWORD}
    return Client().post("/accounts/signup/", form)


def test_a_mail_waits_for_the_relay_and_is_gone_when_that_has_it(relay_down: Any) -> None:
    assert sign_up("bob", UNKNOWN).status_code == 302  # nobody is kept out
    WaitingMail.objects.update(created_at=timezone.now() - timedelta(minutes=20))
    assert mails_send() == 0
    [waiting] = WaitingMail.objects.all()
    assert timedelta(seconds=20) < waiting.due_at - timezone.now() < timedelta(seconds=40)
    assert 1200 <= (REGISTRY.get_sample_value("matchpoint_mail_oldest_seconds") or 0) < 1300
    assert (REGISTRY.get_sample_value("matchpoint_mails_failed_total") or 0) >= 1

    relay_down()  # it is back
    assert mails_send() == 0  # not due yet
    WaitingMail.objects.update(due_at=timezone.now())
    assert [message.to for message in delivered()] == [[UNKNOWN]]
    assert not WaitingMail.objects.exists()
    assert REGISTRY.get_sample_value("matchpoint_mail_oldest_seconds") == 0


def test_a_sender_that_hangs_is_told_as_a_mail_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mails_send() == 0
    hour = time.monotonic() + 3600
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: hour)
        assert (REGISTRY.get_sample_value("matchpoint_mail_oldest_seconds") or 0) > 3000
    assert REGISTRY.get_sample_value("matchpoint_mail_oldest_seconds") == 0


def test_what_waits_opens_nothing_for_who_reads_the_database_or_a_backup() -> None:
    ask(KNOWN)
    [waiting] = WaitingMail.objects.all()
    assert "reset" not in waiting.content
    assert KNOWN not in waiting.content
    [message] = delivered()
    assert "/accounts/password/reset/key/" in message.body


def test_one_mail_is_sent_by_one_process() -> None:
    ask(KNOWN)
    assert _claim() is not None
    assert _claim() is None
    assert mails_send() == 0


def test_a_mail_that_is_refused_or_too_old_is_given_up(relay_down: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(KNOWN)
    WaitingMail.objects.update(created_at=timezone.now() - GIVE_UP - timedelta(minutes=1))
    assert mails_send() == 1
    for reason, waits in ((b"5.7.1 relay access denied", True), (b"5.1.1 no such user", False)):
        ask(KNOWN)
        refuse = Mock(side_effect=SMTPRecipientsRefused({KNOWN: (550, reason)}))
        monkeypatch.setattr("accounts.mail.EmailMultiAlternatives.send", refuse)
        assert mails_send() == (0 if waits else 1)
        assert WaitingMail.objects.exists() is waits
        WaitingMail.objects.all().delete()


@pytest.mark.parametrize("act", [ask, lambda address: sign_up("carol" if address == KNOWN else "carla", address)])
def test_known_and_unknown_addresses_cost_and_answer_the_same(act: Callable[[str], Any]) -> None:
    seen = []
    for address in (KNOWN, UNKNOWN):
        cache.clear()
        WaitingMail.objects.all().delete()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = act(address)
        writes = [query["sql"].split()[:3] for query in queries if not query["sql"].startswith("SELECT")]
        seen.append((answer.status_code, answer.headers["Location"], len(writes), WaitingMail.objects.count()))
    assert seen[0] == seen[1]
    assert seen[0][3] == 1


def test_who_registers_with_a_taken_address_is_let_in_and_its_owner_is_told() -> None:
    sign_up("mallory", KNOWN)
    [message] = delivered()
    assert message.to == [KNOWN]
    assert "you have an account already" in message.subject.lower()
    assert not EmailAddress.objects.filter(user__username="mallory", verified=True).exists()


def test_strangers_get_no_mail() -> None:
    ask(UNKNOWN)
    assert mails_send() == 1
    assert not mail.outbox
