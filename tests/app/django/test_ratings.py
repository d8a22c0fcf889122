import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from glicko2.math.algorithm import update_rating

from accounts.models import User
from live.records import FinishedMatch
from matches.services import match_finish
from ratings import charts
from ratings.glicko import CENTRE, PERIOD, SCALE, Strength, update
from ratings.models import Rating, RatingChange
from ratings.templatetags.ratings import avatar

Record = Callable[..., FinishedMatch]
Play = Callable[..., FinishedMatch]


def test_the_example_of_the_paper_comes_out() -> None:
    games = [(Strength(1400, 30), 1.0), (Strength(1550, 100), 0.0), (Strength(1700, 300), 0.0)]
    new = update(Strength(1500, 200), games, tau=0.5, periods=1)
    assert (new.rating, new.deviation) == pytest.approx((1464.06, 151.52), abs=0.01)
    assert new.volatility == pytest.approx(0.05999, abs=0.00001)


def test_a_second_implementation_agrees_and_only_differences_count() -> None:
    draw = random.Random(20261130)

    def player() -> Strength:
        return Strength(draw.gauss(1500, 400), draw.uniform(45, 350), draw.uniform(0.03, 0.12))

    for _ in range(300):
        one, games = player(), [(player(), float(draw.randrange(2))) for _ in range(draw.randint(1, 4))]
        tau = draw.choice([0.3, 0.5, 1.2])
        new = update(one, games, tau=tau, periods=1)
        told = update_rating(
            (one.rating - CENTRE) / SCALE,
            one.deviation / SCALE,
            one.volatility,
            [((other.rating - CENTRE) / SCALE, other.deviation / SCALE, score) for other, score in games],
            tau,
        )
        expected = (CENTRE + SCALE * told.mu, SCALE * told.phi)
        assert (new.rating, new.deviation) == pytest.approx(expected, abs=1e-3)
        assert new.volatility == pytest.approx(told.sigma, abs=1e-6)
        higher = [(replace(other, rating=other.rating + 1000), score) for other, score in games]
        shifted = update(replace(one, rating=one.rating + 1000), higher, tau=tau, periods=1)
        assert (shifted.rating - 1000, shifted.volatility) == pytest.approx((new.rating, new.volatility))


def test_equals_gain_what_the_other_loses_and_rest_makes_uncertain() -> None:
    won, lost = Strength().after_game(Strength(), 1), Strength().after_game(Strength(), 0)
    assert won.rating - CENTRE == pytest.approx(CENTRE - lost.rating)
    assert won.rating > CENTRE
    assert won.deviation == lost.deviation < Strength().deviation
    assert Strength(1600, 60).after_idle(timedelta(days=365)).deviation == pytest.approx(110, abs=1)
    assert Strength(1600, 60).after_idle(-PERIOD) == Strength(1600, 60)


@pytest.fixture
def crowd(make_user: Callable[..., User]) -> list[User]:
    return [make_user(name) for name in ("ada", "bea", "cid", "dot")]


@pytest.fixture
def play(record: Record) -> Play:
    """Two accounts play and it is stored; each match ends half a day after the one before."""
    number = itertools.count()

    def play(left: User, right: User, *, winner: int | None = 0, store: bool = True, **fields: Any) -> FinishedMatch:
        match = record(f"match{(n := next(number)):04}", left=f"u:{left.pk}", right=f"u:{right.pk}", winner=winner)
        match = replace(match, **{"finished_at": match.finished_at + n * timedelta(hours=12), **fields})
        if store:
            match_finish(record=match)
        return match

    return play


def numbers() -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    changes = RatingChange.objects.order_by("match_id", "side").values_list(
        "match__public_id", "side", "user", "played", "rated_at", "rating_before", "rating_after", "deviation_after"
    )
    return list(changes), list(Rating.objects.order_by("pk").values_list())


def test_a_match_of_two_accounts_moves_both_ratings_once(crowd: list[User], play: Play) -> None:
    ada, bea, *_ = crowd
    match = play(ada, bea)
    assert match_finish(record=match) is False
    won, lost = Rating.objects.get(user=ada), Rating.objects.get(user=bea)
    assert won.rating > CENTRE > lost.rating
    assert (won.played, lost.played, won.is_provisional) == (1, 1, True)
    assert RatingChange.objects.get(side=0).rating_after == won.rating


def test_guests_the_machine_and_matches_without_a_winner_are_unrated(
    crowd: list[User], play: Play, record: Record
) -> None:
    ada, bea, *_ = crowd
    match_finish(record=record("machine", left=f"u:{ada.pk}"))
    match_finish(record=record("aguest", left=f"u:{ada.pk}", right="g:somebody"))
    play(ada, bea, winner=None, reason="abandoned")
    assert not RatingChange.objects.exists()
    play(ada, bea, reason="forfeit")
    assert RatingChange.objects.count() == 2


def test_two_accounts_rate_five_matches_a_day(crowd: list[User], play: Play) -> None:
    ada, bea, cid, _ = crowd
    at = play(ada, bea).finished_at
    for minute in range(6):
        play(*((ada, bea) if minute % 2 else (bea, ada)), finished_at=at + timedelta(minutes=minute))
    assert Rating.objects.get(user=ada).played == 5
    play(ada, cid, finished_at=at + timedelta(minutes=9))
    play(ada, bea, finished_at=at + timedelta(days=1, minutes=9))
    assert Rating.objects.get(user=ada).played == 7


def season(crowd: list[User], play: Play) -> None:
    draw = random.Random(7)
    for _ in range(40):
        left, right = draw.sample(crowd, 2)
        play(left, right, winner=draw.randrange(2))


def test_all_ratings_can_be_worked_out_again_with_the_very_same_result(
    crowd: list[User], play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    season(crowd, play)
    crowd[3].delete()  # the numbers stay, without the person
    before = numbers()
    assert len(before[0]) == 80
    assert len(before[1]) == 3
    RatingChange.objects.exclude(user=None).update(rating_before=1, rating_after=2, deviation_after=3, played=9)
    Rating.objects.update(rating=4, played=9)
    monkeypatch.setattr("ratings.services.BATCH", 6)  # in several parts
    call_command("recompute_ratings")
    assert numbers() == before


def test_a_result_that_is_replaced_counts_as_if_it_had_always_been_so(crowd: list[User], play: Play) -> None:
    ada, bea, *_ = crowd
    season(crowd, play)
    stale = play(ada, bea, winner=1, epoch=1)
    missed = play(bea, ada, winner=None, reason="abandoned", epoch=1)
    season(crowd, play)
    match_finish(record=replace(stale, winner=None, reason="abandoned", epoch=2))
    assert RatingChange.objects.filter(match__public_id=stale.spec.id).count() == 0
    match_finish(record=replace(stale, winner=0, epoch=3))
    match_finish(record=replace(missed, winner=0, reason="score", epoch=3))
    replaced = numbers()
    assert [row[2] for row in replaced[0] if row[0] == missed.spec.id] == [bea.pk, ada.pk]
    call_command("recompute_ratings")
    assert numbers() == replaced


@pytest.fixture
def ladder(db: None) -> list[User]:
    """A hundred and twenty players with a place, the best first; ties by age; one more is provisional."""
    users = User.objects.bulk_create(User(username=f"player{number:03}") for number in range(121))
    at = timezone.now()
    Rating.objects.bulk_create(
        Rating(user=user, rating=2000 - number // 2, deviation=60, volatility=0.06, played=30, rated_at=at)
        for number, user in enumerate(users[:120])
    )
    Rating.objects.create(user=users[120], rating=2500, deviation=200, volatility=0.06, played=2, rated_at=at)
    return users


def test_the_leaderboard_goes_on_where_it_ended_at_the_same_cost(
    client: Client, ladder: list[User], django_assert_num_queries: Any
) -> None:
    client.get("/leaderboard/")  # a guest from now on
    seen, places, path = [], [], "/leaderboard/"
    for queries in (1, 3, 3):  # the later ones look up where they begin, and count who is above
        with django_assert_num_queries(queries):
            page = client.get(path).context["page"]
        seen += [entry.user for entry in page.entries]
        places.append(page.first)
        path = f"/leaderboard/?after={page.after}"
    assert seen == ladder[:120]
    assert (places, page.after) == ([1, 51, 101], None)
    assert client.get(f"/leaderboard/?after={ladder[120].public_id}").status_code == 404
    assert client.get("/leaderboard/?after=%00nonsense").status_code == 404


def test_everybody_knows_their_own_place(client: Client, ladder: list[User]) -> None:
    client.force_login(ladder[99])
    assert client.get("/leaderboard/").context["own_rank"] == 100
    client.force_login(ladder[120])
    page = client.get("/leaderboard/")
    assert page.context["own_rank"] is None
    assert "still provisional" in page.content.decode()


def test_places_are_the_same_wherever_they_are_read_when_somebody_is_banned(client: Client, ladder: list[User]) -> None:
    def seen(path: str) -> dict[User, int]:
        page = client.get(path).context["page"]
        return {entry.user: place for place, entry in enumerate(page.entries, page.first)}

    User.objects.filter(pk__in=[ladder[3].pk, ladder[49].pk]).update(is_active=False)
    first = seen("/leaderboard/")
    last = list(first)[-1]
    assert (last, first[last]) == (ladder[51], 50)
    assert seen(f"/leaderboard/?after={last.public_id}")[ladder[52]] == 51
    # Who was the last of a page and has been banned since is not counted, but still the place to go on from
    assert seen(f"/leaderboard/?after={ladder[49].public_id}")[ladder[50]] == first[ladder[50]] == 49
    client.force_login(ladder[52])
    assert client.get("/leaderboard/").context["own_rank"] == 51


def test_a_profile_shows_what_came_of_the_matches(
    client: Client, crowd: list[User], play: Play, django_assert_max_num_queries: Any
) -> None:
    ada, bea, cid, _ = crowd
    hits = [{"k": "serve"}, {"k": "hit", "n": 1}, {"k": "serve"}, *({"k": "hit", "n": n + 1} for n in range(12))]
    for number in range(12):
        play(ada, (bea, cid)[number % 2], winner=number % 3 == 0, timeline=[*hits, {"k": "point"}])
    page = client.get(f"/u/{ada.public_id}/")  # a guest
    with django_assert_max_num_queries(6):  # user, rating, count, seats, others, changes; the place once there is one
        page = client.get(f"/u/{ada.public_id}/")
    assert [(one.user, one.won, one.lost) for one in page.context["opponents"]] == [(cid, 4, 2), (bea, 4, 2)]
    assert [game.is_won for game in page.context["games"][:3]] == [True, True, False]
    assert page.context["rating_chart"].count == 12
    assert [bar.count for bar in page.context["rally_chart"]] == [0, 0, 0, 12, 0, 0]
    text = page.content.decode()
    assert text.count("<polyline") == 1
    assert "10–19: 12" in text  # noqa: RUF001 - a range
    ada.is_active = False
    ada.save()
    assert client.get(f"/u/{ada.public_id}/").status_code == 404


def test_charts_hold_every_value_and_avatars_are_of_the_account() -> None:
    for values in ([1500.0, 1500.0], [1500.0, 1812.4, 1399.9], [float(n) for n in range(1000, 3000, 20)]):
        chart = charts.line(values)
        ticks = [tick.at for tick in chart.ticks]
        heights = [float(point.split(",")[1]) for point in chart.path.split()]
        assert min(ticks) <= min(heights) <= max(heights) <= max(ticks)
        assert 2 <= len(ticks) <= 7
    assert avatar("abc123abc123") == avatar("abc123abc123") != avatar("abc123abc124")
