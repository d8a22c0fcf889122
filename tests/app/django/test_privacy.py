"""What people may ask for: to know, to take along, to be forgotten."""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db.models import ProtectedError
from django.db.models.signals import pre_delete
from django.test import Client
from django.utils import timezone

from accounts.models import User
from audit.models import Entry
from live.records import FinishedMatch
from matches.models import Match, Seat
from matches.services import match_finish
from moderation.models import Report
from privacy.export import file_name, relations
from privacy.models import Deletion
from privacy.services import deletion_request
from ratings.models import RatingChange
from tests.app.django.steps import delivered, log_in, proved

pytestmark = pytest.mark.django_db

Record = Callable[..., FinishedMatch]


@pytest.fixture
def ada(client: Client, make_user: Callable[..., User], record: Record) -> User:
    """A user with rows in many models, logged in with her password."""
    ada = make_user("ada", email="ada@example.com", display_name="Countess")
    bea = make_user("bea", email="bea@example.com")
    EmailAddress.objects.create(user=ada, email="ada@example.com", verified=True, primary=True)
    ada.groups.add(Group.objects.create(name="umpires"))
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(user=ada, content_type=kind, object_id="1", object_repr="x", action_flag=2)
    match = record("abc", left=f"u:{ada.pk}", right=f"u:{bea.pk}")
    match_finish(record=match)
    Seat.objects.filter(user=ada).update(name="Countess")
    log_in(client, "bea")  # her session stays
    client.cookies.clear()
    log_in(client, "ada")
    return ada


def files_of(answer: Any) -> dict[str, bytes]:
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    return {name: archive.read(name) for name in archive.namelist()}


def rows_naming(user_pk: int, *words: str) -> list[str]:
    """Rows of any model that belong to the user, or have one of the words in a text."""
    found = []
    for model in apps.get_models():
        for instance in model._default_manager.all():
            for field in model._meta.concrete_fields:
                value = field.value_from_object(instance)
                is_theirs = field.related_model is User and value == user_pk
                is_named = isinstance(value, str) and any(word in value.lower() for word in words)
                if is_theirs or is_named or (model is User and value == user_pk and field.primary_key):
                    found.append(f"{model._meta.label}.{field.name}")
            if isinstance(instance, Session) and instance.get_decoded().get("_auth_user_id") == str(user_pk):
                found.append("sessions.Session")
    return found


def test_the_archive_has_every_row_about_somebody_and_no_secret(client: Client, ada: User) -> None:
    Authenticator.objects.create(user=ada, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
    deletion_request(user=ada)
    bea = User.objects.get(username="bea")
    Report.objects.create(about=bea, by=ada, kind="name", text="what ada says")
    Report.objects.create(about=ada, by=bea, kind="name", text="what bea says")
    files = files_of(client.post("/privacy/export/"))
    account = json.loads(files["account.json"])
    assert (account["username"], account["email"], account["groups"]) == ("ada", "ada@example.com", ["umpires"])
    for relation in relations():  # whatever models there are
        model = relation.related_model
        told = json.loads(files[f"{file_name(relation)}.json"])
        rows = model._default_manager.filter(**{relation.field.name: ada})
        assert [row[model._meta.pk.attname] for row in told] == list(rows.order_by("pk").values_list("pk", flat=True))
    assert {"matches.Seat.json", "ratings.Rating.json", "ratings.RatingChange.json", "mfa.Authenticator.json"} <= set(
        files
    )
    (seat,) = json.loads(files["matches.Seat.json"])
    assert (seat["match"]["public_id"], seat["match"]["score_left"]) == ("abc", 7)
    assert files["timelines/abc.json.gz"] == bytes(Match.objects.get().timeline.events_gzip)
    everything = b"".join(files.values())
    assert b"JBSWY3DPEHPK3PXP" not in everything
    assert ada.password.encode() not in everything
    assert b"bea@example.com" not in everything
    assert b"what ada says" in files["moderation.Report.by.json"]
    assert b"what bea says" not in everything


def test_a_guest_takes_along_what_the_cookie_played_and_reported(
    client: Client, guest_id: str, record: Record, make_user: Callable[..., User]
) -> None:
    match_finish(record=record("mine", left=f"g:{guest_id}"))
    match_finish(record=record("foreign", left="g:other"))
    bea = make_user("bea")
    for guest, text in ((guest_id, "what I said"), ("other", "what another said")):
        Report.objects.create(about=bea, guest_id=guest, kind="name", text=text)
    Report.objects.create(about_guest=guest_id, by=bea, kind="cheating", text="what bea says")
    files = files_of(client.post("/privacy/export/"))
    assert [report["text"] for report in json.loads(files["moderation.Report.by.json"])] == ["what I said"]
    assert [seat["match"]["public_id"] for seat in json.loads(files["matches.Seat.json"])] == ["mine"]
    [about] = json.loads(files["moderation.Report.about.json"])
    assert about["kind"] == "cheating"
    assert "what bea says" not in str(files)
    assert "timelines/foreign.json.gz" not in files
    for _ in range(5):
        answer = client.post("/privacy/export/", follow=True)
    assert "often enough" in answer.content.decode()
    assert client.get("/privacy/export/").status_code == 405


def test_an_account_goes_after_the_grace_and_leaves_nothing_but_matches(client: Client, ada: User) -> None:
    ada_pk = ada.pk
    proved(client)
    assert client.post("/privacy/delete/").headers["Location"] == "/privacy/"
    (told,) = delivered()
    assert told.to == ["ada@example.com"]
    assert "will be deleted on" in told.body
    assert "Keep my account" in client.get("/privacy/").content.decode()

    call_command("housekeeping")
    assert User.objects.filter(pk=ada_pk).exists(), "the grace is not over"
    client.post("/privacy/keep/")
    assert not Deletion.objects.exists()

    Authenticator.objects.create(user=ada, type="totp", data={"secret": "JBSWY3DPEHPK3PXP"})
    deletion_request(user=ada)
    Deletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert len(rows_naming(ada_pk, "ada@example.com", "countess")) > 8
    call_command("housekeeping")
    assert rows_naming(ada_pk, "ada@example.com", "countess") == []
    assert [seat.name for seat in Seat.objects.order_by("side")] == ["Deleted player", "Right Player"]
    assert RatingChange.objects.count() == 2
    assert Session.objects.count() == 1, "bea is still logged in"
    call_command("recompute_ratings")
    assert client.get("/privacy/").context["player"].is_guest
    call_command("housekeeping")  # again: nothing is left to do


def test_an_account_that_cannot_be_deleted_holds_nothing_up(make_user: Callable[..., User]) -> None:
    stuck, other = make_user("stuck"), make_user("other")
    for user in (stuck, other):
        deletion_request(user=user)
    Deletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    Session.objects.create(session_key="stale", session_data="x", expire_date=timezone.now() - timedelta(days=1))

    def refuse(instance: User, **_: Any) -> None:
        if instance.pk == stuck.pk:
            raise ProtectedError("still needed", {instance})

    pre_delete.connect(refuse, sender=User)
    try:
        with pytest.raises(CommandError, match="1 account could not"):
            call_command("housekeeping")
    finally:
        pre_delete.disconnect(refuse, sender=User)
    assert list(User.objects.all()) == [stuck]
    assert not Session.objects.exists()
    call_command("housekeeping")
    assert not User.objects.exists()


def test_what_is_known_of_a_session_goes_with_it(client: Client, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privacy.services.BATCH", 2)
    for number in range(5):
        UserSession.objects.create(user=ada, ip="192.0.2.1", session_key=f"gone{number}")
    call_command("housekeeping")
    assert UserSession.objects.filter(user=ada).get().session_key == client.session.session_key


def test_the_trail_of_logins_is_kept_for_a_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privacy.services.BATCH", 2)
    for days in (1, 364, *range(368, 373)):
        Entry.objects.create(kind="login", name=str(days), at=timezone.now() - timedelta(days=days))
    call_command("housekeeping")
    assert set(Entry.objects.values_list("name", flat=True)) == {"1", "364"}


def test_deleting_needs_an_account_and_a_password_given_lately(client: Client, user: User) -> None:
    assert client.post("/privacy/delete/").headers["Location"].startswith("/accounts/login/")
    client.force_login(user)
    assert client.post("/privacy/delete/").headers["Location"].startswith("/accounts/reauthenticate/")
    assert not Deletion.objects.exists()
    assert client.get("/privacy/keep/").status_code == 405


def test_guests_are_forgotten_after_a_year_or_when_they_ask(
    client: Client,
    guest_id: str,
    record: Record,
    make_user: Callable[..., User],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("privacy.services.BATCH", 2)
    now = timezone.now()
    bea = make_user("bea")
    for guest, days in (("ancient", 366), (guest_id, 3)):
        Report.objects.create(about_guest=guest, kind="name", at=now - timedelta(days=days))
    for guest, days in (("old", 366), ("young", 364), (guest_id, 3)):
        Report.objects.create(about=bea, guest_id=guest, kind="name", at=now - timedelta(days=days))

    def play(match_id: str, guest: str, days: int) -> None:
        at = now - timedelta(days=days)
        match_finish(record=record(match_id, left=f"g:{guest}", started_at=at, finished_at=at))

    for number in range(5):
        play(f"old{number}", "somebody", 366)
    play("young", "somebody", 364)
    play("mine", guest_id, 3)
    Session.objects.create(session_key="stale", session_data="x", expire_date=now - timedelta(days=1))
    call_command("housekeeping")
    left = dict(Seat.objects.exclude(guest_id="").values_list("match__public_id", "name"))
    assert left == {"young": "Left Player", "mine": "Left Player"}
    assert Seat.objects.filter(name="Guest").count() == 5
    assert set(Report.objects.values_list("guest_id", flat=True)) == {"", "young", guest_id}
    assert not Session.objects.exists()

    client.post("/privacy/forget/")
    assert not Seat.objects.filter(guest_id=guest_id).exists()
    assert not Report.objects.filter(guest_id=guest_id).exists()
    assert set(Report.objects.values_list("about_guest", flat=True)) == {""}
    assert client.cookies["mp_guest"].value == "" or client.cookies["mp_guest"]["max-age"] == 0


def test_the_operator_is_named_as_the_settings_say(client: Client, settings: Any) -> None:
    settings.IMPRINT, settings.CONTACT = ["Ada & Co", "1 Court Road"], "hello@example.com"
    settings.BACKUP_DAYS = 35
    for path in ("/imprint/", "/privacy/"):
        page = client.get(path).content.decode()
        assert "Ada &amp; Co<br>1 Court Road" in page
        assert 'href="mailto:hello@example.com"' in page
    assert "up to 35 days" in page
    settings.IMPRINT, settings.BACKUP_DAYS = [], 0
    page = client.get("/privacy/").content.decode()
    assert "has not said who they are" in page
    assert "backups" not in page


def test_machines_find_what_they_look_for(client: Client) -> None:
    robots = client.get("/robots.txt")
    assert robots.headers["Content-Type"] == "text/plain"
    assert "Disallow: /m/\n" in robots.content.decode()
    assert client.get("/.well-known/change-password").headers["Location"] == "/accounts/password/change/"


def test_who_finds_a_hole_is_told_where_to_write_if_anybody_reads_it(client: Client, settings: Any) -> None:
    assert client.get("/.well-known/security.txt").status_code == 404
    settings.SECURITY_CONTACT = "mailto:security@example.com"
    response = client.get("/.well-known/security.txt")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    told = dict(line.split(": ", 1) for line in response.content.decode().splitlines())
    assert told["Contact"] == "mailto:security@example.com"
    assert told["Canonical"] == "http://testserver/.well-known/security.txt"
    left = datetime.fromisoformat(told["Expires"]) - timezone.now()
    assert timedelta(days=30) < left < timedelta(days=365)
    manifest = client.get("/manifest.webmanifest", headers={"accept-language": "de"})
    assert manifest.headers["Content-Type"] == "application/manifest+json"
    told = manifest.json()
    assert (told["lang"], told["start_url"], told["display"]) == ("de", "/", "standalone")
    assert "Freund" in told["description"]
    assert 'rel="manifest" href="/manifest.webmanifest"' in client.get("/").content.decode()


def test_icons_are_as_large_as_the_manifest_says(client: Client, settings: Any) -> None:
    for icon in client.get("/manifest.webmanifest").json()["icons"]:
        data = (settings.STATICFILES_DIRS[0] / icon["src"].removeprefix("/static/")).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        assert icon["sizes"] == f"{width}x{height}"
