"""Whatever opens an account, and whatever staff do, is noted once, without secrets."""

import logging
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from prometheus_client import REGISTRY

from accounts.models import User
from audit.models import Entry
from audit.services import staff_changed_look
from live.records import FinishedMatch
from matches.models import Seat
from matches.services import match_finish
from privacy.services import deletion_request
from ratings.models import Rating
from tests.app.django.steps import PASSWORD, log_in, proved, set_up_totp, totp_code

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def noted() -> list[tuple[str, str, str]]:
    return list(Entry.objects.order_by("pk").values_list("kind", "name", "what"))


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    user = make_user(email="ada@example.com")
    EmailAddress.objects.create(user=user, email="ada@example.com", verified=True, primary=True)
    return user


def test_the_life_of_an_account_is_noted(owner: User, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(REMOTE_ADDR="198.51.100.7")
    with caplog.at_level(logging.INFO, "audit"):
        log_in(client, password="a wrong horse")
    log_in(client, "my own password")
    log_in(client, "ada@example.com")
    proved(client)
    client.post("/accounts/email/", {"action_add": "", "email": "new@example.com"})
    client.post("/accounts/email/", {"action_remove": "", "email": "new@example.com"})
    set_up_totp(client)
    new = {"password1": "a better horse 43", "password2": "a better horse 43"}
    client.post("/accounts/password/change/", {"oldpassword": PASSWORD, **new})
    assert noted() == [
        ("login-failed", "ada", ""),
        ("login-failed", "", "no such account"),
        ("login", "ada", ""),
        ("address", "ada", "added new@example.com"),
        ("address", "ada", "removed new@example.com"),
        ("factor", "ada", "added totp"),
        ("factor", "ada", "added recovery_codes"),
        ("logout", "ada", ""),
        ("password", "ada", ""),
    ]
    assert set(Entry.objects.values_list("address", flat=True)) == {"198.51.100.7"}
    line = next(record for record in caplog.records if record.message == "audit")
    assert (vars(line)["kind"], vars(line)["user"], vars(line)["address"]) == ("login-failed", "ada", "198.51.100.7")
    everything = "".join(map(str, Entry.objects.values_list()))
    assert not any(secret in everything for secret in (PASSWORD, "wrong horse", "better horse", "my own password"))


@pytest.fixture
def staff(client: Client, make_user: Callable[..., User]) -> Client:
    """Grace, who just proved her second factor."""
    TOTP.activate(make_user("grace", is_staff=True, is_superuser=True), SECRET)
    log_in(client, "grace")
    client.post("/accounts/2fa/authenticate/", {"code": totp_code(SECRET)})
    client.post("/accounts/2fa/reauthenticate/", {"code": totp_code(SECRET, step=1)})
    proved(client)
    return client


def delete_selected(client: Client, *users: User, **fields: str) -> Any:
    keys = [user.pk for user in users]
    return client.post("/admin/accounts/user/", {"action": "delete_selected", "_selected_action": keys, **fields})


def test_what_staff_do_is_noted_and_can_be_read_and_not_changed(staff: Client, make_user: Callable[..., User]) -> None:
    client, player = staff, make_user("bob")
    client.post(f"/admin/accounts/user/{player.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(username="bob").exists()
    kind, name, what = noted()[-1]
    assert (kind, name) == ("staff", "grace")
    assert what.startswith("Deletion: Accounts | user bob")

    page = client.get("/admin/audit/entry/", {"q": "grace"})
    assert "Deletion: Accounts | user bob" in page.content.decode()
    entry = Entry.objects.get(kind="staff")
    assert client.post(f"/admin/audit/entry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"/admin/audit/entry/{entry.pk}/change/", {"what": "nothing"}).status_code == 403


def test_every_account_that_staff_delete_at_once_is_noted(staff: Client, make_user: Callable[..., User]) -> None:
    users = [make_user(name) for name in ("ada", "bea", "bob")]
    delete_selected(staff, *users, post="yes")
    assert list(User.objects.values_list("username", flat=True)) == ["grace"]
    deletions = {what.rstrip(". ") for kind, name, what in noted() if (kind, name) == ("staff", "grace")}
    assert deletions == {f"Deletion: Accounts | user {user}" for user in users}
    assert LogEntry.objects.count() == 3


@pytest.mark.parametrize("at_once", [False, True], ids=["on its page", "in the list"])
def test_staff_delete_a_rated_player_as_the_player_would(
    staff: Client, make_user: Callable[..., User], record: Callable[..., FinishedMatch], at_once: bool
) -> None:
    ada, bea = make_user("ada"), make_user("bea")
    match_finish(record=record(left=f"u:{ada.pk}", right=f"u:{bea.pk}"))
    for user in (ada, bea):
        deletion_request(user=user)
    assert Rating.objects.count() == 2

    if at_once:
        page = delete_selected(staff, ada, bea)
        delete_selected(staff, ada, bea, post="yes")
    else:
        page = staff.get(f"/admin/accounts/user/{ada.pk}/delete/")
        for user in (ada, bea):
            staff.post(f"/admin/accounts/user/{user.pk}/delete/", {"post": "yes"})
    assert not page.context["perms_lacking"]
    assert not User.objects.exclude(username="grace").exists()
    assert set(Seat.objects.values_list("name", "user")) == {("Deleted player", None)}
    assert [kind for kind, *_ in noted()].count("staff") == 2


def test_who_may_not_delete_second_factors_deletes_no_account_with_one(
    staff: Client, make_user: Callable[..., User]
) -> None:
    grace, bob = User.objects.get(), make_user("bob")
    User.objects.update(is_superuser=False)
    grace.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "delete_user"]))
    TOTP.activate(bob, SECRET)
    assert delete_selected(staff, bob, post="yes").status_code == 403
    assert staff.post(f"/admin/accounts/user/{bob.pk}/delete/", {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=bob.pk).exists()


def test_an_administrator_made_on_the_host_is_noted(owner: User) -> None:
    for name, email in (("grace", "grace@example.com"), ("grace", "grace@example.com"), ("ada", "ada@example.com")):
        call_command("create_staff", username=name, email=email, stdout=StringIO())
    with pytest.raises(CommandError):
        call_command("create_staff", username="eve", email="ada@example.com")
    assert noted() == [
        ("staff", "grace", "created by manage.py create_staff"),
        ("staff", "ada", "promoted by manage.py create_staff"),
    ]


def test_a_wrong_code_is_noted(client: Client, owner: User) -> None:
    TOTP.activate(owner, SECRET)
    log_in(client)
    client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert [kind for kind, *_ in noted()] == ["factor-failed"]


def changed_at() -> float:
    staff_changed_look()
    return REGISTRY.get_sample_value("matchpoint_staff_changed_timestamp_seconds") or 0


def test_every_change_of_a_staff_account_is_told_to_the_monitoring(
    staff: Client, owner: User, make_user: Callable[..., User]
) -> None:
    grace, bob = User.objects.get(username="grace"), make_user("bob")
    Entry.objects.all().delete()
    assert changed_at() == 0
    TOTP.activate(bob, SECRET)
    group = Group.objects.create(name="on call")
    page = f"/admin/accounts/user/{bob.pk}/change/"
    form = {"username": "bob", "is_active": "on"}
    passwords = {"password1": "a better horse 43", "password2": "a better horse 43"}
    for path, fields, counts in (
        (page, form | {"display_name": "Bobby"}, False),
        (f"/admin/accounts/user/{bob.pk}/password/", passwords, False),
        (page, form | {"is_staff": "on"}, True),
        (f"/admin/accounts/user/{bob.pk}/password/", passwords | {"password2": "a better horse 43"}, True),
        (f"/admin/mfa/authenticator/{Authenticator.objects.get(user=bob).pk}/delete/", {"post": "yes"}, True),
        (page, form, True),  # and no more staff
        (f"/admin/auth/group/{group.pk}/change/", {"name": "off call"}, True),
    ):
        Entry.objects.all().delete()
        response = staff.post(path, fields)
        assert response.status_code == 302, response.context["errors"]
        assert Entry.objects.filter(name="grace", address="127.0.0.1").exists()
        assert (changed_at() > 0) is counts, (path, fields)
    Entry.objects.all().delete()
    staff.post("/accounts/password/change/", {"oldpassword": PASSWORD, **passwords})
    assert changed_at() > 0
    grace.refresh_from_db()
    assert grace.check_password(passwords["password1"])
    Entry.objects.all().delete()
    log_in(Client(), password="a wrong horse")
    assert changed_at() == 0
    call_command("create_staff", username="zoe", email="zoe@example.com", stdout=StringIO())
    assert changed_at() > 0


def test_what_operators_do_is_noted_with_who_they_are() -> None:
    call_command("audit_note", "deploy", "make deploy BREAKING=1", "--who", "ada@laptop")
    assert noted() == [("deploy", "ada@laptop", "make deploy BREAKING=1 [dev]")]
    for kind, who, what in (("login", "ada@laptop", "x"), ("deploy", " ", "x"), ("deploy", "ada@laptop", "")):
        with pytest.raises(CommandError):
            call_command("audit_note", kind, what, "--who", who)
    assert Entry.objects.count() == 1
