"""The computer's side of a match: it plans when it looks at the ball, and moves by the same inputs as people."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import engine
from engine.ai import Level, Random, plan

TIMERS: Final = ("ai rough", "ai fine")


class Move(Protocol):
    def __call__(self, claimed: int, target: float | None) -> object: ...


class Computer:
    """The player of `side`. `after` and `cancel` set the match's timers, `move` is an input at a match time (µs)."""

    def __init__(
        self,
        side: int,
        level: Level,
        rng: Random,
        *,
        after: Callable[[str, int, Callable[[], object]], None],
        cancel: Callable[..., None],
        move: Move,
    ) -> None:
        self._side = side
        self._level = level
        self._rng = rng
        self._after = after
        self._cancel = cancel
        self._move = move

    def look(self, state: engine.MatchState, now: int) -> None:
        """Look at the ball anew. Inputs count from when they were planned, however late their timers are."""
        self._cancel(*TIMERS)
        for name, (t, target) in zip(TIMERS, plan(state, self._side, self._level, self._rng, now), strict=False):
            self._after(name, t, partial(self._move, t, target))
