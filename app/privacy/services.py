"""What people decide about their data, and what time decides. Each of these may run again, or stop in the middle."""

import logging
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from accounts.models import User
from accounts.players import GUEST_MAX_AGE_S
from audit.models import Entry
from matches.models import Seat
from moderation.models import Report
from privacy.models import Deletion

logger = logging.getLogger(__name__)

# What stands where a name was, in the language of the database: "Computer" is there as well
DELETED_NAME: Final = "Deleted player"
EXPIRED_NAME: Final = "Guest"
AUDIT_KEPT: Final = timedelta(days=367)  # the database keeps a year by its own clock, and a leap year is one
BATCH: Final = 1000  # rows of a statement: it must end long before the database's limit


def deletion_request(*, user: User) -> Deletion | None:
    """Have the account deleted when the grace is over. None when that was asked for before, which changes nothing."""
    now = timezone.now()
    due_at = now + timedelta(days=settings.DELETION_DAYS)
    deletion, is_new = Deletion.objects.get_or_create(user=user, defaults={"requested_at": now, "due_at": due_at})
    if not is_new:
        return None
    logger.info("deletion requested", extra={"user": user.pk, "due": due_at.date()})
    return deletion


def deletion_cancel(*, user: User) -> bool:
    """Keep the account. False when nobody wanted it deleted."""
    deleted, _ = Deletion.objects.filter(user=user).delete()
    if deleted:
        logger.info("deletion cancelled", extra={"user": user.pk})
    return deleted > 0


@transaction.atomic
def account_delete(*, user: User) -> None:
    """Delete the account now, with all that is about it. Its matches stay for their opponents, without the name."""
    user_pk = user.pk
    Seat.objects.filter(user=user).update(name=DELETED_NAME)
    user.delete()
    logger.info("account deleted", extra={"user": user_pk})


def accounts_delete_due(*, now: datetime) -> tuple[int, int]:
    """Delete the accounts whose grace is over, and their sessions; returns how many went, and how many could not."""
    gone, failed = set(), 0
    for pk in list(Deletion.objects.filter(due_at__lte=now).order_by("due_at").values_list("pk", flat=True)):
        try:
            if _account_delete_due(pk, now):
                gone.add(str(pk))
        except Exception:  # whatever it is, the others go
            logger.exception("account could not be deleted", extra={"user": pk})
            failed += 1
    if gone:
        _sessions_end(gone)
    return len(gone), failed


@transaction.atomic
def _account_delete_due(pk: int, now: datetime) -> bool:
    # Locked, because its owner may keep it at this very moment
    deletion = Deletion.objects.select_for_update().filter(pk=pk, due_at__lte=now).first()
    if deletion is not None:
        account_delete(user=deletion.user)
    return deletion is not None


def _sessions_end(users: set[str]) -> None:
    """Remove the sessions of `users`, as strings of their keys: they open nothing any more, but they name them."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    for session in Session.objects.all().iterator(BATCH):
        if session.get_decoded().get(SESSION_KEY) in users:
            store(session.session_key).delete()


def guest_forget(*, guest_id: str) -> int:
    """Take the name and the number of a guest off their matches, and off what they reported; returns of how many."""
    Report.objects.filter(guest_id=guest_id).update(guest_id="")
    Report.objects.filter(about_guest=guest_id).delete()
    return _seats_forget(Seat.objects.filter(user=None, guest_id=guest_id))


def guests_expire(*, now: datetime) -> int:
    """As `guest_forget`, of matches so old that no browser can still have the cookie of who played them."""
    before = now - timedelta(seconds=GUEST_MAX_AGE_S)
    Report.objects.exclude(guest_id="").filter(at__lt=before).update(guest_id="")
    Report.objects.exclude(about_guest="").filter(at__lt=before).delete()
    return _seats_forget(Seat.objects.exclude(guest_id="").filter(match__finished_at__lt=before))


def _seats_forget(seats: QuerySet[Seat]) -> int:
    count = 0
    while keys := list(seats.values_list("pk", flat=True)[:BATCH]):
        count += Seat.objects.filter(pk__in=keys).update(guest_id="", name=EXPIRED_NAME)
    return count


def sessions_expire(*, now: datetime) -> int:
    """Remove sessions that are over, and from which address and browser those were that are there no more."""
    count = _delete(Session.objects.filter(expire_date__lt=now))
    _delete(UserSession.objects.exclude(Exists(Session.objects.filter(pk=OuterRef("session_key")))))
    return count


def audit_expire(*, now: datetime) -> int:
    return _delete(Entry.objects.filter(at__lt=now - AUDIT_KEPT).order_by("at"))


def _delete(rows: QuerySet[Any]) -> int:
    count = 0
    while keys := list(rows.values_list("pk", flat=True)[:BATCH]):
        count += rows.model._default_manager.filter(pk__in=keys).delete()[0]
    return count
