"""What staff do about players. Each needs a reason, and is an entry of the audit trail with it, or is not done."""

import logging
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.names import name_clean
from accounts.players import Player
from audit.models import Entry
from audit.services import note
from live.directory.revocations import ban, call_off, unban
from matches.models import Seat
from moderation.models import Block, Report
from ratings.models import RatingChange
from ratings.services import ratings_refold

logger = logging.getLogger(__name__)

OPEN_MAX: Final = 20  # reports by one and the same who wait
REFOLD_MAX: Final = 20_000  # changes of ratings that a page may wait for


@transaction.atomic
def report_create(
    *, about: User | None, player: Player, kind: str, text: str, guest: str = "", name: str = ""
) -> Report:
    """A complaint of `player`'s, about an account or a guest by id and name.

    One of the same kind that waits is written anew. ValidationError.
    """
    if about is not None and player.user == about:
        raise ValidationError(_("That is you."))
    own = Report.objects.filter(closed_at=None, by=player.user, guest_id=player.guest_id)
    if own.count() >= OPEN_MAX:
        raise ValidationError(_("Enough of your reports wait to be looked at."))
    report, _is_new = own.update_or_create(
        about=about,
        about_guest=guest,
        kind=kind,
        defaults={"text": text, "at": timezone.now(), "about_name": name},
        create_defaults={
            "text": text, "by": player.user, "guest_id": player.guest_id, "closed_at": None, "about_name": name,
        },
    )  # fmt: skip
    return report


def block_set(*, user: User, about: User, is_blocked: bool) -> None:
    """Let `user` never meet `about` in the lobby, or meet again. ValidationError."""
    if user == about:
        raise ValidationError(_("That is you."))
    if is_blocked:
        Block.objects.get_or_create(by=user, about=about)
    else:
        Block.objects.filter(by=user, about=about).delete()


@transaction.atomic
def reports_close(*, user: User, by: AbstractBaseUser, request: HttpRequest, reason: str) -> int:
    """Nothing more is to be done about what was said of `user`; returns how many reports that were."""
    count = Report.objects.filter(about=user, closed_at=None).update(closed_at=timezone.now())
    _note(by, request, f"closed {count} reports about", user, reason)
    return count


@transaction.atomic
def guest_act(*, guest: str, action: str, by: User, request: HttpRequest, reason: str) -> str:
    """Ban a guest, let it in again, or close what was said of it; a sentence that says so. Raises redis' errors."""
    if action == "close":
        count = Report.objects.filter(about_guest=guest, closed_at=None).update(closed_at=timezone.now())
        did, said = f"closed {count} reports about", f"{count} reports are closed."
    elif action == "ban":
        did, said = "banned", "This guest is banned."
    else:
        did, said = "let in again", "This guest may come in again."
    note(Entry.Kind.STAFF, user=by, request=request, what=f"{did} the guest {guest}: {reason}")
    if action != "close":  # last: what is not done is not written down
        (ban if action == "ban" else unban)(f"g:{guest}")
    return said


@transaction.atomic
def player_ban(*, user: User, by: AbstractBaseUser, request: HttpRequest, reason: str) -> None:
    """Close the account: its sessions and sockets end at once, its page and its place are gone. ValidationError."""
    user = _locked(user)
    if user.is_staff:
        raise ValidationError("That is staff: take the rights away in the administration first.")
    if not user.is_active:
        raise ValidationError("That account is closed already.")
    user.is_active = False
    user.save(update_fields=["is_active"])
    _note(by, request, "banned", user, reason)


@transaction.atomic
def player_unban(*, user: User, by: AbstractBaseUser, request: HttpRequest, reason: str) -> None:
    """Open the account again. ValidationError."""
    user = _locked(user)
    if user.is_active:
        raise ValidationError("That account is open.")
    user.is_active = True
    user.save(update_fields=["is_active"])
    _note(by, request, "let in again", user, reason)


@transaction.atomic
def player_rename(*, user: User, name: str, by: AbstractBaseUser, request: HttpRequest, reason: str) -> None:
    """Give the account another name, in the matches that it played as well. ValidationError."""
    name = name_clean(name)
    if not name:
        raise ValidationError("Say the new name.")
    user = _locked(user)
    before, user.display_name = user.name, name
    user.full_clean(exclude=["password"])
    user.save(update_fields=["display_name"])
    Seat.objects.filter(user=user).update(name=name)
    _note(by, request, f"renamed, from {before!r} to {name!r},", user, reason)


def rating_recompute(*, user: User, by: AbstractBaseUser, request: HttpRequest, reason: str) -> int:
    """Work out again what the matches of `user`, and all after the first of them, made of ratings. ValidationError."""
    first = RatingChange.objects.filter(user=user).order_by("match_id").select_related("match").first()
    if first is None:
        raise ValidationError("There is no rated match of this player.")
    if RatingChange.objects.filter(match_id__gte=first.match_id)[: REFOLD_MAX + 1].count() > REFOLD_MAX:
        raise ValidationError(
            "That is too much for a page: `matchpoint-manage recompute_ratings` on an app host does it."
        )
    with transaction.atomic():
        count = ratings_refold(since=first.match, touched={user.pk})
        _note(by, request, f"worked {count} ratings out again for", user, reason)
    return count


@transaction.atomic
def match_end(*, match_id: str, by: User, request: HttpRequest, reason: str) -> None:
    """Have the match end with no winner, unrated, within a second. Raises redis' errors, and then nothing is noted."""
    note(Entry.Kind.STAFF, user=by, request=request, what=f"ended the match {match_id}: {reason}")
    call_off(match_id)


def _locked(user: User) -> User:
    return User.objects.select_for_update().get(pk=user.pk)


def _note(by: AbstractBaseUser, request: HttpRequest, did: str, user: User, reason: str) -> None:
    assert isinstance(by, User)  # noqa: S101 - for the type
    what = f"{did} {user.get_username()} ({user.public_id}): {reason}"
    note(Entry.Kind.STAFF, user=by, request=request, what=what, on_staff=user.is_staff)
