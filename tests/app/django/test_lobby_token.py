"""What the page gets that opens the lobby: who it is, and how strong."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from lobby.protocol import lobby_token_read
from ratings.models import Rating

pytestmark = pytest.mark.django_db


def ask(client: Client, **extra: Any) -> Any:
    return client.post("/api/lobby", "{}", content_type="application/json", **extra)


def test_a_guest_waits_without_a_rating(client: Client, guest_id: str) -> None:
    answer = ask(client, REMOTE_ADDR="2001:db8:1:2:3::4").json()
    claim = lobby_token_read(answer["token"])
    assert answer["url"] == "/ws/lobby"
    assert (claim.identity, claim.rating, claim.address) == (f"g:{guest_id}", None, "2001:db8:1:2::")
    assert claim.issued_at > 0


def test_an_account_waits_with_its_rating(signed_in: Client, user: User) -> None:
    Rating.objects.create(user=user, rating=1623.4, deviation=60, volatility=0.06, played=9, rated_at=timezone.now())
    claim = lobby_token_read(ask(signed_in).json()["token"])
    assert (claim.identity, claim.name, claim.rating) == (f"u:{user.pk}", user.name, 1623.4)


def test_the_token_is_not_to_be_had_by_other_means(client: Client) -> None:
    assert client.get("/api/lobby").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/api/lobby", "{}", content_type="application/json").status_code == 403


def test_asking_for_it_has_a_limit(client: Client, guest_id: str) -> None:
    answers = [ask(client) for _ in range(61)]
    assert {answer.status_code for answer in answers[:60]} == {200}
    assert (answers[60].status_code, json.loads(answers[60].content)["error"]) == (429, "too-many")
