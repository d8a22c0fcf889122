"""What the log of `swarm.py` means: which promises to players were kept between two times, with the figures.

Pure functions over records, so that the judgement has tests of its own (test_swarm.py).
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, Final

COUNTDOWN_S: Final = 1.2  # that a serve is announced ahead, between two rallies of one match
MOVED: Final = 0
OVER: Final = 1000

Record = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A point as a player saw it at `t`. Two players, and the database, must have it equal but for `t` and `worker`."""

    t: float
    worker: str
    v: int
    mt: int
    by: int
    score: tuple[int, int]

    @property
    def number(self) -> int:
        return sum(self.score)

    @property
    def fact(self) -> tuple[int, int, int, tuple[int, int]]:
        return self.v, self.mt, self.by, self.score


@dataclass
class Side:
    """One player of one match, in the order in which it saw things."""

    points: list[Point] = field(default_factory=list)
    serves: list[Record] = field(default_factory=list)
    opens: list[Record] = field(default_factory=list)
    closes: list[Record] = field(default_factory=list)
    silences: list[Record] = field(default_factory=list)
    over: Record | None = None
    missed: Record | None = None

    @property
    def ended_at(self) -> float:
        """When the player knew the end; infinite before."""
        end = self.over or self.missed
        return end["t"] if end else inf


@dataclass
class Match:
    id: str
    made_at: float
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    lost: list[str] = field(default_factory=list)
    stored: Record | None = None
    missing: Record | None = None

    @property
    def is_over(self) -> bool:
        return self.ended_at < inf and any(side.over for side in self.sides)

    @property
    def is_settled(self) -> bool:
        """Nothing will be heard of it any more."""
        return bool(self.lost or self.stored or self.missing)

    @property
    def ended_at(self) -> float:
        """When both players knew the end; infinite while it is played."""
        return max(side.ended_at for side in self.sides)


@dataclass(frozen=True)
class Stored:
    """What the database has: the result, and the points of the stored timeline."""

    score: tuple[int, int]
    winner: int | None
    reason: str
    points: tuple[tuple[int, int, int, tuple[int, int]], ...]

    @classmethod
    def of(cls, score: Sequence[int], winner: int | None, reason: str, timeline: Iterable[Record]) -> "Stored":
        points = tuple(
            (event["v"], event["t"], event["side"], _score(event["score"]))
            for event in timeline
            if event["k"] == "point"
        )
        return cls(_score(score), winner, reason, points)


@dataclass
class Run:
    """A log, sorted out."""

    matches: dict[str, Match] = field(default_factory=dict)
    requests: list[Record] = field(default_factory=list)
    cpu: list[Record] = field(default_factory=list)
    playing: list[Record] = field(default_factory=list)
    read_bytes: int = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Run":
        run = cls()
        for record in records:
            run.add(record)
        return run

    def follow(self, path: Path) -> None:
        """Read on in a log that may still be growing, to its last whole line."""
        with path.open("rb") as file:
            file.seek(self.read_bytes)
            for line in file:
                if line.endswith(b"\n"):
                    self.read_bytes += len(line)
                    self.add(json.loads(line))

    def add(self, record: Record) -> None:
        match record["k"]:
            case "http":
                self.requests.append(record)
            case "cpu":
                self.cpu.append(record)
            case "playing":
                self.playing.append(record)
            case "match":
                self.matches[record["m"]] = Match(record["m"], made_at=record["t"])
            case kind:
                self._about(self.matches[record["m"]], kind, record)

    def _about(self, match: Match, kind: str, record: Record) -> None:
        if kind == "stored":
            match.stored = record
        elif kind == "missing":
            match.missing = record
        elif kind == "lost":
            match.lost.append(record["why"])
        elif record["side"] is not None:
            side = match.sides[record["side"]]
            match kind:
                case "point":
                    keys = ("t", "worker", "v", "mt", "by")
                    side.points.append(Point(**{key: record[key] for key in keys}, score=_score(record["score"])))
                case "over":
                    side.over = record
                case "missed":
                    side.missed = record
                case "serve" | "open" | "close" | "silence":
                    getattr(side, f"{kind}s").append(record)

    def during(self, since: float, until: float) -> list[Match]:
        """The matches of which some part was played between two times."""
        return [match for match in self.matches.values() if match.made_at <= until and match.ended_at >= since]

    def playing_at(self, t: float) -> list[Match]:
        """The matches that both players had opened and that were not over."""
        return [
            match
            for match in self.matches.values()
            if match.ended_at > t and all(side.opens and side.opens[0]["t"] <= t for side in match.sides)
        ]

    def worker_at(self, match: Match, t: float) -> str:
        """Which worker had the match: the one that welcomed a player last."""
        opens = [record for side in match.sides for record in side.opens if record["t"] <= t]
        return max(opens, key=lambda record: record["t"])["worker"] if opens else ""


# Integrity


def faults(match: Match, rows: Sequence[Stored], *, may_miss: bool = False) -> list[str]:
    """What is wrong with a match that should be over by now; `rows` is what the database has under its id.

    `may_miss`: sockets were cut on purpose. A rally is played to its end without a player who is gone, and may have
    been the last one.
    """
    wrong = [f"a player could not go on: {why}" for why in match.lost]
    if not match.is_over:
        return wrong or ["it has not ended"]
    for number, side in enumerate(match.sides):
        wrong += [f"side {number} {fault}" for fault in _order_faults(side)]
        if side.missed and not may_miss:
            wrong.append(f"side {number} was away when it ended")
    ends = [(_score(side.over["score"]), side.over["winner"], side.over["reason"]) for side in match.sides if side.over]
    if ends[0] != ends[-1]:
        wrong.append(f"the players saw different ends: {ends}")
    if any(reason != "score" for _, _, reason in ends):
        wrong.append(f"it ended by {ends[0][2]} and not by score")
    if match.missing:
        wrong.append(f"its result was not acknowledged: {match.missing['why']}")
    elif match.stored is None:
        wrong.append("nobody asked for its result")
    elif (_score(match.stored["score"]), match.stored["winner"], match.stored["reason"]) not in ends:
        wrong.append(f"the players saw {ends[0]}, and the site acknowledged {match.stored}")
    if len(rows) != 1:
        return [*wrong, f"it is stored {len(rows)} times"]
    return wrong + _row_faults(match, rows[0], ends[0])


def _order_faults(side: Side) -> list[str]:
    """Scores only grow, by one at a time, also across a change of the worker."""
    wrong = []
    seen = [(point.t, point.score, "saw a point that makes it") for point in side.points]
    seen += [(record["t"], _score(record["score"]), "was welcomed with") for record in side.opens]
    for (_, before, _), (_, after, how) in pairwise(sorted(seen)):
        is_point = how.startswith("saw")
        grew = sum(after) - sum(before)
        if any(a < b for a, b in zip(after, before, strict=True)) or (is_point and grew != 1):
            wrong.append(f"{how} {after[0]}:{after[1]} after {before[0]}:{before[1]}")
    return wrong


def _row_faults(match: Match, row: Stored, end: tuple[tuple[int, int], int | None, str]) -> list[str]:
    wrong = []
    if (row.score, row.winner, row.reason) != end:
        wrong.append(f"the players saw {end}, the database has {(row.score, row.winner, row.reason)}")
    if len(row.points) != sum(row.score):
        wrong.append(f"the stored timeline has {len(row.points)} points for {row.score}")
        return wrong
    for number, side in enumerate(match.sides):
        for point in side.points:
            if point.number > len(row.points) or row.points[point.number - 1] != point.fact:
                wrong.append(f"side {number} saw the point {point.fact}, which is not so in the stored timeline")
        for record in side.opens:
            score = _score(record["score"])
            if sum(score) and (sum(score) > len(row.points) or row.points[sum(score) - 1][3] != score):
                wrong.append(f"side {number} was welcomed with {score}, which is not in the stored timeline")
    return wrong


# Figures


@dataclass(frozen=True)
class Pause:
    match: str
    s: float
    is_moved: bool  # the next rally was played on another worker


def pauses(match: Match, since: float, until: float) -> list[Pause]:
    """How much longer than the serve countdown players waited between two rallies, for points seen in a span of time.

    For each player and each point but the last: from the moment when the player heard of the point to the moment when
    the ball of the next rally left by the player's clock, less the countdown of 1.2 s; never below zero. The next rally
    is the one that led to the next point: serves that were announced and withdrawn, or rallies that were broken off by
    a change of the worker, are part of the pause.
    """
    found = []
    for side in match.sides:
        ends = [*(point.t for point in side.points[1:]), inf]
        for point, end in zip(side.points, ends, strict=False):
            serves = [serve for serve in side.serves if point.t <= serve["t"] < end]
            if serves and since <= point.t <= until:
                last = serves[-1]
                s = max(0.0, last["flies"] - point.t - COUNTDOWN_S)
                found.append(Pause(match.id, s, last["worker"] != point.worker))
    return found


@dataclass(frozen=True)
class Resumed:
    """A match whose worker died. `s`: until the ball flew again for both players, infinite if it never did."""

    match: str
    s: float
    worker: str


def resumed(run: Run, worker: str, died_at: float) -> list[Resumed]:
    """What became of the matches that `worker` had when it died. Such as ended in that moment are none of them."""
    found = []
    for match in run.playing_at(died_at):
        if run.worker_at(match, died_at) != worker:
            continue
        reopened = any(record["t"] > died_at for side in match.sides for record in side.opens)
        if match.is_over and not reopened:
            continue
        first = [
            next((serve for serve in side.serves if serve["t"] > died_at and serve["worker"] != worker), None)
            for side in match.sides
        ]
        flies = [serve["flies"] if serve else inf for serve in first]
        found.append(Resumed(match.id, max(flies) - died_at, next((one["worker"] for one in first if one), "")))
    return found


@dataclass(frozen=True)
class Report:
    """What players noticed between two times."""

    seconds: float
    matches: int
    playing_min: int
    wrong: dict[str, list[str]]  # faults by match
    requests: int
    pages: int  # of the requests, those for page views
    failed: list[Record]
    latency_ms: list[float]
    pauses: list[float]
    moved_pauses: list[float]
    reconnects: Counter[tuple[str, int]]  # by seat: sockets that were lost, or closed on the player, or did not open
    moves: Counter[tuple[str, int]]  # by seat: hand-overs, which the server announces on a socket that works
    closes: Counter[int]
    silence_s: float
    cpu: float

    @property
    def reconnects_max(self) -> int:
        return max(self.reconnects.values(), default=0)

    @property
    def moves_max(self) -> int:
        return max(self.moves.values(), default=0)

    def lines(self) -> list[str]:
        """The figures, for people."""
        codes = ", ".join(f"{code}: {number}" for code, number in sorted(self.closes.items())) or "none"
        return [
            f"matches     {self.matches} in {self.seconds:.0f} s, at least {self.playing_min} at a time,"
            f" {len(self.wrong)} with a fault",
            f"requests    {self.requests}, {len(self.failed)} failed; {_spread(self.latency_ms, 'ms', 0)}",
            f"pauses      beyond the countdown {_spread(self.moved_pauses, 's')} at {len(self.moved_pauses)}"
            f" hand-overs; {_spread(self.pauses, 's')} at all {len(self.pauses)} points",
            f"sockets     at most {self.reconnects_max} reconnects and {self.moves_max} moves of one;"
            f" {sum(self.reconnects.values())} and {sum(self.moves.values())} of all; close codes {codes}",
            f"silence     {self.silence_s:.1f} s at most; the load took {self.cpu:.0%} of a core",
        ]


def report(
    run: Run, rows: dict[str, list[Stored]], since: float, until: float, *, dead_edges: Iterable[str] = ()
) -> Report:
    """The promises between two times. A request to an edge that was taken away on purpose does not count."""
    matches = run.during(since, until)
    dead = frozenset(dead_edges)
    requests = [
        one
        for one in run.requests
        if since <= one["t"] and one["t"] - one["ms"] / 1000 <= until and one["edge"] not in dead
    ]
    waits = [pause for match in matches for pause in pauses(match, since, until)]
    closes = [
        (match.id, number, record["code"])
        for match in matches
        for number, side in enumerate(match.sides)
        for record in side.closes
        if since <= record["t"] <= until and record["code"] != OVER
    ]
    silences = [
        record["s"]
        for match in matches
        for side in match.sides
        for record in side.silences
        if since <= record["t"] <= until
    ]
    judged = {match.id: faults(match, rows.get(match.id, []), may_miss=bool(dead)) for match in matches}
    wrong = {match_id: found for match_id, found in judged.items() if found}
    return Report(
        seconds=until - since,
        matches=len(matches),
        playing_min=_least(run.playing, since, until),
        wrong=wrong,
        requests=len(requests),
        pages=sum(one["by"] == "page" for one in requests),
        failed=[one for one in requests if one["why"]],
        latency_ms=[one["ms"] for one in requests if not one["why"]],
        pauses=[pause.s for pause in waits],
        moved_pauses=[pause.s for pause in waits if pause.is_moved],
        reconnects=Counter((m, side) for m, side, code in closes if code != MOVED),
        moves=Counter((m, side) for m, side, code in closes if code == MOVED),
        closes=Counter(code for _, _, code in closes),
        silence_s=max(silences, default=0.0),
        cpu=_mean([one["busy"] for one in run.cpu if since <= one["t"] <= until]),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values are not above; 0 when there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))] if ordered else 0.0


def _spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"p50 {p50:.{digits}f}, p99 {p99:.{digits}f}, max {max(values, default=0):.{digits}f} {unit}"


def _least(playing: Iterable[Record], since: float, until: float) -> int:
    before = [one["n"] for one in playing if one["t"] < since][-1:]
    return min([*before, *(one["n"] for one in playing if since <= one["t"] <= until)], default=0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _score(value: Sequence[int]) -> tuple[int, int]:
    left, right = value
    return left, right
