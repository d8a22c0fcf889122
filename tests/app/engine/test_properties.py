"""What holds in every match, however it is played."""

import itertools
import json
from dataclasses import dataclass
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import SECOND, Event, Hit, MatchState, Pad, Point, Serve, rules_of

EPSILON = 1e-6  # u; rounding of sums of doubles

ACTIONS = st.one_of(
    st.tuples(st.just("hand"), st.integers(0, 400_000), st.integers(0, 1), st.none() | st.floats(-500, 1_100)),
    st.tuples(st.just("aim"), st.integers(0, 400_000), st.integers(0, 1), st.floats(-70, 70)),
    st.tuples(st.just("aim"), st.just(0), st.integers(0, 1), st.floats(-30, 30)),
    st.tuples(st.just("decide"), st.just(0), st.just(0), st.floats(-2, 2)),
)


@dataclass(frozen=True)
class Played:
    """A match, or the beginning of one: the events and the state before each of them and after the last."""

    events: list[Event]
    states: list[MatchState]

    @property
    def last(self) -> MatchState:
        return self.states[-1]


@st.composite
def matches(draw: st.DrawFn) -> Played:
    """Any sequence of serves, inputs of both players and decisions, until the match or the sequence is over."""
    states = [engine.initial(rules_of(draw(st.sampled_from((2, 1))), draw(st.integers(1, 3))))]
    events: list[Event] = []

    def fold(new: tuple[Event, ...]) -> None:
        for event in new:
            events.append(event)
            states.append(engine.apply(states[-1], event))

    for kind, delay, side, value in draw(st.lists(ACTIONS, max_size=80)):
        state = states[-1]
        if state.phase == "over":
            break
        crossing = engine.next_crossing(state)
        if crossing is None:
            fold(engine.serve(state, state.t + 1_200_000, 1 if side else -1, value or 0.0))
        elif kind == "decide":
            fold(engine.decide(state))
        elif kind == "aim":
            start = max(state.t, state.paddles[crossing.side].t)
            fold(
                engine.move(
                    state, min(start + delay, max(start, crossing.t)), crossing.side, crossing.y + (value or 0.0), 1
                )
            )
        else:
            fold(engine.move(state, max(state.t, state.paddles[side].t) + delay, side, value, 1))
    return Played(events, states)


@given(matches())
def test_state_is_the_fold_of_its_events(played: Played) -> None:
    assert reduce(engine.apply, played.events, played.states[0]) == played.last


@given(matches())
def test_versions_have_no_gap_and_time_never_runs_back(played: Played) -> None:
    assert [event.v for event in played.events] == list(range(1, len(played.events) + 1))
    for side in (0, 1):
        times = [event.t for event in played.events if isinstance(event, Pad) and event.side == side]
        assert times == sorted(times)
    times = [event.t for event in played.events if not isinstance(event, Pad)]
    assert times == sorted(times)


@given(matches())
def test_everything_survives_the_wire(played: Played) -> None:
    for event in played.events:
        assert engine.event_from_json(json.loads(json.dumps(engine.event_to_json(event)))) == event
    assert engine.state_from_json(json.loads(json.dumps(engine.state_to_json(played.last)))) == played.last


@given(matches())
def test_every_rally_is_a_serve_then_hits_of_alternating_sides_then_a_point(played: Played) -> None:
    rallies: list[list[Event]] = []
    for event in played.events:
        if isinstance(event, Serve):
            rallies.append([event])
        elif isinstance(event, Hit | Point):
            rallies[-1].append(event)
    for number, (serve, *rest) in enumerate(rallies):
        assert isinstance(serve, Serve)
        defender = 0 if serve.vx < 0 else 1
        for n, event in enumerate(rest, start=1):
            if isinstance(event, Hit):
                assert (event.side, event.n) == (defender, n)
                defender = 1 - defender
            else:
                assert isinstance(event, Point)
                assert event.side == 1 - defender
                assert n == len(rest)
        if number < len(rallies) - 1:
            assert isinstance(rest[-1], Point)


@given(matches())
def test_points_add_up_and_the_match_ends_with_the_last_one(played: Played) -> None:
    points = [event for event in played.events if isinstance(event, Point)]
    score = tuple(sum(point.side == side for point in points) for side in (0, 1))
    assert played.last.score == score
    assert (played.last.phase == "over") == (max(score) == played.last.rules.points)
    if played.last.phase == "over":
        assert played.last.winner == points[-1].side == score.index(max(score))
        assert played.last.reason == "score"


@given(matches())
def test_speed_follows_from_the_rules_and_the_slope_is_bounded(played: Played) -> None:
    rules = played.last.rules
    for before, event in zip(played.states, played.events, strict=False):
        if isinstance(event, Serve):
            assert abs(event.vx) == rules.serve_speed
        elif isinstance(event, Hit) and before.ball is not None:
            offset = event.y - engine.paddle_at(before.paddles[event.side], event.t, rules)
            reach = rules.reach_at(event.n - 1)
            assert abs(event.vx) == rules.speed_after(abs(before.ball.vx), event.n - 1, offset / reach)
            assert rules.serve_speed < abs(event.vx) <= rules.speed_max
        else:
            continue
        assert abs(event.vy) <= abs(event.vx) * rules.slope_max + EPSILON


@given(matches())
def test_flights_are_longer_than_all_latencies_together(played: Played) -> None:
    """So every result reaches the other side before it matters there: grace, two ways and 50 ms of jitter."""
    rules = played.last.rules
    contacts = [event.t for event in played.events if isinstance(event, Serve | Hit | Point)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(contacts)]
    assert all(gap >= rules.flight_min for gap in gaps)
    one_way = 75_000 if rules.version == 1 else 125_000
    assert rules.flight_min > rules.grace_max + 2 * one_way + 50_000


@given(matches(), st.floats(0, 1))
def test_ball_and_paddles_stay_in_the_field_at_any_moment(played: Played, part: float) -> None:
    for state in played.states:
        rules = state.rules
        crossing = engine.next_crossing(state)
        until = state.t + SECOND if crossing is None else crossing.t
        t = state.t + int((until - state.t) * part)
        for paddle in state.paddles:
            y = engine.paddle_at(paddle, t, rules)
            assert rules.margin <= y <= rules.height - rules.margin
        if state.ball is not None:
            x, y = engine.ball_at(state.ball, t, rules)
            assert -EPSILON <= x <= rules.width + EPSILON
            assert rules.ball_radius - EPSILON <= y <= rules.height - rules.ball_radius + EPSILON


@given(matches())
def test_the_ball_never_tunnels(played: Played) -> None:
    """At every crossing the outcome is what a look at ball and paddle in that moment says."""
    for before, event in zip(played.states, played.events, strict=False):
        if not isinstance(event, Hit | Point):
            continue
        crossing = engine.next_crossing(before)
        assert crossing is not None
        assert event.t == crossing.t
        assert before.ball is not None
        x, y = engine.ball_at(before.ball, event.t, before.rules)
        plane = 0.0 if crossing.side == 0 else before.rules.width
        assert abs(x - plane) <= abs(before.ball.vx) / SECOND + EPSILON  # the plane is met within 1 µs
        distance = abs(y - engine.paddle_at(before.paddles[crossing.side], event.t, before.rules))
        assert isinstance(event, Hit) == (distance <= before.rules.reach_at(before.rally_hits))


@given(matches())
def test_paddles_move_without_jumps_and_no_faster_than_allowed(played: Played) -> None:
    for before, event in zip(played.states, played.events, strict=False):
        if isinstance(event, Pad):
            paddle = before.paddles[event.side]
            assert event.y == engine.paddle_at(paddle, event.t, before.rules)
            most = before.rules.paddle_speed * (event.t - paddle.t) / SECOND
            assert abs(event.y - paddle.y) <= most + EPSILON


@given(matches(), st.integers(0, 1), st.integers(0, 10_000_000), st.integers(0, 10_000_000), st.integers(0, 120_000))
@settings(max_examples=200)
def test_an_admitted_input_can_always_be_played(
    played: Played, side: int, claimed: int, later: int, grace: int
) -> None:
    """Whatever a client claims, the input counts within its grace and changes nothing that was decided."""
    for state in played.states:
        now = max(state.t, state.paddles[side].t) + later
        t = engine.admit(state, side, claimed, now, grace)
        assert max(now - grace, state.paddles[side].t) <= t <= now
        for event in engine.move(state, t, side, 300.0) if state.phase != "over" else ():
            state = engine.apply(state, event)
