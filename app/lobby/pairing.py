"""Who meets whom. No I/O, no clock, no randomness of its own."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

RATING_NEW: Final = 1500.0  # of whoever has none: guests, and accounts before their first rated match
NEIGHBOURS: Final = 12  # by rating, on either side, that are looked at for one player
FAIR_RTT_MS: Final = 120  # two ways together that cost nothing
RTT_COST: Final = 3.0  # rating points that each further ms is worth
LIMIT: Final = 60.0  # what a pair may cost at once
WIDENING: Final = 300.0  # and more with each second of waiting
ANYBODY_S: Final = 4.0  # after which anybody will do
FEW: Final = 8  # where so few wait nobody better comes soon
FEW_S: Final = 0.3


class Ticket(Struct, frozen=True):
    """A player who waits since `since` (s since 1970), for anybody but those of the identities `avoids`.

    `rtt` (ms) is the round trip, `holder` the socket that waits.
    """

    identity: str
    name: str
    rating: float | None
    rtt: int
    since: float
    holder: str
    avoids: tuple[str, ...] = ()

    @property
    def strength(self) -> float:
        return RATING_NEW if self.rating is None else self.rating


def may_meet(one: Ticket, other: Ticket) -> bool:
    """Whether neither avoids the other."""
    return other.identity not in one.avoids and one.identity not in other.avoids


def cost(one: Ticket, other: Ticket) -> float:
    """How bad a match of the two would be, in rating points."""
    gap = abs(one.strength - other.strength)
    return gap + RTT_COST * max(0, one.rtt + other.rtt - FAIR_RTT_MS)


def limit(waited: float, *, few: bool) -> float:
    """What a pair may cost of which the longer one has waited so long (s)."""
    if waited >= ANYBODY_S or (few and waited >= FEW_S):
        return float("inf")
    return LIMIT + WIDENING * max(0.0, waited)


def pairs(tickets: Iterable[Ticket], now: float) -> list[tuple[Ticket, Ticket]]:
    """The pairs that meet at `now` (s since 1970), none of them sharing a player; the longest waiters choose first."""
    ranked = sorted(tickets, key=lambda ticket: (ticket.strength, ticket.identity))
    few = len(ranked) <= FEW
    places = range(len(ranked))
    # A ring with a gap: neighbours of each place that nobody has taken yet
    below = [place - 1 for place in places]
    above = [place + 1 if place + 1 < len(ranked) else -1 for place in places]
    is_taken = [False] * len(ranked)

    def near(place: int) -> Iterable[int]:
        for way in (below, above):
            found = place
            for _ in range(NEIGHBOURS):
                found = way[found]
                if found < 0:
                    break
                yield found

    def take(place: int) -> None:
        is_taken[place] = True
        if below[place] >= 0:
            above[below[place]] = above[place]
        if above[place] >= 0:
            below[above[place]] = below[place]

    met = []
    for place in sorted(places, key=lambda place: (ranked[place].since, ranked[place].identity)):
        if is_taken[place]:
            continue
        longest = ranked[place]
        others = [one for one in near(place) if may_meet(longest, ranked[one])]
        other = min(others, key=lambda one: (cost(longest, ranked[one]), ranked[one].since), default=-1)
        if other < 0 or cost(longest, ranked[other]) > limit(now - longest.since, few=few):
            continue
        take(place)
        take(other)
        met.append((longest, ranked[other]))
    return met
