"""The goals of the rules and of the machine's levels, as cells of matches between models of people."""

from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median

import engine
from tests.balance.match import Chair, Played, play
from tests.balance.people import AVERAGE, CASUAL, FAIR, GOOD, Chaser, Machine, Person, Predictor, Profile, Random


def predictor(profile: Profile) -> Chair:
    return partial(_predictor, profile)


def chaser(delay: int) -> Chair:
    return partial(_chaser, delay)


def machine(level: str) -> Chair:
    return partial(_machine, level)


# Named, so that other processes can be told of them
def _predictor(profile: Profile, side: int, rng: Random) -> Person:
    return Predictor(side, profile, rng)


def _chaser(delay: int, side: int, rng: Random) -> Person:
    return Chaser(side, delay)


def _machine(level: str, side: int, rng: Random) -> Person:
    return Machine(side, level, rng)


@dataclass(frozen=True)
class Cell:
    """Many matches of the same two. Bounds are goals: matches won by the first (%), mean rally (hits), time (min)."""

    name: str
    chairs: tuple[Chair, Chair]
    wins: tuple[float, float] | None = None
    rally: tuple[float, float] | None = None
    minutes: tuple[float, float] | None = None
    rules: engine.Rules = engine.RULES


@dataclass(frozen=True)
class Figures:
    """What came of a cell. `longest` in hits, `minutes` a match, `winners` in % of points, `endless` matches."""

    wins: float
    rally: float
    middle: float
    longest: int
    minutes: float
    winners: float
    endless: int

    @classmethod
    def of(cls, matches: Iterable[Played]) -> "Figures":
        matches = list(matches)
        rallies = [hits for match in matches for hits in match.rallies] or [0]
        return cls(
            wins=100 * mean(match.winner == 0 for match in matches),
            rally=mean(rallies),
            middle=median(rallies),
            longest=max(rallies),
            minutes=mean(match.seconds for match in matches) / 60,
            winners=100 * sum(match.winners for match in matches) / len(rallies),
            endless=sum(match.winner is None for match in matches),
        )

    def misses(self, cell: Cell, slack: float = 0.0) -> list[str]:
        """The goals that these figures miss by more than `slack` (a part of each goal's width)."""
        found = [f"{self.endless} matches do not end"] if self.endless else []
        for name, bounds in (("wins", cell.wins), ("rally", cell.rally), ("minutes", cell.minutes)):
            if bounds is None:
                continue
            room = slack * (bounds[1] - bounds[0])
            value = getattr(self, name)
            if not bounds[0] - room <= value <= bounds[1] + room:
                found.append(f"{name} {value:.1f}, not {bounds[0]:g} to {bounds[1]:g}")
        return found


RALLY = (6.0, 14.0)
MINUTES = (2.0, 5.0)

GOALS = (
    Cell("predictor against predictor", (predictor(FAIR), predictor(FAIR)), rally=RALLY, minutes=MINUTES),
    Cell("chaser 200 ms against easy", (chaser(200_000), machine("easy")), wins=(55, 70)),
    Cell("predictor against normal", (predictor(FAIR), machine("normal")), wins=(55, 65)),
    Cell("predictor against hard", (predictor(FAIR), machine("hard")), wins=(30, 45)),
)
SIGHTS = (
    Cell("good against good", (predictor(GOOD), predictor(GOOD))),
    Cell("average against average", (predictor(AVERAGE), predictor(AVERAGE))),
    Cell("who plays for the middle, both", (predictor(replace(FAIR, attack=0.0)),) * 2),
    Cell("who attacks against who does not", (predictor(FAIR), predictor(replace(FAIR, attack=0.0)))),
    Cell("good against casual", (predictor(GOOD), predictor(CASUAL))),
    Cell("predictor 200 ms against 250 ms", (predictor(replace(FAIR, delay=200_000)), predictor(FAIR))),
    Cell("both see 150 ms later (a slow line)", (predictor(replace(FAIR, delay=400_000)),) * 2),
    Cell("casual against easy", (predictor(CASUAL), machine("easy"))),
    Cell("casual against normal", (predictor(CASUAL), machine("normal"))),
    Cell("good against hard", (predictor(GOOD), machine("hard"))),
)


def figures(cell: Cell, matches: int, pool: Executor | None = None, first_seed: int = 0) -> Figures:
    """So many matches, from seed `first_seed` on, in the processes of `pool`."""
    one = partial(play, cell.chairs, rules=cell.rules)
    seeds = range(first_seed, first_seed + matches)
    return Figures.of(map(one, seeds) if pool is None else pool.map(one, seeds, chunksize=10))
