"""Nobody looks like somebody else, like nothing, or like staff."""

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import User
from tests.app.django.steps import PASSWORD

pytestmark = pytest.mark.django_db

REFUSED = [
    "\u202eadA",  # written backwards
    "\u200b\u200b\u200b",
    "\u3164\u3164\u3164",
    "ad\u200da",
    "\u0430dmin",  # the first letter is Cyrillic
    "\u0440\u0430ypal",
    "admin",
    "ADMIN",
    "Matchpoint Staff",
    "r.o.o.t",
    "\uff41dmin",
    "\u043e\u0440\u0455",  # "ops", all of it Cyrillic
    "...",
]
TAKEN = ["Zoe", "ZOE", "\uff3aoe", "\U0001d4cfoe"]
WELCOME = ["Ada Lovelace", "Jörg", "Привет", "日本", "Ωμέγα 3", "O'Hara", "Rooty", "x"]


def refused(client: Client, name: str) -> bool:
    answer = client.post("/accounts/signup/", {"username": name, "password1": PASSWORD, "password2": PASSWORD})
    return answer.status_code == 200 and "username" in answer.context["form"].errors


@pytest.mark.parametrize("name", [name for name in REFUSED if " " not in name])
def test_a_username_that_deceives_is_refused(client: Client, name: str) -> None:
    assert refused(client, name)
    assert not User.objects.exists()


@pytest.mark.parametrize("name", TAKEN)
def test_a_username_in_other_letters_is_the_same(client: Client, make_user: Callable[..., User], name: str) -> None:
    make_user("zoe")
    assert refused(client, name)


@pytest.mark.parametrize("name", REFUSED)
def test_a_display_name_that_deceives_is_refused(signed_in: Client, name: str) -> None:
    assert "display_name" in signed_in.post("/me/", {"display_name": name}).context["form"].errors


@pytest.mark.parametrize("name", WELCOME)
def test_people_of_all_languages_have_names(signed_in: Client, user: User, name: str) -> None:
    assert signed_in.post("/me/", {"display_name": name}).status_code == 302
    user.refresh_from_db()
    assert user.display_name == name


def test_staff_may_say_that_they_are(client: Client, make_user: Callable[..., User]) -> None:
    client.force_login(make_user("grace", is_staff=True))
    assert client.post("/me/", {"display_name": "Matchpoint Staff"}).status_code == 302
