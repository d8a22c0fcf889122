from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q, QuerySet

from accounts.models import User
from matches.models import Match, Seat
from ratings.models import PROVISIONAL_OVER, Rating, RatingChange

PAGE_SIZE: Final = 50
RECENT: Final = 100  # matches that a profile looks at
OPPONENTS: Final = 6


def rating_of(user: User) -> Rating | None:
    """None before the first rated match."""
    return Rating.objects.filter(user=user).first()


@dataclass(frozen=True, slots=True)
class Page:
    """Part of the leaderboard: `entries` from rank `first` on; `after` is where the next part begins, if any."""

    entries: list[Rating]
    first: int
    after: str | None


def _ranked() -> QuerySet[Rating]:
    """Those who have a place: whoever was no longer provisional after the last rated match, and is not banned."""
    return Rating.objects.filter(deviation__lte=PROVISIONAL_OVER, user__is_active=True)


def _above(rating: Rating) -> Q:
    return Q(rating__gte=rating.rating) & (Q(rating__gt=rating.rating) | Q(user__lt=rating.pk))


def leaderboard_page(*, after: str = "") -> Page | None:
    """The best players, or those below the one with the public id `after`. None when that one never had a place.

    Each page is read from the index where it begins, so that the last costs what the first does.
    """
    ranked, first = _ranked(), 1
    if after:
        found = Rating.objects.filter(deviation__lte=PROVISIONAL_OVER, user__public_id=after)
        last = found.select_related("user").first()  # who may have been banned since the page that ends with them
        if last is None:
            return None
        below = Q(rating__lte=last.rating) & (Q(rating__lt=last.rating) | Q(user__gt=last.pk))
        first = ranked.filter(_above(last)).count() + last.user.is_active + 1
        ranked = ranked.filter(below)
    entries = list(ranked.select_related("user").order_by("-rating", "user")[: PAGE_SIZE + 1])
    is_more = len(entries) > PAGE_SIZE
    entries = entries[:PAGE_SIZE]
    return Page(entries, first, entries[-1].user.public_id if is_more else None)


def leaderboard_rank(rating: Rating) -> int | None:
    """The place of a player, from 1; None without one."""
    if rating.deviation > PROVISIONAL_OVER:
        return None
    return _ranked().filter(_above(rating)).count() + 1


def recent_changes(user: User) -> list[RatingChange]:
    """The latest rated matches, oldest first."""
    return list(RatingChange.objects.filter(user=user).order_by("-match_id")[:RECENT])[::-1]


@dataclass(frozen=True, slots=True)
class Game:
    """A match as one of its players sees it. `opponent` is None when the account is gone, or there never was one."""

    match: Match
    side: int
    opponent: User | None
    opponent_name: str
    is_machine: bool

    @property
    def is_won(self) -> bool:
        return self.match.winner == self.side

    @property
    def score(self) -> tuple[int, int]:
        """Own points first."""
        own, other = self.match.score if self.side == 0 else reversed(self.match.score)
        return own, other

    @property
    def finished_at(self) -> datetime:
        return self.match.finished_at


def recent_games(user: User) -> list[Game]:
    """The latest matches of `user`, newest first."""
    own = list(Seat.objects.filter(user=user).order_by("-match_id").select_related("match")[:RECENT])
    others = {
        seat.match_id: seat
        for seat in Seat.objects.filter(match_id__in=[seat.match_id for seat in own]).select_related("user")
        if seat.user_id != user.pk
    }
    games = []
    for seat in own:
        other = others.get(seat.match_id)
        games.append(
            Game(
                match=seat.match,
                side=seat.side,
                opponent=other.user if other and other.user and other.user.is_active else None,
                opponent_name=other.name if other else "",
                is_machine=other is not None and other.kind == Seat.Kind.AI,
            )
        )
    return games


@dataclass(slots=True)
class Opponent:
    user: User
    won: int = 0
    lost: int = 0


def head_to_head(games: Iterable[Game]) -> list[Opponent]:
    """Whom one met most, among those with an account."""
    opponents: dict[int, Opponent] = {}
    for game in games:
        if game.opponent is not None and game.match.winner is not None:
            entry = opponents.setdefault(game.opponent.pk, Opponent(game.opponent))
            entry.won += game.is_won
            entry.lost += not game.is_won
    return sorted(opponents.values(), key=lambda one: -(one.won + one.lost))[:OPPONENTS]
