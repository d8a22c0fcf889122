"""How late a player's inputs may count: the grace, measured by the server, capped, and metered by a quota.

The model is lichess' lag compensation, by the server's own measurement alone: answers to WebSocket ping frames, which
browsers give without any script. A client of somebody's
own may hold these answers back as well, so the quota is refilled by what the edge's kernel has measured: whoever claims
more than that lives on what is in the bucket.
"""

from itertools import pairwise
from typing import Final

MARGIN_US: Final = 10_000  # timers and scheduling on both ends
LINE_JITTER_US: Final = 40_000  # what the inputs of an honest line may need beyond half of its round trip
SAMPLES_MIN: Final = 4  # no grace before
SAMPLES: Final = 16
QUOTA_START: Final = 3  # in units of the largest grace
QUOTA_MAX: Final = 7
QUOTA_REFILL: Final = 0.5  # a crossing, where no edge has measured: whoever needs more every time runs dry
QUOTA_REFILL_LEAST: Final = 0.25  # of a line that was quick when it was measured, once


class LatencyMeter:
    """Round trips of one player and the grace that follows from them. All times in µs."""

    def __init__(self, grace_max: int) -> None:
        self._grace_max = grace_max
        self._one_way: list[int] = []
        self._quota = float(QUOTA_START * grace_max)
        self._refill = QUOTA_REFILL * grace_max
        self._grace = 0
        self.rtt: int | None = None

    def sample(self, rtt: int | None) -> None:
        """Count a round trip that the server has measured; None: it has not.

        What a page says of its own is a median, which knows nothing of jitter, and gains nobody anything.
        """
        if rtt is None:
            return
        self.rtt = rtt
        self._one_way.append(rtt // 2)
        del self._one_way[:-SAMPLES]
        if len(self._one_way) >= SAMPLES_MIN:
            self._grace = min(self._spread() + MARGIN_US, self._grace_max)

    def line_measured(self, rtt: int | None) -> None:
        """Go by the round trip that the kernel of the edge has measured; None: nobody has."""
        share = QUOTA_REFILL if rtt is None else QUOTA_REFILL_LEAST
        self._refill = min(max(share * self._grace_max, (rtt or 0) / 2 + LINE_JITTER_US), float(self._grace_max))

    @property
    def grace(self) -> int:
        """How far back an input may count, and how long a crossing waits for one."""
        return min(self._grace, int(self._quota))

    def crossing(self, used: int) -> None:
        """A crossing of this player was decided; since the one before it an input has counted `used` back (0: none)."""
        refilled = self._quota - used + self._refill
        self._quota = min(max(refilled, 0.0), float(QUOTA_MAX * self._grace_max))

    def _spread(self) -> int:
        """Ninth decile of the one-way times plus twice their mean step."""
        times = self._one_way
        steps = [abs(after - before) for before, after in pairwise(times)]
        return sorted(times)[len(times) * 9 // 10] + 2 * sum(steps) // len(steps)
