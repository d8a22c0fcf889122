"""The computer player is human enough: levels differ, rallies are neither over at once nor endless."""

import random
from collections.abc import Callable
from statistics import median

import pytest

import engine
from engine import Event, MatchState, rules_of
from engine.ai import LEVELS, plan
from engine.rules import VERSIONS


def duel(levels: tuple[str, str], seed: int, version: int) -> tuple[MatchState, list[int]]:
    """A match of two computer players: the final state and the hits of each rally."""
    rng: Callable[[], float] = random.Random(seed).random
    state = engine.initial(rules_of(version, 5))
    plans: list[list[tuple[int, float]]] = [[], []]
    rallies: list[int] = []

    def fold(events: tuple[Event, ...]) -> None:
        nonlocal state
        for event in events:
            state = engine.apply(state, event)
            if event.k in ("serve", "hit", "point"):
                plans[:] = [plan(state, side, levels[side], rng, event.t) for side in (0, 1)]
            if event.k == "point":
                rallies.append(state.rally_hits)

    while state.phase != "over":
        crossing = engine.next_crossing(state)
        if crossing is None:
            fold(engine.serve(state, state.t + 1_200_000, -1 if rng() < 0.5 else 1, rng() - 0.5))
            continue
        due = [(moves[0][0], side) for side, moves in enumerate(plans) if moves and moves[0][0] < crossing.t]
        if due:
            t, side = min(due)
            fold(engine.move(state, t, side, plans[side].pop(0)[1]))
        else:
            fold(engine.decide(state))
    return state, rallies


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("weak", "strong"), [("easy", "normal"), ("normal", "hard")])
def test_the_better_level_wins_most_matches(weak: str, strong: str, version: int) -> None:
    wins = sum(duel((weak, strong), seed, version)[0].winner == 1 for seed in range(20))
    assert wins >= 13


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", LEVELS)
def test_rallies_have_a_sensible_length(level: str, version: int) -> None:
    rallies = [hits for seed in range(12) for hits in duel((level, level), seed, version)[1]]
    assert 2 <= median(rallies) <= 60
    assert max(rallies) < 300


@pytest.mark.parametrize("level", LEVELS)
def test_a_plan_is_in_order_and_ends_before_the_ball_is_there(level: str) -> None:
    state = engine.initial()
    for event in engine.serve(state, 1_200_000, 1, 0.5):
        state = engine.apply(state, event)
    crossing = engine.next_crossing(state)
    assert crossing is not None
    moves = plan(state, 1, level, random.Random(1).random, now=100_000)
    times = [t for t, _ in moves]
    assert times == sorted(times)
    assert times[0] > 1_200_000
    assert times[-1] < crossing.t


def test_the_side_without_the_ball_drifts_to_the_middle() -> None:
    state = engine.initial()
    ((t, target),) = plan(state, 0, "easy", random.Random(1).random, now=0)
    assert t > 0
    assert 240 <= target <= 360
