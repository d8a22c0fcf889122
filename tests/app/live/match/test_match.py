"""A match from its first socket to its result, through the ASGI interface."""

from typing import Any

import pytest

import engine
from live import metrics
from live.directory.store import WATCHABLE
from live.protocol import codec

SECOND = 1_000_000
MS = 1_000


async def test_a_match_against_the_computer_is_played_to_its_end_and_saved_once(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match("ai", points=3), "g:ada", aim=40).join()

    await house.clock.until(lambda: ada.is_over)
    await house.settle()

    [record] = house.saved
    assert max(record.score) == 3
    assert record.reason == "score"
    assert record.winner == record.score.index(3)
    assert record.score == ada.score
    assert [event["v"] for event in record.timeline] == list(range(1, len(record.timeline) + 1))
    assert record.timeline == ada.events
    assert ada.happened("hit"), "nobody ever hit the ball"


async def test_two_players_see_the_same_match(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5, aims=(45, None))

    await house.clock.until(lambda: ada.is_over and bob.is_over)

    assert ada.state == bob.state
    assert ada.score == (5, 0)
    assert [event["k"] for event in bob.events if event["k"] in ("point", "end")] == ["point"] * 5 + ["end"]


async def test_the_first_serve_waits_for_both_players_and_counts_down_three_seconds(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match()).join()
    await house.clock.advance(45)
    assert not ada.events

    before = ada.now
    bob = await house.player(ada.match_id, "g:bob").join()

    [serve] = ada.happened("serve")
    assert serve["t"] - before == 3 * SECOND
    assert bob.happened("serve") or bob.state.ball is not None


async def test_the_next_serve_comes_soon_after_a_point(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    await house.clock.until(lambda: len(ada.happened("serve")) == 2)

    [point] = ada.happened("point")
    assert 1_200_000 <= ada.happened("serve")[1]["t"] - point["t"] <= 1_200_000 + 120_000


async def serve_to(house: Any, player: Any) -> engine.Crossing:
    """Wait until the ball flies toward a player; answers where it will arrive."""

    def coming() -> engine.Crossing | None:
        crossing = engine.next_crossing(player.state)
        return crossing if crossing is not None and crossing.side == player.side else None

    await house.clock.until(coming)
    crossing = coming()
    assert crossing
    return crossing


async def far_ball(house: Any, player: Any) -> engine.Crossing:
    """Wait for a ball that a paddle at rest would miss, but one that moves for 200 ms would not."""
    while True:
        crossing = await serve_to(house, player)
        away = abs(crossing.y - engine.paddle_at(player.state.paddles[player.side], crossing.t))
        if 80 < away < 200:
            return crossing
        points = sum(player.score)
        await house.clock.until(lambda points=points: sum(player.score) > points)


def last_moment(player: Any, crossing: engine.Crossing) -> int:
    """When its paddle just gets there."""
    away = abs(crossing.y - engine.paddle_at(player.state.paddles[player.side], crossing.t))
    return crossing.t - int((away - 40) / player.state.rules.paddle_speed * SECOND) - 5 * MS


@pytest.mark.parametrize(
    ("rtt_ms", "arrives_ms_late", "is_saved"),
    [
        (80, 40, True),  # within what the server has measured of this player
        (80, 140, False),  # beyond it
        (2_000, 140, True),  # a slow line gets the cap
        (2_000, 200, False),  # and no more
    ],
)
async def test_an_input_counts_from_its_claim_within_the_grace(
    house: Any, rtt_ms: int, arrives_ms_late: int, is_saved: bool
) -> None:
    await house.worker()
    ada = await house.player(await house.match(points=21)).join(rtt_us=rtt_ms * MS)
    await house.player(ada.match_id, "g:bob").join()
    crossing = await far_ball(house, ada)
    in_time = last_moment(ada, crossing)

    await house.clock.advance((in_time + arrives_ms_late * MS - ada.now) / SECOND)
    ada.move(crossing.y, at=in_time)
    await house.clock.advance(0.3)

    assert bool(ada.happened("hit")) is is_saved
    assert bool(ada.socket.heard("late")) is not is_saved


async def test_a_stall_of_the_server_costs_no_player_an_input(house: Any) -> None:
    worker = await house.worker()
    ada = await house.player(await house.match(points=21)).join(rtt_us=80 * MS)
    await house.player(ada.match_id, "g:bob").join()
    crossing = await far_ball(house, ada)
    in_time = last_moment(ada, crossing)
    await house.clock.advance((in_time - ada.now) / SECOND)
    owner = worker.owners[ada.match_id]
    [socket] = [each for each in worker.connections if each.identity == "g:ada"]

    house.clock.stall(0.4)  # timers are called before what came meanwhile is read
    socket.waited = 400 * MS
    owner.input(socket, codec.Input(seq=1, at=in_time, target=crossing.y))
    await house.clock.advance(0.3)

    assert ada.happened("pad")[-1]["t"] == in_time
    assert ada.happened("hit")
    assert not ada.socket.heard("late")


async def test_who_is_to_blame_for_a_late_input_is_counted_and_a_pong_tells_of_the_server(house: Any) -> None:
    worker = await house.worker()
    ada = await house.player(await house.match(points=21)).join(rtt_us=80 * MS)
    await house.player(ada.match_id, "g:bob").join()
    owner = worker.owners[ada.match_id]
    [socket] = [each for each in worker.connections if each.identity == "g:ada"]
    counted = {by: metrics.inputs_late.labels(by).value for by in metrics.LATE_BY}

    def blamed() -> dict[str, int]:
        return {by: metrics.inputs_late.labels(by).value - before for by, before in counted.items()}

    crossing = await far_ball(house, ada)
    in_time = last_moment(ada, crossing)
    await house.clock.advance((in_time - ada.now) / SECOND)
    ada.move(crossing.y, at=ada.now - 40 * MS)  # as late as its line is slow
    await house.clock.advance(0.01)
    assert blamed() == {"player": 0, "server": 0}
    await house.clock.advance(1)  # decided
    socket.waited = int(house.clock.now() - owner._course._zero - in_time)
    owner.input(socket, codec.Input(seq=ada.seq + 1, at=in_time, target=10.0))
    assert blamed() == {"player": 0, "server": 1}, "in time at the host, and its crossing was decided without it"
    socket.waited = 0
    owner.input(socket, codec.Input(seq=ada.seq + 2, at=in_time, target=20.0))
    assert blamed() == {"player": 1, "server": 1}

    for protocol, lag in ((2, None), (3, 71)):
        socket.protocol, socket.waited = protocol, 71_400
        owner.ping(socket, codec.Ping(c=1))
        await house.clock.advance(0.01)
        assert ada.socket.heard("pong")[-1].get("lag") == lag


async def test_no_claim_reaches_further_back_than_the_cap(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match(points=21)).join(rtt_us=2 * SECOND)
    await house.player(ada.match_id, "g:bob").join()
    crossing = await far_ball(house, ada)

    await house.clock.advance((crossing.t - 60 * MS - ada.now) / SECOND)
    arrived = ada.now
    ada.move(crossing.y, at=arrived - 5 * SECOND)
    await house.clock.advance(0.3)

    assert ada.happened("pad")[-1]["t"] == arrived - 150 * MS
    assert bool(ada.socket.heard("late")) is not bool(ada.happened("hit"))


@pytest.mark.parametrize(("tcp_rtt", "lasting_ms"), [(None, 75), ("20000", 50), ("200000", 130), ("soon", 75)])
async def test_nobody_lives_on_claims_of_an_earlier_time(house: Any, tcp_rtt: str | None, lasting_ms: int) -> None:
    """Whoever holds pongs back and dates every input back: in time for the crossing, so that it is not seen there."""
    await house.worker()
    headers = {} if tcp_rtt is None else {"x-tcp-rtt": tcp_rtt}
    ada = await house.player(await house.match(points=21)).join(rtt_us=240 * MS, headers=headers)
    await house.player(ada.match_id, "g:bob", aim=0.0).join()
    gains = []
    for _ in range(9):
        crossing = await serve_to(house, ada)
        await house.clock.advance((crossing.t - 200 * MS - ada.now) / SECOND)
        arrived = ada.now
        ada.move(crossing.y, at=arrived - 5 * SECOND)
        await house.clock.advance(0.5)
        pads = [pad["t"] for pad in ada.happened("pad") if (pad["side"], pad["seq"]) == (ada.side, ada.seq)]
        gains.append((arrived - pads[0]) / MS)

    assert gains[0] == 130  # half of the round trip, and the margin
    assert gains[-1] <= lasting_ms, gains


async def test_history_is_never_rewritten(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=21)
    await house.clock.until(lambda: sum(ada.score) == 1)
    decided = ada.state.t

    ada.move(100.0, at=decided - 80 * MS)
    await house.clock.advance(0.1)

    assert ada.happened("pad")[-1]["t"] >= decided
    assert ada.state == bob.state


async def test_a_repeated_input_counts_once(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    await house.clock.advance(1)
    for _ in range(3):
        ada.socket.say("in", seq=7, at=ada.now, target=100)
    await house.clock.advance(0.1)

    assert [event["seq"] for event in ada.happened("pad")] == [7]


async def test_a_rematch_that_both_want_is_a_new_match_with_sides_changed(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()

    ada.socket.say("rematch")
    await house.clock.advance(1)
    assert bob.socket.heard("rematch") == [{"t": "rematch", "side": 0}]
    bob.socket.say("rematch")
    await house.clock.advance(0.1)

    match_id = ada.socket.heard("rematch")[-1]["id"]
    assert bob.socket.heard("rematch")[-1]["id"] == match_id
    again = await house.player(match_id, "g:ada").join()
    assert again.side == 1
    await house.clock.advance(2)
    assert (ada.socket.close_code, bob.socket.close_code) == (1000, 1000)


@pytest.mark.parametrize("strength", [1520.5, None])
async def test_strangers_who_play_again_can_be_watched_and_friends_cannot(house: Any, strength: float | None) -> None:
    await house.worker()
    match_id = await house.match(points=1, strength=strength)
    players = [await house.player(match_id, identity).join() for identity in ("g:ada", "g:bob")]
    await house.clock.until(lambda: all(player.is_over for player in players))
    for player in players:
        player.socket.say("rematch")
    await house.settle()
    again = players[0].socket.heard("rematch")[-1]["id"]
    listed = dict(await house.directory.store.client.zrange(WATCHABLE, 0, -1, withscores=True))
    assert listed.get(again) == listed.get(match_id) == strength


async def test_a_rematch_waits_for_a_directory_that_is_away(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    house.valkey.connected = False
    for player in (ada, bob):
        player.socket.say("rematch")
    await house.clock.advance(3)
    assert "id" not in ada.socket.heard("rematch")[-1]

    house.valkey.connected = True
    await house.clock.advance(3)
    match_id = ada.socket.heard("rematch")[-1]["id"]
    assert bob.socket.heard("rematch")[-1]["id"] == match_id
    assert await house.directory.matches.get(match_id) is not None


async def test_the_computer_accepts_every_rematch(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match("ai", points=3)).join()
    await house.clock.until(lambda: ada.is_over)

    ada.socket.say("rematch")
    await house.clock.advance(0.1)

    again = await house.player(ada.socket.heard("rematch")[-1]["id"]).join()
    await house.clock.until(lambda: again.happened("point"))


async def test_sockets_close_when_nobody_wants_a_rematch(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.clock.advance(61)

    assert (ada.socket.close_code, bob.socket.close_code) == (1000, 1000)


async def test_a_match_that_never_ends_is_abandoned(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(aims=(0, 0))
    await house.clock.until(lambda: ada.is_over, within_s=31 * 60)
    await house.settle()

    assert ada.state.reason == "abandoned"
    assert house.saved[0].winner is None
    assert len(bob.happened("hit")) > 500


async def test_a_key_that_is_held_before_the_first_serve_moves_the_paddle(house: Any) -> None:
    await house.worker()
    match_id = await house.match(points=3)
    ada = await house.player(match_id, "g:ada").join()
    ada.move(100.0)
    ada.move(900.0)
    await house.clock.advance(1)
    assert not ada.events, "nothing has begun"
    bob = await house.player(match_id, "g:bob").join()
    await house.clock.until(lambda: ada.happened("serve"))

    assert ada.events == bob.events
    [moved] = ada.happened("pad")
    assert (moved["side"], moved["seq"]) == (ada.side, 2)
    serve = ada.happened("serve")[0]
    rules = ada.state.rules
    assert engine.paddle_at(ada.state.paddles[ada.side], serve["t"], rules) > rules.height / 2

    ada.move(None)
    await house.clock.advance(0.5)
    assert ada.happened("pad")[-1]["seq"] == 3
