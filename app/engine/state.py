"""The state of a match: a value, changed only by folding events over it (`engine.match.apply`)."""

from typing import Literal

from msgspec import Struct

from engine.rules import RULES, Rules

Phase = Literal["ready", "serve", "rally", "paused", "over"]


class Ball(Struct, frozen=True):
    """A straight line from `(x, y)` at `t` (µs) with velocity `(vx, vy)` in u/s, folded at the walls."""

    t: int
    x: float
    y: float
    vx: float
    vy: float


class Paddle(Struct, frozen=True):
    """At `t` (µs) the centre is at `y`; from there it moves toward `target` at the paddle speed and stops there."""

    t: int
    y: float
    target: float


class MatchState(Struct, frozen=True):
    """One match between two events.

    `phase`: `ready` (no ball, a serve is due), `serve` (ball announced or in flight, not yet returned), `rally`,
    `paused`, `over`. `t` is the time of the last decided event other than `pad`: nothing of the ball before it can
    change. A serve does not move `t`, because its own time may lie ahead and a pause may still cancel it.
    `rally_hits` counts the current rally, and the last one until the next serve. `reason` belongs to `paused`
    and `over`.
    """

    rules: Rules
    version: int
    phase: Phase
    t: int
    ball: Ball | None
    paddles: tuple[Paddle, Paddle]
    score: tuple[int, int]
    rally_hits: int
    winner: int | None
    reason: str | None


def initial(rules: Rules = RULES) -> MatchState:
    """A match at time 0 and version 0: paddles in the middle, no ball, nil all."""
    middle = rules.height / 2
    paddle = Paddle(t=0, y=middle, target=middle)
    return MatchState(
        rules=rules,
        version=0,
        phase="ready",
        t=0,
        ball=None,
        paddles=(paddle, paddle),
        score=(0, 0),
        rally_hits=0,
        winner=None,
        reason=None,
    )
