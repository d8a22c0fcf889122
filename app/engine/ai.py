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
    adds `spread_bounce`. A player whose spread stays below the paddle's reach never misses by judgement alone.
    `placing` is how far from the middle of the paddle it likes to take the ball, for a steeper return. `lapse` is the
    chance of a gross misjudgement at a serve, `lapse_fast` at the highest ball speed: it misses clean, where a wide
    spread would make steep returns that a weak player cannot follow.
    """

    reaction: tuple[int, int]
    spread: float
    spread_fast: float
    spread_bounce: float
    placing: float
    lapse: float = 0.0
    lapse_fast: float = 0.0


# By the version of the rules
SKILLS: dict[int, dict[str, Skill]] = {
    1: {
        "easy": Skill(reaction=(220_000, 420_000), spread=85.0, spread_fast=200.0, spread_bounce=25.0, placing=0.0),
        "normal": Skill(reaction=(160_000, 300_000), spread=62.0, spread_fast=115.0, spread_bounce=12.0, placing=15.0),
        "hard": Skill(reaction=(100_000, 180_000), spread=30.0, spread_fast=62.0, spread_bounce=5.0, placing=28.0),
    },
    2: {
        "easy": Skill(
            reaction=(250_000, 450_000),
            spread=20.0,
            spread_fast=40.0,
            spread_bounce=10.0,
            placing=0.0,
            lapse=0.26,
            lapse_fast=0.45,
        ),
        "normal": Skill(reaction=(180_000, 300_000), spread=50.5, spread_fast=108.5, spread_bounce=10.0, placing=12.0),
        "hard": Skill(reaction=(140_000, 240_000), spread=42.5, spread_fast=91.0, spread_bounce=8.0, placing=15.0),
    },
}
LEVELS = tuple(SKILLS[2])
LAPSE = (80.0, 160.0)  # u beside the ball


def plan(state: MatchState, side: int, level: str, rng: Random, now: int) -> list[tuple[int, float]]:
    """Inputs `(t, target)` for the paddle of `side`, in order of time, none before `now` (match time, µs).

    Call it after every `serve`, `hit` and `point`; a new plan replaces what is left of the one before. It looks at
    the ball only when that flies toward `side`, so at most once in two flights, which take more than a second
    together. Then it moves roughly at first and corrects half-way. When the ball flies away it drifts back to the
    middle. `rng` gives uniform numbers in [0, 1). KeyError if the level is not known.
    """
    skill = SKILLS[state.rules.version][level]
    fastest, slowest = skill.reaction
    react = int(fastest + (slowest - fastest) * rng())
    crossing = next_crossing(state)
    if state.ball is None or crossing is None or crossing.side != side:
        return [(now + react, state.rules.height / 2 + 60.0 * _error(rng))]
    spread, lapse = _doubt(skill, state, state.ball, crossing)
    aim = crossing.y + spread * _error(rng) + skill.placing * (2.0 * rng() - 1.0)
    if rng() < lapse:
        miss = LAPSE[0] + (LAPSE[1] - LAPSE[0]) * rng()
        aim += miss if rng() < 0.5 else -miss
    seen = max(now, state.ball.t) + react
    corrected = seen + (crossing.t - seen) // 2
    rough = aim + spread * _error(rng)
    moves = [(seen, rough), (corrected, aim)] if seen < corrected else [(seen, aim)]
    return [(t, target) for t, target in moves if t < crossing.t]


def _doubt(skill: Skill, state: MatchState, ball: Ball, crossing: Crossing) -> tuple[float, float]:
    """Largest error (u) of the aim at this ball, and the chance of a lapse: fast and bounced balls are hard to read."""
    rules = state.rules
    speed = -ball.vx if ball.vx < 0 else ball.vx
    haste = (speed - rules.serve_speed) / (rules.speed_max - rules.serve_speed)
    straight = ball.y + ball.vy * (crossing.t - ball.t) / SECOND
    bounced = not rules.ball_radius <= straight <= rules.height - rules.ball_radius
    spread = skill.spread + (skill.spread_fast - skill.spread) * haste + (skill.spread_bounce if bounced else 0.0)
    return spread, skill.lapse + (skill.lapse_fast - skill.lapse) * haste


def _error(rng: Random) -> float:
    """An error between -1 and 1, small ones more likely (triangular)."""
    return rng() - rng()
