"""What has happened in a match: its state, the events that led there, and when play began."""

from datetime import datetime
from typing import Any

import engine
from live.records import FinishedMatch, Handover, MatchSpec, Snapshot


class Ledger:
    """The state of a match and its timeline, which only grow together."""

    def __init__(self, rules: engine.Rules) -> None:
        self.state = engine.initial(rules)
        self.timeline: list[dict[str, Any]] = []
        self.started_at: datetime | None = None  # wall clock

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Ledger":
        """The ledger that a snapshot was made of."""
        ledger = cls(engine.RULES)
        ledger.state = engine.state_from_json(snapshot.state)
        ledger.timeline = list(snapshot.timeline)
        ledger.started_at = snapshot.started_at
        return ledger

    def add(self, events: tuple[engine.Event, ...]) -> list[dict[str, Any]]:
        """Fold events; answers with their JSON form."""
        for event in events:
            self.state = engine.apply(self.state, event)
        batch = [engine.event_to_json(event) for event in events]
        self.timeline += batch
        return batch

    def snapshot(
        self, *, owner: str, now: int, wall: datetime, away: tuple[int, int], handover: Handover | None = None
    ) -> Snapshot | None:
        """All of it, for another worker; None before play began. `owner` tells it, `now` is match time (µs)."""
        if self.started_at is None:
            return None
        return Snapshot(
            state=engine.state_to_json(self.state),
            timeline=list(self.timeline),
            now=now,
            saved_at=wall,
            started_at=self.started_at,
            away=away,
            owner=owner,
            handover=handover,
        )

    def record(self, spec: MatchSpec, wall: datetime) -> FinishedMatch | None:
        """The result, for the database; None when there is nothing to tell."""
        if self.started_at is None or spec.is_probe:
            return None
        state = self.state
        first = next((event["t"] for event in self.timeline if event["k"] == "serve"), state.t)
        return FinishedMatch(
            spec=spec,
            started_at=self.started_at,
            finished_at=max(wall, self.started_at),  # the wall clock may be set back
            duration_us=max(0, state.t - first),
            winner=state.winner,
            reason=state.reason or "",
            score=state.score,
            rules_version=state.rules.version,
            timeline=list(self.timeline),
        )


def abandoned(spec: MatchSpec, snapshot: Snapshot | None) -> FinishedMatch | None:
    """The result of a match that nobody can go on with: what was reached at the last boundary."""
    if snapshot is None:
        return None
    ledger = Ledger.of(snapshot)
    if ledger.state.phase != "over":
        ledger.add(engine.end(ledger.state, ledger.state.t, None, "abandoned"))
    return ledger.record(spec, snapshot.saved_at)
