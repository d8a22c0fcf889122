"""Single promises of the rules, with numbers one can check by hand."""

from typing import Any

import pytest
from msgspec.structs import replace

import engine
from engine import End, Hit, MatchState, Pad, Pause, Point, Rules1, Rules2


def play(state: MatchState, *calls: tuple[Any, ...]) -> MatchState:
    """Fold the events of each `(function, arguments...)`."""
    for function, *arguments in calls:
        for event in function(state, *arguments):
            state = engine.apply(state, event)
    return state


def served(points: int = 7, rules: type[engine.Rules] = Rules2) -> MatchState:
    """A flat serve to the right at 1 s: it crosses the right plane at 500 u / 560 u/s later, 1.892857 s."""
    return play(engine.initial(rules(points=points)), (engine.serve, 1_000_000, 1, 0.0))


def test_serve_rests_in_the_middle_until_its_time() -> None:
    ball = served().ball
    assert ball is not None
    assert engine.ball_at(ball, 0) == engine.ball_at(ball, 1_000_000) == (500.0, 300.0)
    assert engine.ball_at(ball, 1_500_000) == (780.0, 300.0)


def test_ball_folds_at_both_walls() -> None:
    ball = engine.Ball(t=0, x=0.0, y=300.0, vx=560.0, vy=1_160.0)
    assert engine.ball_at(ball, 250_000)[1] == 590.0
    assert engine.ball_at(ball, 500_000)[1] == 300.0
    assert engine.ball_at(ball, 1_000_000)[1] == 300.0
    assert engine.ball_at(engine.Ball(t=0, x=0.0, y=300.0, vx=560.0, vy=-1_160.0), 300_000)[1] == 68.0


@pytest.mark.parametrize(("rules", "speed"), [(Rules1, 560.0 * 1.05), (Rules2, 610.0)])
def test_centred_hit_returns_flat_and_a_little_faster(rules: type[engine.Rules], speed: float) -> None:
    (hit,) = engine.decide(served(rules=rules))
    assert hit == Hit(v=2, t=1_892_857, side=1, n=1, x=1000.0, y=300.0, vx=-speed, vy=0.0)


@pytest.mark.parametrize(
    ("rules", "paddle", "slope", "speed"),
    [
        (Rules1, 240.0, 0.85, 588.0),
        (Rules1, 330.0, -0.425, 588.0),
        (Rules2, 238.0, 1.4, 1342.0),  # the edge: steep, and fast
        (Rules2, 331.0, -0.7, 793.0),
    ],
)
def test_distance_from_the_middle_of_the_paddle_steers_the_ball(
    rules: type[engine.Rules], paddle: float, slope: float, speed: float
) -> None:
    (hit,) = engine.decide(play(served(rules=rules), (engine.move, 1_000_000, 1, paddle)))
    assert isinstance(hit, Hit)
    assert hit.vx == pytest.approx(-speed)
    assert hit.vy == pytest.approx(-hit.vx * slope)


@pytest.mark.parametrize(("rules", "paddle"), [(Rules1, 361.0), (Rules2, 363.0)])
def test_ball_beyond_the_edge_of_the_paddle_is_a_point(rules: type[engine.Rules], paddle: float) -> None:
    (point,) = engine.decide(play(served(rules=rules), (engine.move, 1_000_000, 1, paddle)))
    assert point == Point(v=3, t=1_892_857, side=0, score=(1, 0))


def test_paddles_burn_shorter_in_a_rally_and_are_whole_at_the_next_serve() -> None:
    rules = Rules2()
    assert [rules.half_at(hits) for hits in (0, 2, 3, 10, 14, 15, 16, 99)] == [52, 52, 50, 36, 28, 26, 26, 26]
    state = replace(served(), rally_hits=10)
    assert engine.decide(play(state, (engine.move, 1_000_000, 1, 346.0)))[0].k == "hit"
    assert engine.decide(play(state, (engine.move, 1_000_000, 1, 346.1)))[0].k == "point"
    again = play(state, (engine.move, 1_000_000, 1, 346.1), (engine.decide,), (engine.serve, 4_000_000, 1, 0.0))
    assert again.rules.half_at(again.rally_hits) == 52


def test_a_smash_is_fast_for_one_flight_only() -> None:
    rules = Rules2()
    smash = rules.speed_after(560.0, 9, 1.0)
    assert smash == rules.speed_max
    assert rules.speed_after(smash, 10, 0.0) == 1110.0
    assert rules.speed_after(smash, 40, 0.0) == rules.speed_base


def test_last_point_ends_the_match() -> None:
    point, end = engine.decide(play(served(points=1), (engine.move, 1_000_000, 1, 500.0)))
    assert isinstance(point, Point)
    assert end == End(v=4, t=point.t, winner=0, reason="score", score=(1, 0))


def test_paddle_stops_at_its_target_and_targets_stop_at_the_field() -> None:
    (pad,) = engine.move(engine.initial(), 0, 0, 10_000.0, 5)
    assert pad == Pad(v=1, t=0, side=0, y=300.0, target=574.0, seq=5)
    paddle = engine.apply(engine.initial(), pad).paddles[0]
    assert engine.paddle_at(paddle, 100_000) == 356.0
    assert engine.paddle_at(paddle, 1_000_000) == 574.0
    (pad,) = engine.move(engine.initial(Rules1()), 0, 0, 10_000.0, 5)
    assert pad.target == 550.0


def test_releasing_stops_the_paddle_where_it_is() -> None:
    state = play(engine.initial(), (engine.move, 0, 0, 550.0), (engine.move, 100_000, 0, None))
    assert engine.paddle_at(state.paddles[0], 9_000_000) == 356.0


def test_input_that_arrives_after_the_crossing_but_within_the_grace_still_saves() -> None:
    state = play(served(), (engine.move, 1_000_000, 1, 500.0))
    crossing = engine.next_crossing(state)
    assert crossing is not None
    now = crossing.t + 50_000
    early = engine.admit(state, 1, crossing.t - 60_000, now, 120_000)
    assert early == crossing.t - 60_000
    assert engine.admit(state, 1, crossing.t - 60_000, now, 80_000) == now - 80_000  # beyond the grace: from the cap


def test_input_from_beyond_the_own_crossing_settles_it_first() -> None:
    hit, pad = engine.move(served(), 1_900_000, 1, 550.0)
    assert isinstance(hit, Hit)
    assert isinstance(pad, Pad)
    assert (hit.t, pad.t) == (1_892_857, 1_900_000)


def test_input_after_the_lost_match_changes_nothing() -> None:
    state = play(served(points=1), (engine.move, 1_000_000, 1, 550.0))
    assert [event.k for event in engine.move(state, 1_900_000, 1, 300.0)] == ["point", "end"]
    over = play(state, (engine.decide,))
    assert engine.move(over, 1_900_000, 1, 300.0) == ()


def test_input_of_the_other_side_leaves_the_crossing_open() -> None:
    assert [event.k for event in engine.move(served(), 1_900_000, 0, 550.0)] == ["pad"]


def test_input_cannot_reach_behind_a_decided_crossing() -> None:
    state = play(served(), (engine.decide,))
    assert engine.admit(state, 1, 1_800_000, 1_900_000, 120_000) == 1_892_857
    assert engine.admit(state, 0, 1_800_000, 1_900_000, 120_000) == 1_800_000  # that paddle took no part in it


def test_pause_calls_off_an_announced_serve() -> None:
    state = play(served(), (engine.pause, 400_000, "peer", 1))
    assert (state.phase, state.ball, state.reason) == ("paused", None, "peer")
    assert play(state, (engine.resume, 900_000)).phase == "ready"


def test_no_pause_while_the_ball_flies() -> None:
    with pytest.raises(ValueError, match="cannot pause"):
        engine.pause(served(), 1_000_000, "peer", 0)
    with pytest.raises(ValueError, match="cannot pause"):
        engine.pause(play(served(), (engine.decide,)), 3_000_000, "server")


def test_forfeit_ends_a_rally() -> None:
    state = play(served(), (engine.end, 1_500_000, 0, "forfeit"))
    assert (state.phase, state.winner, state.reason, state.score) == ("over", 0, "forfeit", (0, 0))


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (Pause(v=3, t=2_000_000, reason="server", side=None), "version gap"),
        (Pad(v=2, t=-1, side=0, y=300.0, target=300.0, seq=0), "time runs backwards"),
    ],
)
def test_events_out_of_order_are_refused(event: engine.Event, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        engine.apply(served(), event)


def test_nothing_follows_the_end() -> None:
    over = play(served(), (engine.end, 1_500_000, None, "abandoned"))
    with pytest.raises(ValueError, match="over"):
        engine.apply(over, Pad(v=3, t=2_000_000, side=0, y=300.0, target=300.0, seq=0))
    with pytest.raises(ValueError, match="ready"):
        engine.serve(over, 2_000_000, 1, 0.0)


def test_serve_needs_a_direction_of_one() -> None:
    with pytest.raises(ValueError, match="left"):
        engine.serve(engine.initial(), 0, 0, 0.0)


@pytest.mark.parametrize(
    "data",
    [
        {"k": "teleport", "v": 1, "t": 0},
        {"k": "resume", "v": 1, "t": 0.5},
        {"k": "resume", "t": 0},
        {"k": "pad", "v": 1, "t": 0, "side": 2, "y": 1, "target": 1, "seq": 0},
        {"k": "pad", "v": 1, "t": 0, "side": 1, "y": float("nan"), "target": 1, "seq": 0},
    ],
)
def test_malformed_events_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an event"):
        engine.event_from_json(data)


def test_states_of_unknown_schema_or_rules_are_refused() -> None:
    data = engine.state_to_json(engine.initial())
    with pytest.raises(ValueError, match="schema 2"):
        engine.state_from_json({**data, "schema": 2})
    with pytest.raises(ValueError, match="rules version 9"):
        engine.state_from_json({**data, "rules": {**data["rules"], "version": 9}})
