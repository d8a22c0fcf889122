import logging
from collections.abc import Iterable
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final

from django.db import connection, transaction

from matches.models import EndReason, Match, Seat
from ratings.glicko import Strength
from ratings.models import Rating, RatingChange

logger = logging.getLogger(__name__)

PAIR_MAX: Final = 5  # rated matches of the same two within PAIR_WINDOW: two accounts of one person lift nobody far
PAIR_WINDOW: Final = timedelta(days=1)
PAIR_LOOKED_AT: Final = 100  # of the latest rated matches of one of them
BATCH: Final = 2000  # rows, an even number: a match has two
LOCK: Final = 0x72617465  # of pg_advisory_xact_lock: shared by those who rate a match, alone for a refold

Standings = dict[int, Rating]  # by the user's key


def match_rate(*, match: Match, seats: Iterable[Seat]) -> bool:
    """Rate a match that has just been stored; False when it is not one that counts.

    Within the transaction that stores it and holds the locks of its users: those make the order of matches' keys the
    order in which each of them is rated.
    """
    users = {seat.side: seat.user_id for seat in seats if seat.user_id is not None}
    if not _counts(match, users):
        return False
    _lock(shared=True)
    if _pair_count(match, users) >= PAIR_MAX:
        logger.info("match unrated, too many of these two", extra={"match": match.public_id})
        return False
    standings = {rating.pk: rating for rating in Rating.objects.filter(pk__in=users.values())}
    changes = [RatingChange(match=match, side=side, user_id=users[side]) for side in sorted(users)]
    _fold(changes, standings)
    RatingChange.objects.bulk_create(changes)
    _store(standings.values())
    return True


@transaction.atomic
def match_rate_again(*, match: Match, seats: Iterable[Seat]) -> None:
    """Rate a match whose result has been replaced, at its old place in the order, and what came after it."""
    _lock(shared=False)
    users = {seat.side: seat.user_id for seat in seats if seat.user_id is not None}
    old = list(RatingChange.objects.filter(match=match))
    counts = _counts(match, users) and (bool(old) or _pair_count(match, users) < PAIR_MAX)
    if not (old or counts):
        return
    RatingChange.objects.filter(match=match).delete()
    if counts:
        changes = [RatingChange(match=match, side=side, user_id=users[side]) for side in sorted(users)]
        _fold(changes, {})  # something to store; the refold has the standings
        RatingChange.objects.bulk_create(changes)
    ratings_refold(since=match, touched={change.user_id for change in old if change.user_id} | set(users.values()))


@transaction.atomic
def ratings_refold(*, since: Match | None = None, touched: Iterable[int] = ()) -> int:
    """Work out every change from the match `since` on again, from nothing without one; returns how many changes.

    Ends with the very numbers that rating match by match gave. `touched`: users whose standing is written even if
    they have no change any more. Results that end meanwhile wait.
    """
    _lock(shared=False)
    standings: Standings = {}
    known: set[int] = set()
    count, after = 0, since.pk - 1 if since else 0

    def meet(users: set[int]) -> None:
        if since is not None:
            standings.update(_standings_before(since, users - known))
        known.update(users)

    meet(set(touched))
    ordered = RatingChange.objects.select_related("match").order_by("match_id", "side")
    while rows := list(ordered.filter(match_id__gt=after)[:BATCH]):
        meet({change.user_id for change in rows if change.user_id})
        for _, changes in groupby(rows, key=attrgetter("match_id")):
            _fold(list(changes), standings)
        # Not bulk_update, whose statement has a case for each row and column: ten times slower
        RatingChange.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=_CHANGED)
        count, after = count + len(rows), rows[-1].match_id
    moved = Rating.objects.all() if since is None else Rating.objects.filter(pk__in=known)
    moved.delete()
    _store(standings.values())
    return count


_CHANGED = [
    "played",
    "rated_at",
    "rating_before",
    "deviation_before",
    "rating_after",
    "deviation_after",
    "volatility_after",
]


def _counts(match: Match, users: dict[int, int]) -> bool:
    """Two accounts, and one of them won; who leaves loses, but where both left, nobody did."""
    return len(set(users.values())) == 2 and match.winner is not None and match.end_reason != EndReason.ABANDONED


def _pair_count(match: Match, users: dict[int, int]) -> int:
    left, right = users[0], users[1]
    latest = RatingChange.objects.filter(user=left, match_id__lt=match.pk).order_by("-match_id")
    recent = latest.values_list("match_id", "rated_at")[:PAIR_LOOKED_AT]
    ids = [match_id for match_id, rated_at in recent if rated_at > match.finished_at - PAIR_WINDOW]
    return RatingChange.objects.filter(user=right, match_id__in=ids).count()


def _fold(changes: list[RatingChange], standings: Standings) -> None:
    """Fill in both changes of a match, and move `standings` on."""
    match = changes[0].match
    before: list[Strength] = []
    for change in changes:
        standing = standings.get(change.user_id) if change.user_id else None
        if standing is not None:
            before.append(standing.strength_at(match.finished_at))
        elif change.user_id:
            before.append(Strength())
        else:  # whoever it was has left; what they had then is written here
            before.append(Strength(change.rating_before, change.deviation_before))
    for change, own, opponent in zip(changes, before, reversed(before), strict=True):
        if not change.user_id:
            continue
        after = own.after_game(opponent, 1.0 if match.winner == change.side else 0.0)
        standing = standings.get(change.user_id)
        change.played = standing.played + 1 if standing else 1
        change.rated_at = max(standing.rated_at, match.finished_at) if standing else match.finished_at
        change.rating_before, change.deviation_before = own.rating, own.deviation
        change.rating_after, change.deviation_after = after.rating, after.deviation
        change.volatility_after = after.volatility
        standings[change.user_id] = _standing(change, change.user_id)


def _standing(change: RatingChange, user_id: int) -> Rating:
    """Where `change` left its user."""
    return Rating(
        user_id=user_id,
        rating=change.rating_after,
        deviation=change.deviation_after,
        volatility=change.volatility_after,
        played=change.played,
        rated_at=change.rated_at,
    )


def _standings_before(match: Match, users: Iterable[int]) -> Standings:
    last = (
        RatingChange.objects.filter(user=user, match_id__lt=match.pk).order_by("-match_id").first() for user in users
    )
    return {change.user_id: _standing(change, change.user_id) for change in last if change and change.user_id}


def _store(standings: Iterable[Rating]) -> None:
    Rating.objects.bulk_create(
        standings,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["user"],
        update_fields=["rating", "deviation", "volatility", "played", "rated_at"],
    )


def _lock(*, shared: bool) -> None:
    """Until the transaction ends. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock{'_shared' if shared else ''}(%s)", [LOCK])
