"""Charts as numbers for a template's SVG: no script, no style that the content security policy would refuse.

Lengths are in the units of the SVG's view box.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ratings.selectors import Game

WIDTH: Final = 640
HEIGHT: Final = 220
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 28  # margins
STEPS: Final = (10, 20, 50, 100, 200, 500, 1000)
LINES_MAX: Final = 5
BINS: Final = ((0, 1), (2, 4), (5, 9), (10, 19), (20, 39), (40, None))  # hits of a rally


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    path: str  # of `points`
    end: tuple[float, float]
    ticks: list[Tick]
    first: int
    last: int
    low: int
    high: int
    count: int


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    middle: float
    label: str
    count: int


def line(values: Sequence[float]) -> Line:
    """`values` (two at least) from left to right, between round numbers."""
    low, high = min(values), max(values)
    step = next((step for step in STEPS if (high - low) / step <= LINES_MAX - 1), STEPS[-1])
    floor, ceiling = math.floor(low / step) * step, math.ceil(high / step) * step
    if floor == ceiling:
        ceiling += step

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (ceiling - value) / (ceiling - floor), 1)

    width = (WIDTH - LEFT - RIGHT) / (len(values) - 1)
    points = [(round(LEFT + index * width, 1), y(value)) for index, value in enumerate(values)]
    return Line(
        path=" ".join(f"{x},{y}" for x, y in points),
        end=points[-1],
        ticks=[Tick(y(value), str(value)) for value in range(floor, ceiling + 1, step)],
        first=round(values[0]),
        last=round(values[-1]),
        low=round(low),
        high=round(high),
        count=len(values),
    )


def bars(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """A bar for each `(label, count)`; none when there is nothing to count."""
    highest = max((count for _, count in counts), default=0)
    if not highest:
        return []
    slot = (WIDTH - 2 * RIGHT) / len(counts)
    found = []
    for index, (label, count) in enumerate(counts):
        height = round((HEIGHT - 2 * BOTTOM) * count / highest, 1)
        x = RIGHT + index * slot
        top = round(HEIGHT - BOTTOM - height, 1)
        found.append(
            Bar(round(x + slot * 0.1, 1), top, round(slot * 0.8, 1), height, round(x + slot / 2, 1), label, count)
        )
    return found


def rally_bins(games: Iterable[Game]) -> list[tuple[str, int]]:
    """How many rallies of `games` had so many hits."""
    counts = [0] * len(BINS)
    for game in games:
        for hits in game.match.rallies or ():
            counts[next(index for index, (_, most) in enumerate(BINS) if most is None or hits <= most)] += 1
    labels = [f"{least}+" if most is None else f"{least}–{most}" for least, most in BINS]  # noqa: RUF001 - a range
    return list(zip(labels, counts, strict=True))
