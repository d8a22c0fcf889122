"""Players report others, and staff act on it: with a reason, a fresh proof, and an entry of the audit trail each."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from audit.models import Entry
from live import directory
from live.directory import revocations
from matches.services import match_finish
from moderation.models import Block, Report
from moderation.selectors import avoided
from ratings.models import Rating, RatingChange
from tests.app.django.conftest import guest_id as guest_id_fixture
from tests.app.django.conftest import record as record_fixture
from tests.app.django.steps import log_in, totp_code
from tests.app.ops.conftest import SECRET

record = record_fixture
guest_id = guest_id_fixture
PLAYERS = "/ops/players/"
NAUGHTY = "<script>alert(1)</script>"

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss(make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch) -> Client:
    """Grace, an administrator who proved herself a moment ago."""
    monkeypatch.setattr(directory, "_fake_server", None)
    client = Client()
    TOTP.activate(make_user("grace", is_staff=True, is_superuser=True), SECRET)
    log_in(client, "grace")
    client.post("/accounts/2fa/authenticate/", {"code": totp_code(SECRET)})
    client.post("/accounts/2fa/reauthenticate/", {"code": totp_code(SECRET, step=1)})
    Entry.objects.all().delete()
    return client


def act(client: Client, user: User, action: str, **fields: str) -> Any:
    form = {"action": action, "reason": "he swears", "sure": "on", **fields}
    return client.post(f"{PLAYERS}{user.public_id}/", form)


def staff_did() -> list[str]:
    return list(Entry.objects.filter(kind="staff", name="grace").order_by("pk").values_list("what", flat=True))


def test_a_report_reaches_staff_and_nobody_else(client: Client, boss: Client, make_user: Callable[..., User]) -> None:
    ada, bob = make_user("ada"), make_user("bob")
    way = f"/u/{bob.public_id}/report/"
    assert way in client.get(f"/u/{bob.public_id}/").content.decode()
    client.post(way, {"kind": "name", "text": "from a guest"})
    log_in(client)
    for text in ("first", NAUGHTY):  # the second takes the place of the first
        assert client.post(way, {"kind": "behaviour", "text": text}).headers["Location"] == f"/u/{bob.public_id}/"
    assert list(Report.objects.order_by("pk").values_list("by__username", "text")) == [
        (None, "from a guest"),
        ("ada", NAUGHTY),
    ]
    assert "bob" in boss.get(PLAYERS).content.decode()
    page = boss.get(f"{PLAYERS}{bob.public_id}/").content.decode()
    assert "from a guest" in page
    assert "<script>alert" not in page
    for path in (PLAYERS, f"{PLAYERS}{bob.public_id}/"):
        assert client.get(path).status_code == 403
    assert client.post(f"/u/{ada.public_id}/report/", {"kind": "name"}).context["form"].errors


def test_a_guest_is_reported_by_who_played_against_and_banned(
    client: Client, boss: Client, guest_id: str, record: Callable[..., Any], settings: Any
) -> None:
    match_finish(record=record("abcDEF123456", left=f"g:{guest_id}", right="g:rude"))
    way = "/m/abcDEF123456/report/"
    assert way in client.get("/matches/").content.decode()
    assert Client().get(way).status_code == 404, "a bystander"
    assert client.post(way, {"kind": "behaviour", "text": NAUGHTY}).headers["Location"] == "/matches/"
    page = f"{PLAYERS}guest/rude/"
    assert page in boss.get(PLAYERS).content.decode()
    assert "<script>alert" not in boss.get(page).content.decode()
    assert client.get(page).headers["Location"].startswith("/admin/login/")
    form = {"reason": "he swears", "sure": "on"}
    for action in ("ban", "close"):
        assert boss.post(page, {"action": action, **form}).status_code == 302
    assert "banned" in boss.get(page).content.decode()
    assert revocations.is_banned("g:rude")
    revocations.revoke("g:rude")  # whoever has kept the guest's seats logs out
    assert revocations.is_banned("g:rude")
    assert page not in boss.get(PLAYERS).content.decode()
    boss.post(page, {"action": "unban", **form})
    assert not revocations.is_banned("g:rude")
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    assert "nothing was done" in boss.post(page, {"action": "ban", **form}).content.decode()
    assert staff_did() == [
        f"{did} the guest rude: he swears" for did in ("banned", "closed 1 reports about", "let in again")
    ]
    assert boss.get(f"{PLAYERS}guest/nobody/").status_code == 404


@pytest.mark.parametrize("right", ["ai:easy", "g:"])
def test_the_machine_and_who_is_forgotten_cannot_be_reported(
    client: Client, guest_id: str, record: Callable[..., Any], right: str
) -> None:
    match_finish(record=record("abcDEF123456", left=f"g:{guest_id}", right=right))
    assert client.get("/m/abcDEF123456/report/").status_code == 404


def test_who_is_blocked_is_avoided_until_let_back(client: Client, make_user: Callable[..., User]) -> None:
    ada, bob = make_user("ada"), make_user("bob")
    way = f"/u/{bob.public_id}/block/"
    assert client.post(way, {"block": "yes"}).headers["Location"].startswith("/accounts/login/")
    log_in(client)
    assert client.get(way).status_code == 405
    for _ in range(2):
        assert client.post(way, {"block": "yes"}).status_code == 302
    assert async_to_sync(avoided)(f"u:{ada.pk}") == (f"u:{bob.pk}",)
    assert async_to_sync(avoided)(f"u:{bob.pk}") == async_to_sync(avoided)("g:guest") == ()
    assert "Let us meet again" in client.get(f"/u/{bob.public_id}/").content.decode()
    client.post(way, {"block": "no"})
    assert async_to_sync(avoided)(f"u:{ada.pk}") == ()
    client.post(f"/u/{ada.public_id}/block/", {"block": "yes"})
    assert not Block.objects.exists()


def test_nobody_drowns_staff_in_reports(client: Client, make_user: Callable[..., User]) -> None:
    bob = make_user("bob")
    answers = [
        client.post(f"/u/{bob.public_id}/report/", {"kind": kind})
        for kind in ("name", "cheating", "behaviour", "nonsense", "name", "cheating", "name")
    ]
    assert [answer.status_code for answer in answers] == [302, 302, 302, 200, 302, 302, 429]
    assert Report.objects.count() == 3
    cache.clear()
    assert client.post(f"/u/{bob.public_id}/report/", {"kind": "name", "text": "x" * 501}).status_code == 200
    assert client.get("/u/abcdefghijkl/report/").status_code == 404


def test_a_ban_ends_session_and_sockets_at_once(
    client: Client, boss: Client, make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    closed: list[str] = []
    monkeypatch.setattr("accounts.services.revoke", closed.append)
    bob = make_user("bob")
    client.force_login(bob)
    with django_capture_on_commit_callbacks(execute=True):
        assert act(boss, bob, "ban").status_code == 302
    assert closed == [f"u:{bob.pk}"]
    assert client.get("/").context["player"].is_guest
    assert client.get(f"/u/{bob.public_id}/").status_code == 404
    assert "closed already" in act(boss, bob, "ban").content.decode()
    act(boss, bob, "unban")
    assert client.get(f"/u/{bob.public_id}/").status_code == 200
    assert staff_did() == [f"{did} bob ({bob.public_id}): he swears" for did in ("banned", "let in again")]


def test_a_new_name_stands_in_old_matches_too(
    boss: Client, make_user: Callable[..., User], record: Callable[..., Any]
) -> None:
    from matches.services import match_finish

    ada, bob = make_user("ada"), make_user("bob", display_name="Rude Word")
    match_finish(record=record(left=f"u:{bob.pk}", right=f"u:{ada.pk}"))
    assert "Say the new name" in act(boss, bob, "rename").content.decode()
    assert "kept for the site" in act(boss, bob, "rename", name="admin").content.decode()
    act(boss, bob, "rename", name="Swift Otter")
    bob.refresh_from_db()
    assert bob.display_name == "Swift Otter"
    assert set(bob.seats.values_list("name", flat=True)) == {"Swift Otter"}
    assert staff_did() == [f"renamed, from 'Rude Word' to 'Swift Otter', bob ({bob.public_id}): he swears"]


def test_ratings_are_worked_out_again_with_the_very_same_result(
    boss: Client, make_user: Callable[..., User], record: Callable[..., Any]
) -> None:
    from matches.services import match_finish

    ada, bob = make_user("ada"), make_user("bob")
    assert "no rated match" in act(boss, bob, "recompute").content.decode()
    match_finish(record=record(left=f"u:{bob.pk}", right=f"u:{ada.pk}"))
    right = list(Rating.objects.order_by("pk").values_list("rating", "deviation"))
    RatingChange.objects.update(rating_after=9000)
    Rating.objects.update(rating=9000)
    act(boss, bob, "recompute")
    assert list(Rating.objects.order_by("pk").values_list("rating", "deviation")) == right
    assert len(staff_did()) == 1


def test_a_match_ends_and_nothing_is_noted_when_nobody_can_be_told(boss: Client, settings: Any) -> None:
    form = {"match": "abcDEF123456", "reason": "they cheat", "sure": "on"}
    assert boss.post(PLAYERS, form).status_code == 302
    with revocations._client() as valkey:
        assert [fields for _, fields in valkey.xrange(revocations.STREAM)] == [{b"identity": b"m:abcDEF123456"}]
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    assert "nothing was ended" in boss.post(PLAYERS, form).content.decode()
    assert staff_did() == ["ended the match abcDEF123456: they cheat"]
    assert boss.post(PLAYERS, form | {"match": "a b"}).context["form"].errors


REFUSED: list[dict[str, str]] = [
    {"sure": ""},
    {"reason": ""},
    {"reason": "no"},
    {"action": "delete"},
    {"name": "x" * 31},
]


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda wrong: next(iter(wrong.items())))
def test_what_is_half_said_is_not_done(boss: Client, make_user: Callable[..., User], wrong: dict[str, str]) -> None:
    bob = make_user("bob")
    assert act(boss, bob, **{"action": "ban", **wrong}).context["form"].errors
    bob.refresh_from_db()
    assert bob.is_active
    assert not staff_did()


def test_staff_are_not_banned_here_and_viewers_and_borrowed_sessions_do_nothing(
    boss: Client, make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, eve = make_user("bob"), make_user("eve", is_staff=True)
    assert "That is staff" in act(boss, eve, "ban").content.decode()
    User.objects.filter(username="grace").update(is_superuser=False)
    assert act(boss, bob, "ban").status_code == 403
    assert boss.post(PLAYERS, {"match": "abc", "reason": "xyz", "sure": "on"}).status_code == 403
    assert boss.get(f"{PLAYERS}{bob.public_id}/").status_code == 200
    User.objects.filter(username="grace").update(is_superuser=True)
    monkeypatch.setattr("allauth.account.app_settings.AppSettings.REAUTHENTICATION_TIMEOUT", 0)
    assert act(boss, bob, "ban").headers["Location"].startswith("/accounts/2fa/reauthenticate/")
    bob.refresh_from_db()
    assert bob.is_active
