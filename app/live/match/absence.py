"""How long players may be away before that ends the match."""

from collections.abc import Callable
from typing import Final

from live.clock import SECOND
from live.match.course import Course
from live.match.seat import Seat

BOTH_AWAY_US: Final = 60 * SECOND
MACHINE_US: Final = 600 * SECOND  # the machine is patient: leaving pauses, and forfeits nothing
TIMER: Final = "away"


class Absence:
    """The clocks of absent players of a course. While both are away, or against the machine, nobody's grace runs.

    `judge` hears whose time is over (None: both are away), unless the absent may be with another owner (`may_judge`).
    """

    def __init__(
        self,
        seats: tuple[Seat, Seat],
        course: Course,
        *,
        judge: Callable[[Seat | None], None],
        may_judge: Callable[[], bool],
    ) -> None:
        self._seats = seats
        self._after = course.after
        self._cancel = course.timers.cancel
        self._judge = judge
        self._may_judge = may_judge

    def restart(self, now: int) -> None:
        """Somebody came or went."""
        self._cancel(TIMER)
        for seat in self._seats:
            seat.away_stop(now)
        away = [seat for seat in self._seats if not seat.present]
        if len(away) == 2:
            self._due(now + BOTH_AWAY_US, None)
        elif away and any(seat.is_ai for seat in self._seats):
            self._due(now + MACHINE_US, None)
        elif away:
            away[0].away_start(now)
            self._due(now + away[0].away_left(now), away[0])

    def _due(self, t: int, absent: Seat | None) -> None:
        def over() -> None:
            if self._may_judge():
                self._judge(absent)
            else:
                self._due(t + SECOND, absent)

        self._after(TIMER, t, over)
