"""What must hold whatever fails (docs/testing.md): checked when somebody is told or something is stored."""

import asyncio
import json

import engine
from live.records import FinishedMatch


class Broken(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """`told` is what players believe, `stored` what the database has."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, int]]] = {}  # by match: the score after each point that was told
        self.ends: dict[str, tuple[tuple[int, int], int | None, str | None]] = {}
        self.results: dict[str, FinishedMatch] = {}
        self.excused: set[str] = set()  # of matches that a fault has damaged for good
        self.broken: Broken | None = None  # the first
        self.kept: dict[str, int] = {}  # points that the directory has ever had, by match
        self.leases: dict[str, set[tuple[int, str]]] = {}  # epochs and workers that the directory has ever had
        self._states: dict[tuple[str, str, int], engine.MatchState] = {}  # by match, owner and version

    def _fail(self, what: str) -> None:
        """End the run: whoever called may take this for a failure of its own, and try again."""
        self.broken = self.broken or Broken(what)
        asyncio.get_running_loop().stop()
        raise self.broken

    def written(self, key: str, value: str) -> None:
        """The directory was told something of a match."""
        match key.split(":"):
            case ["mp", "match", match_id, "snapshot"]:
                points = sum(json.loads(value)["state"]["score"])
                self.kept[match_id] = max(self.kept.get(match_id, 0), points)
            case ["mp", "match", match_id, "lease"]:
                epoch, _, worker = value.partition(":")
                self.leases.setdefault(match_id, set()).add((int(epoch), worker))

    def dropped(self, match_id: str, epoch: int, worker: str) -> None:
        """An owner gave its match up because another has it: then there is one."""
        leases = self.leases.get(match_id, ())
        has_other = any(newer > epoch or (newer == epoch and other != worker) for newer, other in leases)
        if match_id not in self.excused and not has_other:
            self._fail(f"{match_id}: its only owner, of epoch {epoch}, gave it up as somebody else's")

    def told(self, match_id: str, identity: str, owner: str, state: engine.MatchState) -> None:
        """No point that was told is taken back, and nobody is told another course of the match.

        What one owner tells is the same for everybody, to the last paddle, and no point is told before it is kept.
        """
        if match_id in self.excused:
            return
        if self._states.setdefault((match_id, owner, state.version), state) != state:
            self._fail(f"{match_id}: {identity} is at another state of version {state.version} than others")
        if sum(state.score) > self.kept.get(match_id, 0):
            self._fail(f"{match_id}: {identity} is told {state.score}, which the directory does not have")
        points, played = self.points.setdefault(match_id, []), sum(state.score)
        if played > len(points):
            if points and (state.score[0] < points[-1][0] or state.score[1] < points[-1][1]):
                self._fail(f"{match_id}: {identity} is told {state.score} after {points[-1]} was told")
            points.extend([state.score] * (played - len(points)))
        elif played and points[played - 1] != state.score and sum(points[played - 1]) == played:
            self._fail(f"{match_id}: {identity} is told {state.score}, others were told {points[played - 1]}")
        if state.phase == "over":
            end = (state.score, state.winner, state.reason)
            if self.ends.setdefault(match_id, end) != end:
                self._fail(f"{match_id}: {identity} is told the end {end}, others were told {self.ends[match_id]}")
            if played < len(points):
                self._fail(f"{match_id}: over at {state.score}, after {points[-1]} was told")

    def stored(self, record: FinishedMatch) -> None:
        """One result a match, and the one that was told."""
        match_id = record.spec.id
        if match_id in self.excused:
            return
        before = self.results.setdefault(match_id, record)
        if _course(before) != _course(record):
            self._fail(f"{match_id}: stored {_course(record)} after {_course(before)}")
        points = self.points.get(match_id, [])
        if sum(record.score) < len(points):
            self._fail(f"{match_id}: stored {record.score}, but {points[-1]} was told")
        if match_id in self.ends and self.ends[match_id] != _course(record):
            self._fail(f"{match_id}: stored {_course(record)}, but {self.ends[match_id]} was told")
        versions = [event["v"] for event in record.timeline]
        if versions != list(range(1, len(versions) + 1)):
            self._fail(f"{match_id}: the stored timeline has gaps")

    def ended(self, match_id: str) -> None:
        """Asked when all faults have been over for long: what players were told in the end is what is stored."""
        if match_id in self.excused or match_id not in self.ends or match_id not in self.results:
            return
        if self.ends[match_id] != _course(self.results[match_id]):
            self._fail(f"{match_id}: told {self.ends[match_id]}, stored {_course(self.results[match_id])}")


def _course(record: FinishedMatch) -> tuple[tuple[int, int], int | None, str | None]:
    return record.score, record.winner, record.reason
