import base64
import re
from collections.abc import Callable

import pytest
import qrcode
from django.db import OperationalError
from django.test import Client, override_settings
from qrcode.image.svg import SvgPathImage
from redis.exceptions import ConnectionError as ValkeyConnectionError

from accounts.models import User
from live.records import FinishedMatch
from matches import views
from matches.services import match_finish
from matchpoint.settings.environment import Release

pytestmark = pytest.mark.django_db

PUBLIC = [
    "/",
    "/matches/",
    "/leaderboard/",
    "/connection/",
    "/privacy/",
    "/imprint/",
    "/me/guest/",
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
]
PRIVATE = ["/me/", "/accounts/logout/", "/accounts/password/change/", "/accounts/email/", "/accounts/2fa/"]


@pytest.mark.parametrize("path", PUBLIC)
def test_anybody_sees_the_public_pages(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.context["player"].name in response.content.decode()


@pytest.mark.parametrize("path", ["/", "/matches/", *PRIVATE])
def test_users_see_their_pages(signed_in: Client, path: str) -> None:
    response = signed_in.get(path)
    assert response.status_code == 200
    assert "ada" in response.content.decode()


@pytest.mark.parametrize("path", ["/me/", "/accounts/2fa/", "/accounts/password/change/"])
def test_guests_are_asked_to_log_in(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("path", PUBLIC)
def test_pages_have_no_inline_code(client: Client, path: str) -> None:
    page = client.get(path).content.decode()
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<style" not in page


def test_the_page_of_a_match_carries_its_data_and_address(client: Client) -> None:
    match_id = client.post("/api/matches", '{"mode": "friend"}', content_type="application/json").json()["id"]
    response = client.get(f"/m/{match_id}/")
    assert response.status_code == 200
    assert response.context["match"]["id"] == match_id
    assert response.context["match_url"] == f"http://testserver/m/{match_id}/"
    assert 'id="match-data"' in response.content.decode()
    page = response.content.decode()  # what messengers show of the link
    name = response.context["player"].name
    assert f'<meta property="og:description" content="{name} waits for you on the court.">' in page
    assert '<meta property="og:image" content="http://testserver/static/img/icon-512.png">' in page


def test_the_page_of_a_finished_match_stays(client: Client, record: Callable[..., FinishedMatch]) -> None:
    match_finish(record=record("abc"))
    assert client.get("/m/abc/").context["match"]["status"] == "finished"


async def test_the_page_of_a_match_renders_on_the_event_loop(async_client: object, record: object) -> None:
    response = await async_client.get("/m/unknown/")  # type: ignore[attr-defined]  # pytest-django has no stubs
    assert response.status_code == 404


@pytest.mark.parametrize("path", ["/m/unknown/", "/m/../etc/", "/nothing/"])
def test_what_is_not_there_gets_the_404_page(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "text/html" in response.headers["Content-Type"]


def test_a_missing_csrf_token_gets_a_page_that_explains() -> None:
    response = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "ada", "password": "x"})
    assert response.status_code == 403
    assert "text/html" in response.headers["Content-Type"]


def test_a_bug_gets_the_500_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(views, "player_get", fail)
    client.raise_request_exception = False
    response = client.get("/matches/")
    assert response.status_code == 500
    assert "a bug" not in response.content.decode()


@pytest.mark.parametrize("path", ["/matches/", "/api/matches/abc"])
def test_without_the_database_pages_say_when_to_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("matches.views.matches_of", fail)
    monkeypatch.setattr("matches.api.match_summary", fail)
    client.raise_request_exception = False
    response = client.get(path)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


def test_without_valkey_the_page_of_a_match_says_when_to_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object) -> None:
        raise ValkeyConnectionError("connection refused")

    monkeypatch.setattr("live.directory.matches.Matches.get", fail)
    client.raise_request_exception = False
    assert client.get("/m/abc/").status_code == 503


def test_an_invitation_has_its_link_as_a_picture_for_who_invites(client: Client) -> None:
    url = client.post("/api/matches", '{"mode": "friend"}', content_type="application/json").json()["url"]
    found = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', client.get(url).content.decode())
    assert found
    drawn = base64.b64decode(found[1])
    assert drawn == qrcode.make(f"http://testserver{url}", image_factory=SvgPathImage, border=2).to_string()
    for stranger, other in ((Client(), url), (client, machine(client))):
        assert b"data:image/svg" not in stranger.get(other).content


def machine(client: Client) -> str:
    return str(client.post("/api/matches", '{"mode": "ai"}', content_type="application/json").json()["url"])


def test_guests_play_without_the_database(client: Client, django_assert_num_queries: Callable[..., object]) -> None:
    with django_assert_num_queries(0):  # type: ignore[attr-defined]  # a context manager
        assert client.get("/").status_code == 200
        created = client.post("/api/matches", '{"mode": "ai"}', content_type="application/json")
        assert client.get(created.json()["url"]).status_code == 200


def test_history_costs_the_same_for_any_number_of_matches(
    signed_in: Client,
    user: User,
    record: Callable[..., FinishedMatch],
    django_assert_max_num_queries: Callable[..., object],
) -> None:
    for number in range(25):
        match_finish(record=record(f"match{number}", left=f"u:{user.pk}"))
    with django_assert_max_num_queries(5):  # type: ignore[attr-defined]  # session, user, count, matches, seats
        page = signed_in.get("/matches/").context["matches"]
    assert (len(page), page.paginator.count) == (20, 25)
    assert len(signed_in.get("/matches/?page=2").context["matches"]) == 5
    assert signed_in.get("/matches/?page=nonsense").status_code == 200


def test_guests_see_their_own_history(client: Client, guest_id: str, record: Callable[..., FinishedMatch]) -> None:
    match_finish(record=record("mine", left=f"g:{guest_id}"))
    match_finish(record=record("foreign", left="g:other"))
    assert [match.public_id for match in client.get("/matches/").context["matches"]] == ["mine"]


def test_pages_speak_the_language_of_the_browser_or_the_chosen_one(client: Client) -> None:
    assert '<html lang="de"' in client.get("/", headers={"accept-language": "de-AT,de;q=0.9"}).content.decode()
    assert '<html lang="en"' in client.get("/", headers={"accept-language": "xx"}).content.decode()
    client.post("/i18n/setlang/", {"language": "de", "next": "/"})
    assert '<html lang="de"' in client.get("/", headers={"accept-language": "en"}).content.decode()


@override_settings(RELEASE=Release("3f9c2a7d10be", "0.2.0", "a" * 40, has_changes=True))
def test_the_foot_of_a_page_tells_version_and_commit(client: Client) -> None:
    page = client.get("/").content.decode()
    assert "<code>0.2.0 · aaaaaaaaaaaa-dirty</code>" in page
    assert 'title="0.2.0+3f9c2a7d10be"' in page


def test_german_is_spoken_well_enough_to_play(client: Client) -> None:
    page = client.get("/", headers={"accept-language": "de"}).content.decode()
    assert "Spielen" in page
    assert "Your serve" not in page
