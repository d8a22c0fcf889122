"""What has happened in a match: its state, the events that led there, and when play began."""

from datetime import datetime

import engine
from live.events import EventLog, Events
from live.records import Checkpoint, FinishedMatch, Handover, MatchSpec


class Timeline:
    """The events of a match and the state that they lead to, which only grow together."""

    def __init__(self, rules: engine.Rules) -> None:
        self.state = engine.initial(rules)
        self.log = EventLog()
        self.started_at: datetime | None = None  # wall clock

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Timeline":
        """The timeline that a checkpoint was made of."""
        timeline = cls(engine.RULES)
        timeline.state = engine.state_from_json(checkpoint.state)
        timeline.log = checkpoint.timeline.log()
        timeline.started_at = checkpoint.started_at
        return timeline

    @property
    def events(self) -> Events:
        return Events(self.log, len(self.log))

    def add(self, events: tuple[engine.Event, ...]) -> list[bytes]:
        """Fold events; answers with the JSON of each."""
        for event in events:
            self.state = engine.apply(self.state, event)
        return [self.log.add(engine.event_to_json(event)) for event in events]

    def checkpoint(
        self, *, owner: str, now: int, wall: datetime, away: tuple[int, int], handover: Handover | None = None
    ) -> Checkpoint | None:
        """All of it, for another worker; None before play began. `owner` tells it, `now` is match time (µs)."""
        if self.started_at is None:
            return None
        return Checkpoint(
            state=engine.state_to_json(self.state),
            timeline=self.events,
            now=now,
            saved_at=wall,
            started_at=self.started_at,
            away=away,
            owner=owner,
            handover=handover,
        )

    def record(self, spec: MatchSpec, wall: datetime) -> FinishedMatch | None:
        """The result, for the database; None when there is nothing to tell: who gives up a machine has lost nothing."""
        state = self.state
        if self.started_at is None or spec.is_probe or (spec.mode == "ai" and state.reason == "forfeit"):
            return None
        events = self.events[:]
        first = next((event["t"] for event in events if event["k"] == "serve"), state.t)
        return FinishedMatch(
            spec=spec,
            started_at=self.started_at,
            finished_at=max(wall, self.started_at),  # the wall clock may be set back
            duration_us=max(0, state.t - first),
            winner=state.winner,
            reason=state.reason or "",
            score=state.score,
            rules_version=state.rules.version,
            timeline=events,
        )


def abandoned(spec: MatchSpec, checkpoint: Checkpoint | None) -> FinishedMatch | None:
    """The result of a match that nobody can go on with: what was reached at the last boundary."""
    if checkpoint is None:
        return None
    timeline = Timeline.of(checkpoint)
    if timeline.state.phase != "over":
        timeline.add(engine.end(timeline.state, timeline.state.t, None, "abandoned"))
    return timeline.record(spec, checkpoint.saved_at)


def outcome(state: engine.MatchState, *, was_left: bool) -> str:
    """How a match ended, as the metrics have it."""
    if state.reason == "score":
        return "completed"
    if was_left:
        return "client_left"
    return "forfeit" if state.reason == "forfeit" else "abandoned"
