"""A worker that stops: its matches go on elsewhere, and players hardly notice."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from live.directory import NoWorker
from live.worker.drain import Drain

SECOND = 1_000_000


async def a_rally(house: Any, *, points: int = 5) -> tuple[Any, list[Any]]:
    """A match on the first of two workers, one point in, with a ball in the air; its players follow."""
    first = await house.worker("alpha-8101")
    players = await house.pair(points=points)
    await house.worker("beta-8101")
    for player in players:
        player.follow()
    await house.clock.until(lambda: sum(players[0].score) == 1)
    await house.clock.until(lambda: players[0].now > players[0].state.ball.t + 200_000)
    return first, players


def pauses(player: Any) -> list[int]:
    """Time (µs) between each point and the next announced serve, beyond the countdown."""
    events = [event for event in player.events if event["k"] in ("point", "serve")]
    return [
        after["t"] - before["t"] - 1_200_000
        for before, after in pairwise(events)
        if before["k"] == "point" and after["k"] == "serve"
    ]


async def goes_on(house: Any, *players: Any) -> Any:
    """The match is played to its end; its record."""
    await house.clock.until(lambda: all(player.is_over for player in players))
    await house.settle()
    [record] = house.saved
    assert record.reason == "score"
    assert [event["v"] for event in record.timeline] == list(range(1, len(record.timeline) + 1))
    for player in players:
        assert player.events == record.timeline[-len(player.events) :], "nobody saw a version with other content"
    return record


async def test_a_rally_in_flight_is_played_to_its_end_and_the_match_moves_then(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    in_flight = ada.version

    await house.worker_stops(first)

    record = await goes_on(house, ada, bob)
    assert [event["k"] for event in record.timeline if event["v"] > in_flight][:2] == ["point", "serve"]
    assert "pause" not in [event["k"] for event in record.timeline]
    assert (ada.opened, bob.opened, ada.moves, bob.moves) == (2, 2, 1, 1)
    assert ada.events == record.timeline, "both resumed by events, from the first to the last"
    assert max(pauses(ada)) < 0.5 * SECOND
    assert [worker.name for worker in await house.directory.workers.alive()] == ["beta-8101"]


async def test_who_stays_connected_hears_of_no_absence(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    await house.worker_stops(first)
    await house.clock.advance(3)

    for player in (ada, bob):
        assert all(frame["online"] for frame in player.socket.heard("peer"))
        assert player.socket.heard("welcome")[0]["state"] is None


async def test_a_countdown_that_has_just_begun_is_called_off(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.clock.until(lambda: ada.state.ball is not None)
    await house.clock.advance(0.1)

    await house.worker_stops(first, within_s=2)

    record = await goes_on(house, ada, bob)
    kinds = [event["k"] for event in record.timeline if event["k"] != "pad"]
    assert kinds[kinds.index("pause") - 1 :][:4] == ["serve", "pause", "resume", "serve"]
    resume = next(event for event in record.timeline if event["k"] == "resume")
    serve = record.timeline[resume["v"]]
    assert serve["t"] - resume["t"] == 1_200_000
    assert ada.opened == 2


async def test_a_countdown_that_is_nearly_over_is_played(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.clock.until(lambda: ada.state.ball is not None)
    await house.clock.advance(0.9)
    score = sum(ada.score)

    await house.worker_stops(first)

    assert sum(ada.score) == score + 1
    record = await goes_on(house, ada, bob)
    assert "pause" not in [event["k"] for event in record.timeline]


async def test_matches_at_rest_go_at_once_one_after_the_other_and_are_shared_out(house: Any) -> None:
    first = await house.worker("alpha-8101")
    waiting = [await house.match() for _ in range(6)]
    for match_id in waiting:
        (await house.player(match_id).join()).follow()
    for name in ("beta-8101", "gamma-8101"):
        await house.worker(name)

    await house.worker_stops(first, within_s=2)

    assert [(worker.name, worker.matches) for worker in await house.directory.workers.alive()] == [
        ("beta-8101", 3),
        ("gamma-8101", 3),
    ]


async def test_a_match_stands_still_in_the_step_that_decides_it(house: Any) -> None:
    """Between a decision and a later act the countdown would end, and the ball fly."""
    worker, (ada, _) = await a_rally(house)
    owner = worker.owners[ada.match_id]
    await house.clock.until(lambda: owner.is_counting_down)
    drain = Drain(worker, house.directory)
    house.clock._now += owner._state.ball.t - owner._now() - 2  # two µs before the serve
    assert owner.can_part(3 * SECOND)

    drain.move(owner)
    house.clock._now += 5
    await house.clock.advance(1)

    assert ada.match_id in house.workers["beta-8101"].owners


async def test_in_a_roll_matches_go_where_they_can_stay(house: Any) -> None:
    old = await house.worker("alpha-8101", release="r1")
    for _ in range(3):
        (await house.player(await house.match()).join()).follow()
    await house.worker("beta-8101", release="r1")
    await house.worker("gamma-8101", release="r2")

    await house.worker_stops(old, within_s=2)

    found = {worker.name: worker.matches for worker in await house.directory.workers.alive()}
    assert found == {"beta-8101": 0, "gamma-8101": 3}


async def test_the_reserve_takes_matches_when_nobody_else_does(house: Any) -> None:
    await house.worker("alpha-8101", is_reserve=True)
    other = await house.worker("alpha-8102")
    match_ids = [await house.match() for _ in range(3)]
    seats = [await house.directory.matches.seat(match_id, identity="g:ada", name="Ada") for match_id in match_ids]
    assert {seat.worker for seat in seats} == {"alpha-8102"}

    await house.worker_dies(other)
    again = [await house.directory.matches.seat(match_id, identity="g:ada", name="Ada") for match_id in match_ids]
    assert {seat.worker for seat in again} == {"alpha-8101"}


async def test_a_roll_moves_every_match_once(house: Any) -> None:
    """Two hosts, one after the other, each beginning with its reserve."""
    ports = {"8101": True, "8102": False, "8103": False}
    for host in ("alpha", "beta"):
        for port, is_reserve in ports.items():
            await house.worker(f"{host}-{port}", is_reserve=is_reserve)
    players = [(await house.player(await house.match("ai")).join()).follow() for _ in range(8)]

    for host in ("alpha", "beta"):
        for port, is_reserve in ports.items():
            old = house.workers[f"{host}-{port}"]
            await house.worker_stops(old)
            await house.worker(old.name, release="r2", is_reserve=is_reserve)

    assert [player.moves for player in players] == [1] * 8


async def test_a_paused_match_moves_and_the_absent_player_keeps_the_rest_of_the_grace(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    bob.is_following = False
    bob.socket.drop()
    await house.clock.until(lambda: ada.happened("pause"))
    await house.clock.advance(10)

    await house.worker_stops(first, within_s=2)
    await house.clock.advance(2)

    assert ada.opened == 2
    assert ada.socket.heard("peer")[-1]["online"] is False
    assert ada.socket.heard("peer")[-1]["grace_ms"] < 20_000
    await bob.join()
    await goes_on(house, ada, bob)


async def test_a_player_who_does_not_come_along_is_away(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    bob.is_following = False
    await house.worker_stops(first)
    await house.clock.advance(2.5)
    assert not ada.happened("pause")

    await house.clock.advance(2)
    assert ada.happened("pause")[-1]["side"] == 1
    assert ada.socket.heard("peer")[-1]["online"] is False
    await bob.join()
    await goes_on(house, ada, bob)


async def test_a_rally_that_does_not_end_is_given_up_at_the_limit(house: Any) -> None:
    first = await house.worker("alpha-8101")
    ada, bob = await house.pair(points=5, aims=(0, 0))  # neither ever misses
    await house.worker("beta-8101")
    for player in (ada, bob):
        player.follow()
    await house.clock.until(lambda: ada.happened("hit"))

    await house.worker_stops(first, within_s=50)

    assert not ada.moves
    await house.clock.advance(5)
    assert ada.opened == bob.opened == 2
    assert ada.state.phase in ("serve", "rally"), "the rally is played again"
    ada.aim = 250
    await house.clock.until(lambda: ada.is_over and bob.is_over)


async def test_while_it_drains_a_worker_renews_its_leases_and_takes_its_own_players_back(house: Any) -> None:
    first = await house.worker("alpha-8101")
    ada, bob = await house.pair(aims=(0, 0))
    await house.worker("beta-8101")
    await house.clock.until(lambda: ada.happened("hit"))
    stopping = asyncio.ensure_future(house.worker_stops(first))
    await house.clock.advance(6)

    draining, _ = await house.directory.workers.alive()
    assert (draining.name, draining.draining) == ("alpha-8101", True)
    hits = len(ada.happened("hit"))
    ada.socket.drop()
    await ada.join()
    assert ada.socket.close_code is None
    await house.clock.until(lambda: len(bob.happened("hit")) > hits + 1)

    for player in (ada, bob):
        player.aim = 250  # beside the ball
        player.follow()
    await house.clock.until(lambda: not first.owners)
    assert sum(ada.score) == 1
    await stopping
    await goes_on(house, ada, bob)


async def test_a_match_whose_players_have_not_come_yet_is_passed_on(house: Any) -> None:
    first = await house.worker("alpha-8101")
    match_id = await house.match()
    seat = await house.directory.matches.seat(match_id, identity="g:ada", name="Ada")
    await house.worker("beta-8101")
    await house.worker_stops(first, within_s=2)

    assert seat.worker == "alpha-8101"
    assert (await house.directory.matches.seat(match_id, identity="g:ada", name="Ada")).worker == "beta-8101"


async def test_the_last_worker_that_stops_leaves_its_matches_waiting(house: Any) -> None:
    worker = await house.worker()
    ada, bob = await house.pair(points=3)
    await house.clock.until(lambda: sum(ada.score) == 1)
    score = ada.score
    await house.worker_stops(worker, within_s=0.5)
    assert (ada.socket.close_code, bob.socket.close_code) == (1012, 1012)
    assert not ada.socket.heard("move")
    with pytest.raises(NoWorker):
        await house.directory.matches.seat(ada.match_id, identity="g:ada", name="Ada")

    await house.worker()
    await ada.join()
    await bob.join()
    assert ada.score == score
    await goes_on(house, ada, bob)


async def test_a_finished_match_keeps_its_players_until_the_end_of_the_drain(house: Any) -> None:
    worker = await house.worker()
    await house.worker("beta-8101")
    ada, bob = await house.pair()
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    await house.worker_stops(worker if worker.owners else house.workers["beta-8101"], within_s=2)

    assert (ada.socket.close_code, bob.socket.close_code) == (1000, 1000)
    assert len(house.saved) == 1


async def test_a_directory_that_is_away_for_a_moment_only_delays_the_hand_over(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    stopping = asyncio.ensure_future(house.worker_stops(first))
    await house.clock.advance(0.05)
    house.valkey.connected = False
    await house.clock.advance(3)
    assert sum(ada.score) == 1, "a point that could still be lost"
    house.valkey.connected = True
    await house.clock.until(stopping.done)

    assert ada.moves == 1
    await goes_on(house, ada, bob)


async def test_after_a_crash_of_the_new_owner_nobody_resumes_a_version_of_other_content(house: Any) -> None:
    first, (ada, bob) = await a_rally(house)
    await house.worker_stops(first)
    second = house.workers["beta-8101"]
    third = await house.worker("gamma-8101")
    await house.clock.until(lambda: ada.state.ball is not None)
    await house.clock.advance(0.2)
    ada.move(100.0)
    await house.clock.until(lambda: ada.now > ada.state.ball.t)
    held = ada.version
    await house.worker_dies(second)
    for player in (ada, bob):
        player.socket.drop()
    await ada.join()
    await bob.join()

    assert third.owners
    assert ada.socket.heard("welcome")[0]["state"] is not None
    assert ada.socket.heard("welcome")[0]["state"]["version"] < held
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    assert ada.state == bob.state


async def test_after_a_crash_nobody_resumes_behind_a_welcome_that_never_arrived(house: Any) -> None:
    """What was sent to a client is not what it holds: its version may be one of the owner before."""
    first, (ada, bob) = await a_rally(house)
    await house.clock.until(lambda: ada.state.ball is not None)
    ada.move(100.0)
    await house.clock.until(lambda: ada.now > ada.state.ball.t)
    held = ada.version
    second = await house.worker("beta-8101")
    await house.worker_dies(first)
    for player in (ada, bob):
        player.socket.drop()
    await bob.join()
    heard, ada._hear = ada._hear, lambda frame: None
    await ada.join()
    await house.clock.until(lambda: bob.version > held)
    ada.socket.drop()
    ada._hear = heard
    await ada.join()

    assert second.owners
    assert ada.socket.heard("welcome")[0]["state"] is not None
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    assert ada.state == bob.state


async def test_an_offer_of_a_rematch_outlives_the_last_match_of_a_drain(house: Any) -> None:
    first = await house.worker("alpha-8101")
    ada, bob = await house.pair(points=3)
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.worker("beta-8101")
    ada.socket.say("rematch")
    await house.clock.advance(1)
    stop = asyncio.ensure_future(first.stop())
    await house.clock.advance(10)
    assert ada.socket.close_code is bob.socket.close_code is None
    bob.socket.say("rematch")
    await house.clock.until(stop.done, within_s=30)

    [ready] = [frame["id"] for frame in ada.socket.heard("rematch") if "id" in frame]
    assert bob.socket.heard("rematch")[-1]["id"] == ready
    assert (await house.directory.matches.seat(ready, identity="g:ada", name="Ada")).worker == "beta-8101"


async def test_a_drain_waits_for_an_offer_no_longer_than_it_stands(house: Any) -> None:
    first = await house.worker("alpha-8101")
    ada, bob = await house.pair(points=3)
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.worker("beta-8101")
    ada.socket.say("rematch")
    stop = asyncio.ensure_future(first.stop())
    await house.clock.until(stop.done, within_s=33)
    assert ada.socket.close_code == bob.socket.close_code == 1000
