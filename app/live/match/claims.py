"""Whether a point was lost to the network: where a paddle would have been, had every input counted from its claim.

This decides nothing. It is what a player is told, once a rally at most, and only when it made the difference.
"""

import engine
from engine import Crossing, MatchState, Paddle


class Claims:
    """The inputs of one player since the ball came his way, as they were claimed."""

    def __init__(self) -> None:
        self._way: list[Paddle] = []
        self._crossing: Crossing | None = None
        self._rules = engine.RULES
        self._reach = 0.0
        self._is_late = False
        self._is_lost = False

    def begin(self, state: MatchState, side: int) -> None:
        """The ball goes another way: a serve, or a hit of either side."""
        crossing = engine.next_crossing(state)
        self._way = [state.paddles[side]]
        self._crossing = crossing if crossing is not None and crossing.side == side else None
        self._rules = state.rules
        self._reach = state.rules.reach_at(state.rally_hits)
        self._is_late = self._is_lost = False

    def moved(self, at: int, target: float | None, *, is_late: bool) -> None:
        """An input that claims to be from `at` (match time, µs), also one that comes after the point."""
        if self._crossing is None:
            return
        last = self._way[-1]
        t = max(at, last.t)
        y = engine.paddle_at(last, t, self._rules)
        low, high = self._rules.margin, self._rules.height - self._rules.margin
        self._way.append(Paddle(t=t, y=y, target=y if target is None else min(max(target, low), high)))
        self._is_late = self._is_late or is_late

    def lost(self) -> None:
        """The ball was missed."""
        self._is_lost = self._crossing is not None

    def was_decisive(self) -> bool:
        """Whether the ball was missed because inputs came late; true once."""
        if not (self._is_lost and self._is_late) or self._crossing is None:
            return False
        t = self._crossing.t
        paddle = next((segment for segment in reversed(self._way) if segment.t <= t), self._way[0])
        away = self._crossing.y - engine.paddle_at(paddle, t, self._rules)
        if not -self._reach <= away <= self._reach:
            return False
        self._crossing = None
        return True
