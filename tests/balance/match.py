"""Whole matches between models of people and machines, on the product's own rules, without a clock or a network."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import engine
from engine import SECOND, Event, MatchState
from tests.balance.people import Person, Random

FIRST_SERVE = 3 * SECOND
SERVE = 1_200_000
SLOPE = 0.6
HITS_MOST = 5_000  # a match that does not end is told as one

Chair = Callable[[int, Random], Person]


@dataclass
class Played:
    """What became of a match. `winners` counts points whose loser was still on the way."""

    winner: int | None
    seconds: float
    rallies: list[int] = field(default_factory=list)
    winners: int = 0


def play(chairs: tuple[Chair, Chair], seed: int, rules: engine.Rules = engine.RULES) -> Played:
    """One match, the same for the same seed."""
    rng = random.Random(seed).random
    people = [chair(side, rng) for side, chair in enumerate(chairs)]
    state = engine.initial(rules)
    played = Played(winner=None, seconds=0.0)
    began = 0

    def fold(state: MatchState, events: tuple[Event, ...]) -> MatchState:
        for event in events:
            if event.k == "point":
                played.rallies.append(state.rally_hits)
                paddle = state.paddles[1 - event.side]
                at = engine.paddle_at(paddle, event.t, rules)
                played.winners += at != paddle.target
            state = engine.apply(state, event)
            if event.k in ("serve", "hit", "point"):
                for person in people:
                    person.look(state, event.t if event.k != "serve" else state.t)
        return state

    while state.phase != "over" and sum(played.rallies) + state.rally_hits < HITS_MOST:
        crossing = engine.next_crossing(state)
        if crossing is None:
            t = state.t + (SERVE if played.rallies else FIRST_SERVE)
            began = began or t
            state = fold(state, engine.serve(state, t, -1 if rng() < 0.5 else 1, SLOPE * (2 * rng() - 1)))
            continue
        due = min(((person.due, side) for side, person in enumerate(people) if person.due is not None), default=None)
        if due is None or due[0] >= crossing.t:
            state = fold(state, engine.decide(state))
            continue
        t, side = max(due[0], state.paddles[due[1]].t), due[1]
        target = people[side].act(state, t)
        if target is not None:
            state = fold(state, engine.move(state, t, side, target))
    played.winner = state.winner
    played.seconds = (state.t - began) / SECOND
    return played
