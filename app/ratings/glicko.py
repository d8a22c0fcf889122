"""Glicko-2 for one game at a time, with idle time as a fraction of a rating period (docs/decisions/0017-ratings.md).

The steps and letters are those of Mark Glickman, "Example of the Glicko-2 system" (2013),
http://www.glicko.net/glicko/glicko2.pdf. Tests hold it to the paper's example and to a second implementation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

SCALE: Final = 173.7178  # points of a displayed rating in one of Glicko-2
CENTRE: Final = 1500.0
TAU: Final = 0.3  # how fast volatility may change; the paper's range is 0.3 to 1.2
PERIOD: Final = timedelta(days=4.665)  # a deviation of 60 becomes one of 110 in a year without a match
DEVIATION_MIN: Final = 45.0  # below, a rating could not follow a player any more
DEVIATION_MAX: Final = 350.0
CONVERGED: Final = 1e-6
DECIMALS: Final = 6  # of what is stored: the last bits of exp and log differ between machines


@dataclass(frozen=True, slots=True)
class Strength:
    """What is known of a player: `rating` and its standard `deviation` in points, `volatility` of Glicko-2."""

    rating: float = CENTRE
    deviation: float = DEVIATION_MAX
    volatility: float = 0.06

    def after_idle(self, idle: timedelta) -> "Strength":
        """As it is `idle` later, without a match in between: less certain (step 6 of the paper)."""
        periods = max(idle / PERIOD, 0.0)
        phi = math.sqrt((self.deviation / SCALE) ** 2 + periods * self.volatility**2)
        return Strength(self.rating, round(min(phi * SCALE, DEVIATION_MAX), DECIMALS), self.volatility)

    def after_game(self, opponent: "Strength", score: float) -> "Strength":
        """After a game against `opponent`; `score` 1 won, 0 lost. Rounded, so that a fold gives the same everywhere."""
        new = update(self, [(opponent, score)])
        return Strength(
            round(new.rating, DECIMALS),
            round(min(max(new.deviation, DEVIATION_MIN), DEVIATION_MAX), DECIMALS),
            round(new.volatility, DECIMALS),
        )


def update(
    player: Strength, games: Sequence[tuple[Strength, float]], *, tau: float = TAU, periods: float = 0.0
) -> Strength:
    """Steps 2 to 8 of the paper for `games` (opponent, score), with the idle growth of `periods` in step 6.

    The paper has one period, always; a match is rated with none, because `after_idle` has gone before it.
    """
    mu, phi = (player.rating - CENTRE) / SCALE, player.deviation / SCALE
    information = surprise = 0.0
    for opponent, score in games:
        phi_j = opponent.deviation / SCALE
        g = 1 / math.sqrt(1 + 3 * phi_j**2 / math.pi**2)
        expected = 1 / (1 + math.exp(-g * (mu - (opponent.rating - CENTRE) / SCALE)))
        information += g**2 * expected * (1 - expected)
        surprise += g * (score - expected)
    variance = 1 / information
    sigma = _volatility(phi, player.volatility, variance, variance * surprise, tau)
    phi_new = 1 / math.sqrt(1 / (phi**2 + periods * sigma**2) + information)
    return Strength(CENTRE + SCALE * (mu + phi_new**2 * surprise), SCALE * phi_new, sigma)


def _volatility(phi: float, sigma: float, v: float, delta: float, tau: float) -> float:
    """Step 5: the root of f by the Illinois algorithm."""
    a = math.log(sigma**2)

    def f(x: float) -> float:
        spread = phi**2 + v + math.exp(x)
        return math.exp(x) * (delta**2 - spread) / (2 * spread**2) - (x - a) / tau**2

    low = a
    if delta**2 > phi**2 + v:
        high = math.log(delta**2 - phi**2 - v)
    else:
        high = a - tau
        while f(high) < 0:
            high -= tau
    f_low, f_high = f(low), f(high)
    while abs(high - low) > CONVERGED:
        x = low + (low - high) * f_low / (f_high - f_low)
        f_x = f(x)
        if f_x * f_high <= 0:
            low, f_low = high, f_high
        else:
            f_low /= 2
        high, f_high = x, f_x
    return math.exp(low / 2)
