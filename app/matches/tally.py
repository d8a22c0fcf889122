"""Counters of matches played and won. The seats are the truth: a tally that is missing is counted from them.

They are kept in the transaction that stores a result. Workers of a release that knows no tallies may pass one by while
two releases serve; the next night's housekeeping, or `manage.py recount_matches`, finds it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from accounts.models import User
from matches.models import Match, Seat, Tally

BATCH: Final = 100  # users whose results wait while they are counted


def tally_add(*, match: Match, seats: Iterable[Seat]) -> None:
    """Count the match for those who have `seats`. Their rows are locked by the caller."""
    won = {seat.user_id: int(seat.side == match.winner) for seat in seats if seat.user_id is not None}
    for user_pk in sorted(won):
        if not Tally.objects.filter(pk=user_pk).update(played=F("played") + 1, won=F("won") + won[user_pk]):
            tallies_recount([user_pk])


def tally_forget(*, seats: QuerySet[Seat]) -> None:
    """Have those who have `seats` counted anew, because a result is replaced."""
    Tally.objects.filter(user__in=seats.exclude(user=None).values("user")).delete()


@transaction.atomic
def tallies_recount(users: Iterable[int]) -> int:
    """Count the matches of `users`, by their keys; returns how many tallies were wrong or missing."""
    # As whoever stores a result locks them: nothing is added between the count and what is written
    locked = User.objects.select_for_update(no_key=True).filter(pk__in=list(users)).order_by("pk")
    keys = list(locked.values_list("pk", flat=True))
    seats = Seat.objects.filter(user__in=keys).order_by().values_list("user")
    counted = {
        user: (played, won)
        for user, played, won in seats.annotate(played=Count("pk"), won=Count("pk", filter=Q(match__winner=F("side"))))
    }
    known = {tally.pk: (tally.played, tally.won) for tally in Tally.objects.filter(pk__in=keys)}
    wrong = [key for key in keys if known.get(key, (0, 0)) != counted.get(key, (0, 0))]
    rows = [Tally(user_id=key, played=played, won=won) for key in wrong for played, won in [counted.get(key, (0, 0))]]
    Tally.objects.bulk_create(rows, update_conflicts=True, unique_fields=["user"], update_fields=["played", "won"])
    return len(rows)


def tallies_recount_all() -> int:
    """As `tallies_recount`, of everybody, some at a time."""
    return sum(map(tallies_recount, _batches()))


def _batches() -> Iterator[list[int]]:
    after = 0
    while keys := list(User.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield keys
        after = keys[-1]
