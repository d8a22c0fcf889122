"""The computer player. It sees what a person sees, looks once a flight, errs like one and moves by the same inputs.

Unlike the rules, this need not agree with anything in the browser: only the inputs that come of it are recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.geometry import Crossing, next_crossing
from engine.rules import SECOND
from engine.state import Ball, MatchState

Level = Literal["easy", "normal", "hard"]
Random = Callable[[], float]  # uniform in [0, 1)


@dataclass(frozen=True, slots=True)
class Skill:
    """How good a player is. Times in µs, lengths in u.

    `spread` bounds the error of the aim at a serve, `spread_fast` at the highest ball speed; a wall bounce on the way
    adds `spread_bounce`. A paddle reaches 60 u, so a player whose spread stays below never misses by judgement alone.
    `placing` is how far from the middle of the paddle it likes to take the ball, for a steeper return.
    """

    reaction: tuple[int, int]
    spread: float
    spread_fast: float
    spread_bounce: float
    placing: float


SKILLS: dict[str, Skill] = {
    "easy": Skill(reaction=(220_000, 420_000), spread=85.0, spread_fast=200.0, spread_bounce=25.0, placing=0.0),
    "normal": Skill(reaction=(160_000, 300_000), spread=62.0, spread_fast=115.0, spread_bounce=12.0, placing=15.0),
    "hard": Skill(reaction=(100_000, 180_000), spread=30.0, spread_fast=62.0, spread_bounce=5.0, placing=28.0),
}


def plan(state: MatchState, side: int, level: str, rng: Random, now: int) -> list[tuple[int, float]]:
    """Inputs `(t, target)` for the paddle of `side`, in order of time, none before `now` (match time, µs).

    Call it after every `serve`, `hit` and `point`; a new plan replaces what is left of the one before. It looks at
    the ball only when that flies toward `side`, so at most once in two flights, which take more than a second
    together. Then it moves roughly at first and corrects half-way. When the ball flies away it drifts back to the
    middle. `rng` gives uniform numbers in [0, 1). KeyError if the level is not known.
    """
    skill = SKILLS[level]
    fastest, slowest = skill.reaction
    react = int(fastest + (slowest - fastest) * rng())
    crossing = next_crossing(state)
    if state.ball is None or crossing is None or crossing.side != side:
        return [(now + react, state.rules.height / 2 + 60.0 * _error(rng))]
    spread = _spread(skill, state, state.ball, crossing)
    aim = crossing.y + spread * _error(rng) + skill.placing * (2.0 * rng() - 1.0)
    seen = max(now, state.ball.t) + react
    corrected = seen + (crossing.t - seen) // 2
    rough = aim + spread * _error(rng)
    moves = [(seen, rough), (corrected, aim)] if seen < corrected else [(seen, aim)]
    return [(t, target) for t, target in moves if t < crossing.t]


def _spread(skill: Skill, state: MatchState, ball: Ball, crossing: Crossing) -> float:
    """Largest error (u) of the aim at this ball: fast balls and bounces are harder to read."""
    rules = state.rules
    speed = -ball.vx if ball.vx < 0 else ball.vx
    haste = (speed - rules.serve_speed) / (rules.speed_max - rules.serve_speed)
    straight = ball.y + ball.vy * (crossing.t - ball.t) / SECOND
    bounced = not rules.ball_radius <= straight <= rules.height - rules.ball_radius
    return skill.spread + (skill.spread_fast - skill.spread) * haste + (skill.spread_bounce if bounced else 0.0)


def _error(rng: Random) -> float:
    """An error between -1 and 1, small ones more likely (triangular)."""
    return rng() - rng()
