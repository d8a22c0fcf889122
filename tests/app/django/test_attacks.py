"""Attacks that are short to try: a session that was laid down before, and code in whatever a player can enter."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from accounts.models import User
from live.records import FinishedMatch
from matches.models import Seat
from matches.services import match_finish
from ratings.models import Rating
from tests.app.django.steps import delivered, log_in, proved

pytestmark = pytest.mark.django_db

CODE = [
    "<xss onload=x>a</xss>",
    "a\"><xss onload=x>",
    "a'><xss onload=x>",
    "a' onload=x xss='",
    'a" onload=x xss="',
    "</script><xss>a</xss>",
    "</title><xss>a</xss>",
    "<!--<script>xss",
    "javascript:xss(1)",
    "&lt;xss&gt;a",
    "{{xss}}{%xss%}",
    "\\u003cxss\\u003ea",
]  # fmt: skip


class Looked(HTMLParser):
    """What a browser would find in a page that no template wrote."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.data: list[str] = []  # of scripts that are none
        self._is_data = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag.startswith("xss") or any(name.startswith(("on", "xss")) for name in named):
            self.found.append(self.get_starttag_text() or tag)
        for name in ("href", "src", "action", "formaction"):
            if (named.get(name) or "").strip().lower().startswith(("javascript:", "data:text")):
                self.found.append(self.get_starttag_text() or tag)
        if tag == "script":
            self._is_data = named.get("type") == "application/json"
            if not self._is_data and not named.get("src"):
                self.found.append("a script in the page")

    def handle_endtag(self, tag: str) -> None:
        self._is_data = self._is_data and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data.append(data)


def look(response: Any) -> None:
    assert response.status_code < 500
    page = Looked(response.content.decode())
    assert not page.found, response.request["PATH_INFO"]
    for data in page.data:
        json.loads(data)


def test_the_look_finds_what_it_is_for() -> None:
    """A page that escapes nothing."""
    assert [bool(Looked(f"<p title=\"{code}\" id='{code}'>{code}</p>").found) for code in CODE[:7]] == [True] * 7
    assert Looked(f'<a href="{CODE[8]}">').found
    assert Looked("<script>1</script>").found


@pytest.mark.parametrize("code", CODE)
def test_a_name_is_never_code(
    client: Client, code: str, make_user: Callable[..., User], record: Callable[..., FinishedMatch]
) -> None:
    ada = make_user(email="ada@example.com", display_name=code[:30])
    EmailAddress.objects.create(user=ada, email="ada@example.com", verified=True, primary=True)
    bob = make_user("bob")
    finished = record("abc", left=f"u:{ada.pk}", right=f"u:{bob.pk}")
    for player in finished.spec.players:
        object.__setattr__(player, "name", code)  # as another release, or a bug, may have let it in
    match_finish(record=finished)
    assert set(Seat.objects.values_list("name", flat=True)) == {code}
    Rating.objects.update(deviation=60)
    client.post("/me/guest/", {"name": code})
    match_id = client.post("/api/matches", '{"mode": "friend"}', content_type="application/json").json()["id"]
    pages = ["/", "/matches/", "/leaderboard/", f"/u/{ada.public_id}/", f"/u/{ada.public_id}/report/", "/me/guest/"]
    pages += ["/m/abc/", "/m/abc/replay/", f"/m/{match_id}/", "/privacy/"]
    for path in pages:
        look(client.get(path))
    log_in(client)
    for path in [*pages, "/me/", "/accounts/email/", "/accounts/2fa/", "/accounts/sessions/"]:
        look(client.get(path))
    for path in ("/api/matches/abc", "/api/matches/abc/replay"):
        assert client.get(path).headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("code", CODE)
def test_what_is_typed_or_stands_in_an_address_is_never_code(client: Client, code: str, user: User) -> None:
    for path in (
        "/accounts/login/",
        "/accounts/signup/",
        "/leaderboard/",
        "/matches/",
        "/accounts/2fa/webauthn/login/",
    ):
        look(
            client.get(path, {"next": code, "after": code, "page": code, "q": code}, headers={"accept-language": code})
        )
    look(client.get(f"/{code}"))
    look(client.get("/", headers={"user-agent": code, "referer": code}))
    form = dict.fromkeys(("login", "password", "username", "email", "password1", "password2", "name", "next"), code)
    for path in ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/me/guest/", "/i18n/setlang/"):
        look(client.post(path, form))
    log_in(client)
    proved(client)
    for path in ("/me/", "/accounts/email/", "/accounts/password/change/", "/accounts/2fa/totp/activate/"):
        look(
            client.post(
                path, {"display_name": code, "email": code, "oldpassword": code, "code": code, "action_add": ""}
            )
        )
    for path in ("/me/", "/accounts/sessions/"):
        look(client.get(path, headers={"user-agent": code}))


@pytest.mark.parametrize("name", ["Win http://evil.example", "www.evil.example", "a\r\nBcc: eve@example.com"])
def test_nobody_has_the_site_write_their_words_to_strangers(
    client: Client, make_user: Callable[..., User], name: str
) -> None:
    """Whoever adds an address has a mail sent there, which says who asked for it."""
    make_user(display_name=name[:30])
    log_in(client)
    proved(client)
    client.post("/accounts/email/", {"action_add": "", "email": "victim@example.com"})
    (mail,) = delivered()
    assert mail.to == ["victim@example.com"]
    assert "evil" not in mail.subject + mail.body
    assert "Bcc" not in str(mail.message())


def test_a_session_that_was_laid_down_before_opens_nothing_after_the_login(client: Client, user: User) -> None:
    client.post("/accounts/signup/", {"username": "", "next": "/"})
    client.get("/accounts/2fa/webauthn/login/", headers={"accept": "application/json"})  # it keeps a challenge
    laid = client.cookies["sessionid"].value
    thief = Client()
    thief.cookies["sessionid"] = laid
    before = client.get("/accounts/login/").context["csrf_token"]
    log_in(client)
    assert client.cookies["sessionid"].value != laid
    assert not client.get("/").context["player"].is_guest
    assert thief.get("/").context["player"].is_guest
    assert thief.get("/me/").status_code == 302
    assert str(client.get("/").context["csrf_token"]) != str(before)
    made_up = Client()
    made_up.cookies["sessionid"] = "a" * 32
    log_in(made_up)
    assert made_up.cookies["sessionid"].value != "a" * 32


def test_the_session_of_one_is_not_the_next_ones(client: Client, user: User, make_user: Callable[..., User]) -> None:
    make_user("bob")
    log_in(client)
    first = client.cookies["sessionid"].value
    client.post("/accounts/logout/")
    log_in(client, "bob")
    old = Client()
    old.cookies["sessionid"] = first
    assert old.get("/").context["player"].is_guest
