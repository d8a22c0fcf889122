from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from django.db.models import Count, F, FilteredRelation, Prefetch, Q, QuerySet

from matches.models import Match, Seat, Tally
from matches.timelines import replay

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    from accounts.models import User
    from accounts.players import Player
    from live.directory.model import Standing
    from live.records import MatchSpec

Summary = dict[str, Any]


class Own(TypedDict):
    own_side: int
    rating_before: float | None
    rating_after: float | None


@dataclass(frozen=True, slots=True)
class Record:
    played: int
    won: int


def matches_of(player: "Player") -> "QuerySet[WithAnnotations[Match, Own]]":
    """The finished matches of `player`, newest first, with their seats.

    `own_side` is the player's side, `rating_before` and `rating_after` are None of a match that was not rated.
    """
    own = Q(seats__user=player.user) if player.user else Q(seats__user=None, seats__guest_id=player.guest_id)
    change = Q(rating_changes__user=player.user) if player.user else Q(rating_changes__pk=None)
    return (
        Match.objects.annotate(
            own=FilteredRelation("seats", condition=own), change=FilteredRelation("rating_changes", condition=change)
        )
        .filter(own__isnull=False)
        .annotate(
            own_side=F("own__side"), rating_before=F("change__rating_before"), rating_after=F("change__rating_after")
        )
        .prefetch_related(Prefetch("seats", Seat.objects.select_related("user")))
    )


def record_of(*, user: "User") -> Record:
    tally = Tally.objects.filter(pk=user.pk).first()
    if tally is not None:
        return Record(tally.played, tally.won)
    counts = Seat.objects.filter(user=user).aggregate(
        played=Count("pk"), won=Count("pk", filter=Q(match__winner=F("side")))
    )
    return Record(**counts)


async def match_summary(match_id: str, *, player: "Player") -> Summary | None:
    """The answer of `GET /api/matches/<id>` for `player`: from the directory while it is played, then the database.

    In this order, because a result is stored before the directory forgets the match: it is always in one of them.
    `you` is the caller's own side or None. None when there is no such match.
    """
    # Imported late: matches.models must be usable without the live server's dependencies.
    from live.directory import get_directory

    directory = get_directory()
    spec = await directory.matches.get(match_id)
    if spec is not None:
        return _live(spec, await directory.matches.standing(match_id), player)
    match = await Match.objects.prefetch_related("seats", "rating_changes").filter(public_id=match_id).afirst()
    return _finished(match, player) if match is not None else None


async def match_replay(match_id: str) -> Summary | None:
    """The match from its beginning, as docs/replays.md describes it; None unless it is finished."""
    stored = Match.objects.select_related("timeline").prefetch_related("seats")
    match = await stored.filter(public_id=match_id, timeline__isnull=False).afirst()
    return replay(match) if match is not None else None


def _finished(match: Match, player: "Player") -> Summary:
    players: list[Summary | None] = [None, None]
    you = None
    for seat in match.seats.all():
        players[seat.side] = {"side": seat.side, "kind": seat.kind, "name": seat.name}
        if (f"u:{seat.user_id}" if seat.user_id else f"g:{seat.guest_id}") in player.identities:
            you = seat.side
    ratings: list[Summary | None] = [None, None]
    for change in match.rating_changes.all():
        before, after = round(change.rating_before), round(change.rating_after)
        ratings[change.side] = {"before": before, "after": after, "provisional": change.is_provisional}
    return {
        "id": match.public_id,
        "mode": match.mode,
        "level": match.level or None,
        "points": match.points,
        "status": "finished",
        "players": players,
        "score": list(match.score),
        "winner": match.winner,
        "reason": match.end_reason,
        "created_at": match.created_at.isoformat(),
        "started_at": match.started_at.isoformat(),
        "finished_at": match.finished_at.isoformat(),
        "duration_us": match.duration_us,
        "ratings": ratings,
        "you": you,
    }


def _live(spec: "MatchSpec", standing: "Standing | None", player: "Player") -> Summary:
    """`over`: the result is on its way to the database."""
    is_over = standing is not None and standing.is_over
    status = "over" if is_over else "waiting" if spec.free_side() is not None else "live"
    return {
        "id": spec.id,
        "mode": spec.mode,
        "level": spec.level,
        "points": spec.points,
        "status": status,
        "players": [
            {"side": seat.side, "kind": seat.kind, "name": seat.name} if seat else None for seat in spec.players
        ],
        "score": list(standing.score if standing else (0, 0)),  # as of the last rally boundary
        "winner": standing.winner if standing and is_over else None,
        "reason": standing.reason if standing else None,
        "created_at": spec.created_at,
        "started_at": standing.started_at.isoformat() if standing else None,
        "finished_at": standing.saved_at.isoformat() if standing and is_over else None,
        "duration_us": None,
        "ratings": [None, None],
        "you": next((side for known in player.identities if (side := spec.side_of(known)) is not None), None),
    }
