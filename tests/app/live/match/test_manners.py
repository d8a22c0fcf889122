"""What players are told of the network and of each other, and what nobody has to bear."""

from typing import Any

import engine
from live.clock import SECOND
from tests.app.live.match.test_match import MS, far_ball, serve_to


async def late_move(house: Any, ada: Any, *, to: float, claimed: int, arrives: int) -> None:
    await house.clock.advance((arrives - ada.now) / SECOND)
    ada.move(to, at=claimed)
    await house.clock.advance(0.4)


async def test_lateness_is_told_only_when_it_cost_the_point_and_once(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match(points=21)).join(rtt_us=60 * MS)
    await house.player(ada.match_id, "g:bob").join()
    crossing = await far_ball(house, ada)
    here = engine.paddle_at(ada.state.paddles[0], crossing.t)

    # Late, and the ball would have been missed in any case
    await late_move(house, ada, to=here, claimed=crossing.t - 300 * MS, arrives=crossing.t - 20 * MS)
    assert len(ada.happened("point")) >= 1
    assert not ada.socket.heard("late")

    # Late twice and then in time, and with all of them in time it would have been saved
    crossing = await far_ball(house, ada)
    claimed = crossing.t - 500 * MS
    await house.clock.advance((crossing.t - 60 * MS - ada.now) / SECOND)
    ada.move(crossing.y, at=claimed)
    await house.clock.advance(0.01)
    ada.move(crossing.y, at=claimed + 1)
    await house.clock.advance(0.01)
    ada.move(crossing.y)
    await house.clock.advance(0.4)
    assert ada.socket.heard("late") == [{"t": "late", "seq": ada.seq}]


async def test_a_silent_player_is_not_served_to_and_is_away_after_three_seconds(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    crossing = await serve_to(house, ada)
    await house.clock.advance((crossing.t - 1_600_000 - ada.now) / SECOND if crossing.t - ada.now > 1_600_000 else 0)
    ada.is_asleep = True
    fell_silent = bob.now
    await house.clock.until(lambda: sum(bob.score) == 1)
    serves = len(bob.happened("serve"))
    await house.clock.until(lambda: bob.socket.heard("peer")[-1]["online"] is False, 5)

    assert 2.0 * SECOND < bob.now - fell_silent < 3.5 * SECOND
    assert len(bob.happened("serve")) <= serves + 1
    kinds = [event["k"] for event in bob.events if event["k"] != "pad"]
    assert kinds[-1] in ("pause", "point")
    assert bob.socket.heard("peer")[-1]["grace_ms"] <= 27_500, "the silence counts as absence"


async def test_a_pause_of_a_second_holds_the_serve_and_nothing_else(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    await house.clock.until(lambda: bob.state.ball is not None and bob.now > bob.state.ball.t)
    ada.is_asleep = True
    await house.clock.until(lambda: sum(bob.score) == 1)
    silent = house.clock.now()
    await house.clock.advance(0.9)
    ada.is_asleep = False
    ada._ping(ada.socket, 0)
    await house.clock.until(lambda: len(bob.happened("serve")) == 2, 3)

    assert house.clock.now() - silent < 2 * SECOND
    assert not bob.happened("pause")
    assert ada.socket.close_code is None


async def test_whoever_is_away_hears_on_return_what_is_left(house: Any) -> None:
    await house.worker()
    ada, _bob = await house.pair(points=5)
    await house.clock.until(lambda: sum(ada.score) == 1)
    ada.socket.drop()
    await house.clock.advance(12)
    await ada.join()
    mine = [peer for peer in ada.socket.heard("peer") if peer["side"] == 0]
    assert 17_000 <= mine[-1]["grace_ms"] <= 18_500

    ada.protocol = 1
    ada.socket.drop()
    await ada.join()
    assert all(peer["side"] == 1 for peer in ada.socket.heard("peer"))


async def test_the_machine_waits_for_who_leaves(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match("ai", points=5)).join()
    await house.clock.until(lambda: ada.state.ball is not None)
    ada.socket.drop()
    await house.clock.advance(300)
    await ada.join()
    assert ada.state.phase != "over"
    await house.clock.until(lambda: sum(ada.score) > 0)

    ada.socket.drop()
    await house.clock.advance(620)
    await house.settle()
    [record] = house.saved
    assert (record.reason, record.winner) == ("abandoned", None)


async def test_an_offer_of_a_rematch_ends_after_half_a_minute(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=1)
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.clock.advance(20)
    ada.socket.say("rematch")
    await house.clock.advance(29)
    assert ada.socket.close_code is None
    await house.clock.advance(2)
    assert (ada.socket.close_code, bob.socket.close_code) == (1000, 1000)


async def test_an_offer_ends_when_the_other_leaves(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=1)
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    ada.socket.say("rematch")
    await house.clock.advance(1)
    bob.socket.drop()
    await house.clock.advance(1)
    assert ada.socket.heard("peer")[-1] | {"ping": 0, "grace_ms": 0} == {
        "t": "peer", "side": 1, "online": False, "ping": 0, "grace_ms": 0,
    }  # fmt: skip
    assert not [offer for offer in ada.socket.heard("rematch") if "id" in offer]
