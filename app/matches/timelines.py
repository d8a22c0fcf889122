"""What can be read from a timeline: the events of docs/protocol.md, from version 1."""

from collections.abc import Iterable
from typing import Any, Final

import engine
from matches.models import Match

FORMAT: Final = "matchpoint-replay"
FORMAT_VERSION: Final = 1

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


def replay(match: Match) -> dict[str, Any]:
    """A finished match as docs/replays.md describes it: who and what, a key frame to begin with, every event.

    UnknownSchema when it was played by rules that this release does not know.
    """
    middle = engine.RULES.height / 2
    start = engine.state_from_json(
        {
            "schema": 1,
            "rules": {"version": match.rules_version, "points": match.points},
            "version": 0,
            "phase": "ready",
            "t": 0,
            "ball": None,
            "paddles": [{"t": 0, "y": middle, "target": middle}] * 2,
            "score": [0, 0],
            "rally_hits": 0,
            "winner": None,
            "reason": None,
        }
    )
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "match": {
            "id": match.public_id,
            "mode": match.mode,
            "level": match.level or None,
            "points": match.points,
            "players": [{"side": seat.side, "kind": seat.kind, "name": seat.name} for seat in match.seats.all()],
            "score": list(match.score),
            "winner": match.winner,
            "reason": match.end_reason,
            "started_at": match.started_at.isoformat(),
            "finished_at": match.finished_at.isoformat(),
            "duration_us": match.duration_us,
        },
        "start": engine.state_to_json(start),
        "events": match.timeline.events,
    }
