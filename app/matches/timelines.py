"""What can be read from a timeline: the events of docs/protocol.md, from version 1."""

from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]


def rally_hits(timeline: Iterable[Event]) -> list[int]:
    """The hits of each rally that ended in a point, in order. A rally that was played again counts once."""
    rallies: list[int] = []
    hits = 0
    for event in timeline:
        if event["k"] == "serve":
            hits = 0
        elif event["k"] == "hit":
            hits = event["n"]
        elif event["k"] == "point":
            rallies.append(hits)
    return rallies
