from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.players import Player
from engine.ai import Level
from live import records
from live.records import FinishedMatch, match_id_new
from matches import models
from matches.models import Match, Seat, Tally
from matches.rules import BadRequest, MatchRequest
from matches.selectors import matches_of, record_of
from matches.services import match_create, match_finish, seats_claim
from matches.tally import tallies_recount_all
from privacy.services import DELETED_NAME

Record = Callable[..., FinishedMatch]


def guest(guest_id: str) -> Player:
    return Player(name="Swift Otter 42", identity=f"g:{guest_id}", guest_id=guest_id)


def player_of(user: User) -> Player:
    return Player(name=user.name, identity=f"u:{user.pk}", user=user)


def test_a_finished_match_is_stored_with_seats_and_timeline(record: Record, user: User) -> None:
    finished = record(left=f"u:{user.pk}")
    assert match_finish(record=finished) is True
    match = Match.objects.get(public_id=finished.spec.id)
    assert match.score == (7, 3)
    assert (match.winner, match.end_reason, match.level) == (0, "score", "easy")
    left, right = match.seats.order_by("side")
    assert (left.user, left.guest_id, left.name) == (user, "", "Left Player")
    assert (right.kind, right.user, right.name) == ("ai", None, "Right Player")
    assert match.timeline.events == finished.timeline


@pytest.mark.django_db
def test_storing_a_match_again_changes_nothing(record: Record) -> None:
    assert match_finish(record=record()) is True
    assert match_finish(record=record(winner=1, score=(0, 7))) is False
    assert Match.objects.get().score == (7, 3)
    assert Seat.objects.count() == 2


@pytest.mark.django_db
def test_the_result_of_a_newer_owner_takes_the_place_of_an_older_ones(record: Record) -> None:
    stale = replace(record(winner=1, score=(1, 2)), reason="forfeit", epoch=1)
    true = replace(record(), epoch=3)
    assert match_finish(record=stale) is True
    assert match_finish(record=true) is False
    assert match_finish(record=stale) is False
    match = Match.objects.get()
    assert (match.score, match.winner, match.end_reason, match.epoch) == ((7, 3), 0, "score", 3)
    assert match.seats.count() == 2
    assert match.timeline.events == true.timeline


@pytest.mark.django_db
def test_matches_of_the_canary_are_forgotten_after_an_hour_and_no_others(record: Record) -> None:
    def finish(match_id: str, *, after: timedelta) -> None:
        finished = record(match_id)
        at = finished.finished_at + after
        match_finish(record=replace(finished, spec=replace(finished.spec, id=match_id), finished_at=at))

    def stored() -> set[str]:
        return set(Match.objects.values_list("public_id", flat=True))

    finish("canaryOfAda1", after=timedelta())  # a player's, by chance
    finish("canaryAAAAAAAAAAAA", after=timedelta())
    finish("canaryBBBBBBBBBBBB", after=timedelta(minutes=50))
    finish("abcDEF123456", after=timedelta(hours=3))
    assert len(stored()) == 4
    finish("canaryCCCCCCCCCCCC", after=timedelta(minutes=61))
    assert stored() == {"canaryOfAda1", "canaryBBBBBBBBBBBB", "abcDEF123456", "canaryCCCCCCCCCCCC"}


@pytest.mark.django_db
def test_a_match_is_stored_whole_or_not_at_all(record: Record) -> None:
    spec = record().spec
    left, _ = spec.players
    assert left is not None
    same_side = replace(spec, players=(left, replace(left, identity="g:other")))
    with pytest.raises(IntegrityError), transaction.atomic():
        match_finish(record=record(spec=same_side))
    assert Match.objects.count() == 0


def test_a_result_that_comes_after_its_account_was_deleted_does_not_name_it(record: Record, user: User) -> None:
    finished = record(left=f"u:{user.pk}")
    user.delete()
    assert match_finish(record=finished) is True
    seat = Seat.objects.get(side=0)
    assert (seat.user, seat.name) == (None, DELETED_NAME)
    assert Seat.objects.get(side=1).name == "Right Player"


def test_deleting_an_account_keeps_its_matches(record: Record, user: User) -> None:
    match_finish(record=record(left=f"u:{user.pk}"))
    user.delete()
    assert Match.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [{"reason": "boredom"}, {"winner": 2}, {"duration_us": -1}, {"finished_at": None}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_the_database_refuses_impossible_results(record: Record, wrong: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        match_finish(record=record(**wrong))


def test_history_has_own_matches_only_newest_first(record: Record, make_user: Callable[..., User]) -> None:
    ada, bob = make_user("ada"), make_user("bob")
    first = record("first", left=f"u:{ada.pk}", right=f"u:{bob.pk}")
    later = record("later", left="g:x", right=f"u:{ada.pk}", finished_at=first.finished_at.replace(hour=23))
    for finished in (later, first, record("foreign", left=f"u:{bob.pk}"), record("guest", left="g:x")):
        match_finish(record=finished)
    assert list(matches_of(player_of(ada)).values_list("public_id", "own_side")) == [("later", 1), ("first", 0)]
    assert [match.public_id for match in matches_of(guest("nobody"))] == []
    assert (record_of(user=ada).played, record_of(user=ada).won) == (2, 1)


def test_a_new_account_takes_over_the_matches_of_the_guest(record: Record, user: User) -> None:
    match_finish(record=record("one", left="g:me"))
    match_finish(record=record("two", left="g:me", right="g:friend"))
    assert seats_claim(user=user, guest_id="me") == 2
    assert seats_claim(user=user, guest_id="me") == 0
    assert {match.public_id for match in matches_of(player_of(user))} == {"one", "two"}
    assert not matches_of(guest("me"))
    assert matches_of(guest("friend")).count() == 1


def test_a_match_against_oneself_stays_with_the_guest(record: Record, user: User) -> None:
    match_finish(record=record(left=f"u:{user.pk}", right="g:me"))
    assert seats_claim(user=user, guest_id="me") == 0
    assert matches_of(guest("me")).count() == 1


async def test_creating_a_match_seats_its_creator_and_the_computer() -> None:
    spec = await match_create(player=guest("me"), request=MatchRequest("ai", "hard", 3))
    left, right = spec.players
    assert left is not None
    assert right is not None
    assert (left.identity, left.name, left.kind) == ("g:me", "Swift Otter 42", "human")
    assert (right.identity, right.kind) == ("ai:hard", "ai")


async def test_the_seat_of_a_friend_stays_free() -> None:
    spec = await match_create(player=guest("me"), request=MatchRequest("friend", None, 7))
    assert spec.free_side() == 1


def test_match_ids_are_not_guessable() -> None:
    ids = {match_id_new() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(match_id) == 12 and match_id.isalnum() and match_id.isascii() for match_id in ids)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"mode": "tournament"},
        {"mode": "ai", "level": "impossible"},
        {"mode": "ai", "level": ["easy"]},
        {"mode": "ai", "points": 2},
        {"mode": "ai", "points": 22},
        {"mode": "ai", "points": "7"},
        {"mode": "ai", "points": True},
        {"mode": ["ai"]},
    ],
)
def test_a_malformed_wish_is_refused(body: object) -> None:
    with pytest.raises(BadRequest):
        MatchRequest.parse(body)


def test_a_wish_has_sensible_defaults() -> None:
    assert MatchRequest.parse({"mode": "ai"}) == MatchRequest("ai", "normal", 7)
    assert MatchRequest.parse({"mode": "friend", "level": "hard", "points": 21}) == MatchRequest("friend", None, 21)


def test_the_database_has_a_word_for_every_mode_and_level() -> None:
    assert models.Mode.values == list(get_args(records.Mode))
    assert models.Level.values == list(get_args(Level))


def test_what_a_page_says_that_somebody_played_costs_one_row(
    record: Record, make_user: Callable[..., User], django_assert_num_queries: Callable[..., Any]
) -> None:
    ada, bob = make_user("ada"), make_user("bob")

    def _record_of(user: User) -> Any:
        return record_of(user=user)

    def told() -> list[tuple[int, int]]:
        with django_assert_num_queries(2):
            return [(known.played, known.won) for known in map(_record_of, (ada, bob))]

    match_finish(record=record("old", left="g:me", right=f"u:{bob.pk}", winner=1))
    Tally.objects.all().delete()  # as of matches from before there were any
    for number in range(3):
        match_finish(record=record(f"m{number}", left=f"u:{ada.pk}", right=f"u:{bob.pk}", winner=number % 2))
    assert told() == [(3, 2), (4, 2)]
    match_finish(record=record("m0", left=f"u:{ada.pk}", right=f"u:{bob.pk}", winner=0))  # once more
    assert told() == [(3, 2), (4, 2)]
    other = replace(record("m0", left=f"u:{ada.pk}", right=f"u:{bob.pk}", winner=1), epoch=3)
    match_finish(record=other)  # by a newer owner
    assert told() == [(3, 1), (4, 3)]
    seats_claim(user=ada, guest_id="me")  # the friend of then is bob, whom she beat or not
    assert told() == [(4, 1), (4, 3)]
    Tally.objects.filter(pk=ada.pk).update(played=7)  # a worker of the release before passed it by
    assert tallies_recount_all() == 1
    assert told() == [(4, 1), (4, 3)]
    assert tallies_recount_all() == 0
