"""What attackers try first is no password here, and nobody outside is asked about it."""

import time
from collections.abc import Callable

import pytest
from django.contrib.auth.password_validation import password_changed, validate_password
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import User
from accounts.passwords import GuessableValidator
from tests.app.django.steps import PASSWORD

LEAKED = """
3rJs1la7qE Passw0rd! P@ssw0rd2024 1q2w3e4r5t qwertzuiop liverpool1992 Michael1985 dragon2023 hunter2hunter2
iloveyou12 trustno1! zxcvbnm123 abcdefgh1 fussball123 Berlin1990 aaaaaaaaaaaa matchpoint
"""
GOOD = [
    PASSWORD,
    "stolen horse 42",
    "Vier Wörter ohne Sinn",
    "kx7!pq2z",
    "密码马电池订书钉正确",
    "korb lampe montag " * 6,
]


@pytest.mark.parametrize("password", LEAKED.split())
def test_a_password_that_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password)


@pytest.mark.parametrize("password", GOOD)
def test_others_are_not(password: str) -> None:
    validate_password(password)
    password_changed(password)


def test_what_is_known_of_somebody_is_no_password() -> None:
    validator = GuessableValidator()
    validator.validate("quiriny1985")
    with pytest.raises(ValidationError):
        validator.validate("quiriny1985", User(username="quiriny", display_name="Zdenka", email="zq@example.com"))


def test_no_password_costs_more_than_a_moment() -> None:
    """A hundred of these characters took minutes."""
    began = time.process_time()
    validate_password("4@8({[</369&#!1/|0$5+7%2" * 40)
    assert time.process_time() - began < 10


@pytest.mark.django_db
def test_who_registers_is_told_so(client: Client, make_user: Callable[..., User]) -> None:
    form = {"username": "zoe", "password1": "dragon2023", "password2": "dragon2023"}
    page = client.post("/accounts/signup/", form, headers={"accept-language": "de"}).content.decode()
    assert "würde jemand erraten" in page
    assert not User.objects.exists()
