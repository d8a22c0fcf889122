"""Who meets whom."""

import random
from typing import Any

from lobby.pairing import Ticket, pairs


def ticket(identity: str, rating: float | None = 1500, **fields: Any) -> Ticket:
    values: dict[str, Any] = {"name": identity, "rtt": 40, "since": 100.0, "holder": "h"}
    return Ticket(identity=identity, rating=rating, **values | fields)


def met(tickets: list[Ticket], now: float) -> set[frozenset[str]]:
    return {frozenset((one.identity, other.identity)) for one, other in pairs(tickets, now)}


def crowd(number: int) -> list[Ticket]:
    """So many who fit nobody: 10,000 points apart."""
    return [ticket(f"far{place}", 10_000.0 * (place + 1)) for place in range(number)]


def test_the_nearest_rating_is_met_at_once() -> None:
    tickets = [ticket("a", 1500), ticket("b", 1900), ticket("c", 1540), *crowd(8)]
    assert met(tickets, 100.0) == {frozenset("ac")}


def test_what_is_far_is_met_after_some_waiting() -> None:
    tickets = [ticket("a", 1500), ticket("b", 1900, since=101.0), *crowd(8)]
    assert met(tickets, 101.0) == set()
    assert met(tickets, 101.2) == {frozenset("ab")}


def test_a_long_way_together_counts_as_far_apart() -> None:
    tickets = [ticket("a", rtt=200), ticket("b", rtt=150, since=100.5), ticket("c", 1550, rtt=10), *crowd(8)]
    assert met(tickets, 101.0) == {frozenset("ac")}, "350 ms there and back is worse than 50 points"
    assert met(tickets[:2] + crowd(8), 101.0) == set()


def test_where_few_wait_anybody_will_do() -> None:
    assert met([ticket("a", 800), ticket("b", 2400)], 100.2) == set()
    assert met([ticket("a", 800), ticket("b", 2400)], 100.31) == {frozenset("ab")}


def test_who_is_blocked_is_never_met_whoever_blocked_and_however_few_wait() -> None:
    ada, bob = ticket("ada", avoids=("bob",)), ticket("bob", 1501)
    assert met([ada, bob], 200.0) == met([bob, ada], 200.0) == set()
    assert met([ada, bob, ticket("carol", 2400)], 200.0) == {frozenset(("ada", "carol"))}


def test_nobody_waits_for_the_right_one_for_ever() -> None:
    assert len(pairs(crowd(30), 103.9)) == 0
    assert len(pairs(crowd(30), 104.0)) == 15


def test_the_longest_waiter_chooses_first() -> None:
    tickets = [ticket("a", 1500, since=90.0), ticket("b", 1560, since=80.0), ticket("c", 1570), *crowd(8)]
    assert met(tickets, 100.0) >= {frozenset("bc")}


def test_guests_are_as_good_as_new_players() -> None:
    assert met([ticket("g", None), ticket("a", 1520), ticket("b", 1900), *crowd(8)], 100.0) == {frozenset("ga")}


def test_nobody_is_in_two_pairs_and_nobody_is_left_when_all_have_waited() -> None:
    rng = random.Random(7)
    tickets = [
        ticket(f"p{n}", rng.gauss(1500, 300), since=rng.uniform(0, 100), rtt=rng.randrange(20, 200))
        for n in range(1001)
    ]
    players = [one.identity for pair in pairs(tickets, 104.0) for one in pair]
    assert len(players) == len(set(players)) == 1000
    assert pairs([], 100.0) == []
    assert pairs([ticket("a")], 1e9) == []
