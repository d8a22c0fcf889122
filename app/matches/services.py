import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from matches.models import Match, Seat, Timeline
from matches.rules import MatchRequest
from matches.tally import tallies_recount, tally_add, tally_forget
from matches.timelines import rally_hits
from ratings.services import match_rate, match_rate_again

if TYPE_CHECKING:
    from accounts.models import User
    from accounts.players import Player
    from live.records import FinishedMatch, MatchSpec, PlayerSpec

logger = logging.getLogger(__name__)

MEETING_SECONDS = 120  # for two who have met to come onto the court
CANARY_KEPT = timedelta(hours=1)
CANARY_LOOKED_FOR = timedelta(days=7)  # so that the index of newest matches finds the old ones quickly


async def match_create(*, player: "Player", request: MatchRequest) -> "MatchSpec":
    """Open a match with `player` on the left. The seat of a friend stays free; the computer takes its own at once.

    Raises what live.directory raises when Valkey is away or no worker is alive.
    """
    from live.directory import get_directory
    from live.records import MatchSpec, PlayerSpec, match_id_new

    creator = PlayerSpec(side=0, kind="human", identity=player.identity, name=player.name)
    opponent = None
    if request.mode == "ai":
        opponent = PlayerSpec(side=1, kind="ai", identity=f"ai:{request.level}", name="Computer")
    spec = MatchSpec(
        id=match_id_new(is_canary=request.is_canary),
        mode=request.mode,
        level=request.level,
        points=request.points,
        players=(creator, opponent),
        created_at=timezone.now().isoformat(),
    )
    await get_directory().matches.create(spec)
    logger.info("match created", extra={"match": spec.id, "mode": spec.mode, "computer": spec.level})
    return spec


async def match_create_for(*, left: tuple[str, str], right: tuple[str, str], strength: float) -> "MatchSpec":
    """Open a match of two players who have met: identity and name of each, and their mean rating.

    Forgotten if nobody comes. Raises what live.directory raises when Valkey is away.
    """
    from live.directory import get_directory
    from live.records import POINTS_DEFAULT, MatchSpec, PlayerSpec, match_id_new

    players = tuple(
        PlayerSpec(side=side, kind="human", identity=identity, name=name)
        for side, (identity, name) in enumerate((left, right))
    )
    spec = MatchSpec(
        id=match_id_new(),
        mode="friend",
        level=None,
        points=POINTS_DEFAULT,
        players=(players[0], players[1]),
        created_at=timezone.now().isoformat(),
        strength=strength,
    )
    await get_directory().matches.create(spec, seconds=MEETING_SECONDS)
    return spec


@transaction.atomic
def match_finish(*, record: "FinishedMatch") -> bool:
    """Store a finished match: seats, timeline, ratings, all or nothing. False when it is stored already.

    Safe to call again with the same record, also at the same time from elsewhere: the match's id decides. A worker that
    was cut off may tell an end of its own, so the record of a newer owner (`epoch`) takes the place of an older one's.
    """
    spec = record.spec
    result = {
        "mode": spec.mode,
        "level": spec.level or "",
        "points": spec.points,
        "rules_version": record.rules_version,
        "score_left": record.score[0],
        "score_right": record.score[1],
        "winner": record.winner,
        "end_reason": record.reason,
        "created_at": datetime.fromisoformat(spec.created_at),
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "duration_us": record.duration_us,
        "rallies": rally_hits(record.timeline),
        "epoch": record.epoch,
    }
    players = [player for player in spec.players if player is not None]
    user_ids = _existing_user_ids(players)  # their locks come first: matches' keys are each user's order of matches
    match, is_new = Match.objects.select_for_update().get_or_create(public_id=spec.id, defaults=result)
    if not is_new:
        if match.epoch >= record.epoch:
            return False
        logger.warning("result of an older owner replaced", extra={"match": spec.id, "epoch": record.epoch})
        tally_forget(seats=Seat.objects.filter(match=match))
        Match.objects.filter(pk=match.pk).update(**result)
        Seat.objects.filter(match=match).delete()
        Timeline.objects.filter(match=match).delete()
        match.refresh_from_db()
    seats = Seat.objects.bulk_create([_seat(match, player, user_ids) for player in players])
    tally_add(match=match, seats=seats)
    if is_new:
        match_rate(match=match, seats=seats)
    else:
        match_rate_again(match=match, seats=seats)
    Timeline.objects.create(match=match, events_gzip=Timeline.pack(record.timeline))
    if spec.is_canary:
        _canaries_forget(before=record.finished_at - CANARY_KEPT)
    return is_new


def _canaries_forget(*, before: datetime) -> None:
    """Remove what canaries have played: it has been looked at."""
    from live.records import CANARY, ID_LENGTH

    old = Match.objects.filter(finished_at__lt=before, finished_at__gt=before - CANARY_LOOKED_FOR)
    old.filter(public_id__regex=rf"^{CANARY}[A-Za-z0-9]{{{ID_LENGTH}}}$").delete()


def _user_id(player: "PlayerSpec") -> int | None:
    kind, _, value = player.identity.partition(":")
    return int(value) if kind == "u" else None


def _existing_user_ids(players: list["PlayerSpec"]) -> set[int]:
    """The users among `players` who still have an account."""
    from accounts.models import User

    wanted = [user_id for player in players if (user_id := _user_id(player)) is not None]
    # Locked, so that nobody deletes an account between here and the insert of the seat. Not their keys: whoever stores
    # what refers to them, as a refold does, holds those, and may wait for us.
    users = User.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    return set(users.values_list("pk", flat=True)) if wanted else set()


def _seat(match: Match, player: "PlayerSpec", user_ids: set[int]) -> Seat:
    from privacy.services import DELETED_NAME

    user_id = _user_id(player)
    is_gone = user_id is not None and user_id not in user_ids
    return Seat(
        match=match,
        side=player.side,
        kind=player.kind,
        user_id=None if is_gone else user_id,
        guest_id=player.identity.removeprefix("g:") if player.identity.startswith("g:") else "",
        name=DELETED_NAME if is_gone else player.name[:64],
    )


@transaction.atomic
def seats_claim(*, user: "User", guest_id: str) -> int:
    """Give the matches of a guest to `user`; returns how many. Matches against oneself stay with the guest."""
    own = Seat.objects.filter(user=user).values("match")
    count = Seat.objects.filter(guest_id=guest_id, user=None).exclude(match__in=own).update(user=user, guest_id="")
    if count:
        tallies_recount([user.pk])
    return count
