"""The load of `swarm.py` around a drill, and the judgement about what players noticed of it."""

import base64
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.judge import Match, Report, Run, Stored, percentile, report
from tests.conftest import ROOT, Lab, left, poll
from tests.processes import end, start

MATCHES = 40
TABLES = 48  # between two matches players take a moment
POINTS = 9  # that win a match: with fewer, the site makes one address too few matches a minute for so many at a time
SETTLED_S = 150.0  # the matches of a drill may take so long after it, with the recording of their results
RECONNECTS = 1
PAUSE_P99_S = 1.5
PAGES_PER_S = 10  # half of what is asked for: a few that are late are no gap

RESULTS = """
select coalesce(json_agg(json_build_object('id', m.public_id, 'score', json_build_array(m.score_left, m.score_right),
  'winner', m.winner, 'reason', m.end_reason, 'timeline', encode(t.events_gzip, 'base64'))), '[]')
from matches_match m left join matches_timeline t on t.match_id = m.id
where m.public_id = any(string_to_array('{ids}', ','));
"""


def takes_writes(lab: Lab, host: str) -> bool:
    """Whether PostgreSQL runs on a host and is a primary."""
    return lab.run(host, "sudo -u postgres psql -d postgres -XAtqc 'select pg_is_in_recovery()' || true") == "f"


def primary(lab: Lab) -> str:
    """The host of the database that takes writes, of those that run."""
    running = [box["host"] for box in lab.machines() if "db" in box["groups"] and box["state"] == "running"]
    found = [host for host in running if takes_writes(lab, host)]
    assert len(found) == 1, f"of {running}, {found} take writes"
    return found[0]


def stored(lab: Lab, ids: Iterable[str]) -> dict[str, list[Stored]]:
    """What the database has about matches."""
    found: dict[str, list[Stored]] = {}
    for row in lab.query(RESULTS.format(ids=",".join(ids)), host=primary(lab)):
        timeline = json.loads(gzip.decompress(base64.b64decode(row["timeline"]))) if row["timeline"] else []
        found.setdefault(row["id"], []).append(Stored.of(row["score"], row["winner"], row["reason"], timeline))
    return found


@dataclass(frozen=True)
class Window:
    """The time of one drill."""

    since: float
    until: float
    dead_edges: tuple[str, ...]  # addresses


class Load:
    """Matches and page views through the edges of a lab, for as long as the block lasts.

    Drills are judged when all are over: their matches are played to their ends while the next drills go on.
    """

    def __init__(
        self, lab: Lab, told: Callable[[str, list[str]], None], *, matches: int = MATCHES, tree: Path = ROOT
    ) -> None:
        """`tree` is the checkout whose players come."""
        self._lab = lab
        self._told = told
        self._matches = matches
        self._tree = tree
        self._run = Run()
        self._log = lab.state / "swarm.jsonl"
        self._errors = lab.state / "swarm.err"
        self._windows: dict[str, Window] = {}
        self._judged: set[str] = set()
        self.edges = {host: lab.address(host) for host in lab.hosts("edge")}

    def __enter__(self) -> "Load":
        self._log.unlink(missing_ok=True)
        tables = self._matches * TABLES // MATCHES
        command = [sys.executable, "-m", "tests.cluster.swarm", "--url", "https://matchpoint.localhost"]
        command += ["--ca", str(self._lab.state / "root-ca.pem"), "--log", str(self._log), "--matches", str(tables)]
        command += ["--points", str(POINTS)]
        for address in self.edges.values():
            command += ["--edge", address]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(self._tree / "app"), str(self._tree)))}
        with self._errors.open("w") as errors:
            self._process = start(
                command, cwd=self._tree, env=environment, stdin=subprocess.PIPE, stdout=errors, stderr=errors
            )
        poll(lambda: len(self.matches_now()) >= self._matches, within_s=60, what=f"{self._matches} matches at a time")
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self._check()
            assert self.drills <= self._judged, f"nobody judged {self.drills - self._judged}"
        finally:
            end(self._process, grace_s=0)

    @property
    def run(self) -> Run:
        """What has been seen until now."""
        self._check()
        if self._log.exists():
            self._run.follow(self._log)
        return self._run

    def _check(self) -> None:
        assert not self._process.poll(), f"the load ended by itself:\n{self._errors.read_text()[-3000:]}"

    def matches_now(self) -> list[Match]:
        return self.run.playing_at(time.time())

    @contextmanager
    def window(self, name: str, *, dead_edges: Iterable[str] = ()) -> Iterator[float]:
        """The time of a drill, from which it began. `dead_edges`: hosts that it takes away."""
        since = time.time()
        yield since
        self._windows[name] = Window(since, time.time(), tuple(self.edges[host] for host in dead_edges))

    def settle(self) -> None:
        """Wait for the matches of the drills until now, before one that may harm what they left."""
        until = max((window.until for window in self._windows.values()), default=0)
        self._settle(0, until)

    @property
    def drills(self) -> set[str]:
        """Those that came to their ends."""
        return set(self._windows)

    def judge(self, name: str) -> Report:
        """What players noticed of one of `drills`."""
        window = self._windows[name]
        self._settle(window.since, window.until)
        rows = stored(self._lab, [match.id for match in self.run.during(window.since, window.until)])
        told = report(self.run, rows, window.since, window.until, dead_edges=window.dead_edges)
        self._told(name, told.lines())
        self._judged.add(name)
        return told

    def _settle(self, since: float, until: float) -> None:
        left(
            lambda: [match.id for match in self.run.during(since, until) if not match.is_settled],
            within_s=SETTLED_S,
            every_s=1,
        )


def unharmed(told: Report) -> None:
    """Nobody lost anything: every match ended as it should, every score is right, every request was answered."""
    assert told.matches, "no match was played"
    assert not told.wrong, _some([f"match {match}: {'; '.join(what)}" for match, what in told.wrong.items()])
    assert not told.failed, _some(
        [
            f"{one['method']} {one['path']} of {one['by']} at {one['t']:.1f} through {one['edge']}: "
            f"{one['status']} {one['why']} after {one['ms']:.0f} ms"
            for one in told.failed
        ]
    )


def undisturbed(told: Report) -> None:
    """What was changed served no player: nobody lost a socket, and nobody waited."""
    unharmed(told)
    assert not told.reconnects
    assert percentile(told.pauses, 0.99) <= PAUSE_P99_S


def unnoticed(told: Report) -> None:
    """Under the whole load, players noticed nothing but a slightly longer pause between two rallies."""
    unharmed(told)
    assert told.playing_min >= MATCHES, f"only {told.playing_min} matches at a time"
    assert told.pages >= PAGES_PER_S * told.seconds, f"only {told.pages} page views in {told.seconds:.0f} s"
    assert told.moves, "no match was handed over: the drill has drained nothing"
    assert max((told.reconnects + told.moves).values()) <= RECONNECTS
    assert percentile(told.moved_pauses, 0.99) <= PAUSE_P99_S


def nothing_lost(told: Report) -> None:
    """Every match ended as it should, with the right score. What is killed may have had requests."""
    assert told.matches, "no match was played"
    assert not told.wrong, told.wrong


def _some(sentences: list[str]) -> str:
    return "\n".join([f"{len(sentences)}, such as:", *sentences[:10]])


# What the drills of `test_cluster.py` promise to players
PROMISES = {
    "deploy of a new release": unnoticed,
    "reboot of app2": unnoticed,
    "kill -9 of live workers": nothing_lost,
    "a release that is never ready": undisturbed,
    "the deploy after it": unnoticed,
    "a rollback that fails on app2": unharmed,
    "rollback": unharmed,
    "playbook killed in mid-roll, and the next run": unharmed,
    "app host unreachable in mid-roll, and the next run": unharmed,
    "primary killed, standby promoted": nothing_lost,
    "edge2 stopped": unharmed,
    "app2 stopped, and with it one of two monitoring hosts": unharmed,
}
