"""Models of people at the game: what they see late, how they judge it, and how their hands follow.

They are rough, and stand here so that rules and levels are measured by the same sticks. Times in µs, lengths in u.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Protocol

import engine
from engine import SECOND, MatchState
from engine.ai import plan

Random = Callable[[], float]  # uniform in [0, 1)

CORRECTION = 100_000  # between two looks
DEAD_ZONE = 10.0  # nobody corrects less
WATCHED = 200_000  # a judgement sharpens with this time constant, down to half of its first error
HOME = (120_000, 160_000)  # after the own hit, back to the middle
SURE = 1.3  # standard deviations between the aim and the edge of the paddle


class Person(Protocol):
    """Someone at a paddle. `look` after every serve, hit and point; `act` at the time that `due` tells."""

    due: int | None

    def look(self, state: MatchState, now: int) -> None: ...

    def act(self, state: MatchState, now: int) -> float | None:
        """Where the paddle goes from now on; None: it keeps its way."""


@dataclass(frozen=True)
class Profile:
    """How good a predictor is: error of the angle (rad), of the hand (s of the paddle's way), of a bounce (u)."""

    angle: float
    hand: float
    bounce: float
    delay: int = 250_000
    attack: float = 0.45  # how far from the middle of the paddle the ball is taken, as a part of its reach


# By version 1 of the rules `GOOD` plays rallies of some 40 hits against hard, as somebody with real keys did
GOOD = Profile(0.06, 0.018, 22.0)
FAIR = Profile(0.068, 0.021, 27.0)
AVERAGE = Profile(0.075, 0.024, 30.0)
CASUAL = Profile(0.09, 0.03, 38.0)


class Predictor:
    """Sees a course late, foresees where the ball lands, and corrects while it comes."""

    def __init__(self, side: int, profile: Profile, rng: Random) -> None:
        self.side = side
        self.profile = profile
        self.rng = rng
        self.due: int | None = None
        self._errors = (0.0, 0.0)
        self._offset = 0.0

    def look(self, state: MatchState, now: int) -> None:
        crossing = engine.next_crossing(state)
        if crossing is None or state.ball is None or crossing.side != self.side:
            self.due = now + _between(HOME, self.rng)
            return
        self.due = max(now, state.ball.t) + self.profile.delay
        self._errors = (_normal(self.rng), _normal(self.rng))
        self._offset = self._aim(state, self._spread(state, max(now, state.ball.t) + self.profile.delay))

    def act(self, state: MatchState, now: int) -> float | None:
        rules = state.rules
        crossing = engine.next_crossing(state)
        if crossing is None or crossing.side != self.side:
            self.due = None
            return rules.height / 2
        later = now + CORRECTION
        self.due = later if later < crossing.t else None
        blur, bounce = self._spread_parts(state, now)
        aim = crossing.y + blur * self._errors[0] + bounce * self._errors[1] - self._offset
        at = engine.paddle_at(state.paddles[self.side], now, rules)
        if -DEAD_ZONE < aim - at < DEAD_ZONE:
            return None
        return aim + self.profile.hand * rules.paddle_speed * _normal(self.rng)

    def _spread_parts(self, state: MatchState, now: int) -> tuple[float, float]:
        """Standard deviations (u) of the judgement at `now`: by the angle, and by bounces still ahead."""
        ball, crossing = state.ball, engine.next_crossing(state)
        assert ball is not None
        assert crossing is not None
        seen = max(ball.t, now - self.profile.delay)
        slope = ball.vy / ball.vx
        unseen = abs(ball.vx) * (crossing.t - seen) / SECOND
        sharp = 0.5 + 0.5 * exp(-(seen - ball.t) / WATCHED)
        blur = self.profile.angle * sharp * (1 + slope * slope) * unseen
        y = engine.ball_at(ball, seen, state.rules)[1]
        way = abs(ball.vy) * (crossing.t - seen) / SECOND
        first = (state.rules.height - y if ball.vy > 0 else y) - state.rules.ball_radius
        bounces = 0 if way < first else 1 + int((way - first) / (state.rules.height - 2 * state.rules.ball_radius))
        return blur, self.profile.bounce * bounces

    def _spread(self, state: MatchState, now: int) -> float:
        blur, bounce = self._spread_parts(state, now)
        hand = self.profile.hand * state.rules.paddle_speed
        return float((blur * blur + bounce * bounce + hand * hand) ** 0.5)

    def _aim(self, state: MatchState, spread: float) -> float:
        """How far above the middle of the paddle the ball is taken: half of the time where it hurts most."""
        rules, crossing = state.rules, engine.next_crossing(state)
        assert crossing is not None
        reach = rules.reach_at(state.rally_hits)
        most = max(0.0, min(self.profile.attack * reach, reach - SURE * spread))
        if self.rng() < 0.5:
            return most * (2 * self.rng() - 1)
        other = state.paddles[1 - self.side].y

        def distance(offset: float) -> float:
            vx = rules.speed_after(rules.serve_speed, state.rally_hits, offset / reach)
            y = crossing.y + offset / reach * rules.slope_max * rules.width
            ball = engine.Ball(t=0, x=0.0, y=crossing.y, vx=vx, vy=vx * (offset / reach * rules.slope_max))
            y = engine.ball_at(ball, int(rules.width * SECOND / vx), rules)[1]
            return abs(y - other)

        return max((-most, -most / 2, 0.0, most / 2, most), key=distance)


class Chaser:
    """Goes to where the ball was a moment ago, and knows nothing of where it will be."""

    def __init__(self, side: int, delay: int) -> None:
        self.side = side
        self.delay = delay
        self.due: int | None = None
        self._courses: list[tuple[int, engine.Ball | None]] = []

    def look(self, state: MatchState, now: int) -> None:
        self._courses = [*self._courses[-8:], (now, state.ball)]
        self.due = now + 1 if self.due is None else self.due

    def act(self, state: MatchState, now: int) -> float | None:
        self.due = now + 40_000
        seen = now - self.delay
        ball = next((ball for since, ball in reversed(self._courses) if since <= seen), None)
        return state.rules.height / 2 if ball is None else engine.ball_at(ball, seen, state.rules)[1]


class Machine:
    """The product's own computer player."""

    def __init__(self, side: int, level: str, rng: Random) -> None:
        self.side = side
        self.level = level
        self.rng = rng
        self._moves: list[tuple[int, float]] = []

    @property
    def due(self) -> int | None:
        return self._moves[0][0] if self._moves else None

    def look(self, state: MatchState, now: int) -> None:
        self._moves = plan(state, self.side, self.level, self.rng, now)

    def act(self, state: MatchState, now: int) -> float | None:
        return self._moves.pop(0)[1]


def _between(bounds: tuple[int, int], rng: Random) -> int:
    low, high = bounds
    return low + int((high - low) * rng())


def _normal(rng: Random) -> float:
    """Nearly normal, of variance 1: a sum of twelve."""
    return sum(rng() for _ in range(12)) - 6.0
