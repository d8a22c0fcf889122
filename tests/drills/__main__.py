"""The fault matrix: `make drills` makes every fault, `make drill NAME=stopped-postgres` one; `NAME=list` lists them."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import groupby
from pathlib import Path

from tests.drills import profile, quiet, report
from tests.drills.board import Board, DrillLab
from tests.drills.drill import Driller, Outcome, strangers, summary
from tests.drills.model import RULES, Fault, faults, named

LABS = {"single": "drills"}  # of other topologies: drills-<topology>
QUIET = "quiet"
# What happened before is none of the next drills' business: some rules look back for days
# On all hosts step by step: Alertmanagers tell each other what they have told
FORGET = (
    "systemctl stop prometheus prometheus-alertmanager",
    "find /var/lib/prometheus/metrics2 /var/lib/prometheus/alertmanager -mindepth 1 -delete",
    "systemctl start prometheus-alertmanager prometheus",
)
KNOWS = 'count_over_time(up{job="prometheus"}[5m]) >= 3'
KNOWS_S = 120


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Stage:
    """A lab, and which timings its rules have."""

    def __init__(self, lab: DrillLab) -> None:
        self.lab = lab
        self._folder = lab.state / "drills"
        self._note = self._folder / "timings"

    def boot(self, *, anew: bool) -> None:
        """Boots the lab and deploys onto it, if it has not been, or if it shall be up to date."""
        self.lab.make("lab")
        self._folder.mkdir(parents=True, exist_ok=True)
        if anew or not self._note.exists():
            say("deploying")
            self.lab.make("deploy")
            self._note.write_text(self._named("true"))

    def timings(self, name: str) -> None:
        """Gives the rules the timings of the profile `test`, or the `true` ones."""
        if self._note.exists() and self._note.read_text() == self._named(name):
            return
        say(f"{name} timings")
        settings = [f"ARGS=-e @{profile.write(self._folder)}"] if name == "test" else []
        self._note.write_text("between two timings")
        self.lab.make("deploy", "TAGS=prometheus,alertmanager", *settings)
        self._note.write_text(self._named(name))
        self.forget()

    def forget(self) -> None:
        """Empties the memory of the monitoring, and waits until it knows the present."""
        hosts = self.lab.hosts("monitor")
        for step in FORGET:
            for host in hosts:
                self.lab.run(host, step)
        deadline = time.monotonic() + KNOWS_S
        while not all(self.lab.run(host, f"matchpoint-query '{KNOWS}' || true") for host in hosts):
            assert time.monotonic() < deadline, f"Prometheus has scraped too little {KNOWS_S} s after its start"
            time.sleep(2)

    @staticmethod
    def _named(name: str) -> str:
        content = "".join(path.read_text() for path in [*sorted(RULES.glob("*.yml")), Path(profile.__file__)])
        return f"{name} {hashlib.sha256(content.encode()).hexdigest()}"


def rounds(wanted: Iterable[Fault]) -> list[tuple[str, list[list[Fault]]]]:
    """The order of faults: rounds one after the other, each with its timings and its lanes, which go side by side."""
    those = list(wanted)
    shared = sorted((fault for fault in those if fault.lane), key=lambda fault: (fault.round, fault.lane))
    side_by_side = [
        ("test", [list(lane) for _, lane in groupby(those_of_round, key=lambda fault: fault.lane)])
        for _, those_of_round in groupby(shared, key=lambda fault: fault.round)
    ]
    alone = [("true" if fault.is_true else "test", [[fault]]) for fault in those if not fault.lane]
    return [each for each in alone if each[0] == "true"] + side_by_side + [each for each in alone if each[0] == "test"]


def drill_all(stage: Stage, wanted: list[Fault]) -> list[Outcome]:
    board = Board(stage.lab)
    driller = Driller(stage.lab, board, say)
    began = time.time()
    with ThreadPoolExecutor(16) as wakes:

        def drill_lane(lane: list[Fault]) -> list[Future[Outcome]]:
            return [wakes.submit(driller.follow, driller.drill(fault)) for fault in lane]

        ends: list[Future[Outcome]] = []
        try:
            for timings, lanes in rounds(wanted):
                stage.timings(timings)
                if timings == "true":
                    stage.forget()  # what is promised over hours and days would be told of until then
                with ThreadPoolExecutor(len(lanes)) as pool:
                    ends += [end for lane in pool.map(drill_lane, lanes) for end in lane]
            wait(ends)
        finally:  # also what a run that is ended early has measured
            outcomes = [end.result() for end in ends if end.done() and not end.exception()]
            nobodys = strangers(outcomes, board.heard(began))
            report.save([outcome for outcome in outcomes if not outcome.faults])
            report.write()
    assert len(outcomes) == len(ends), [end.exception() for end in ends]
    for notice in nobodys:
        say(f"stranger: {notice.kind} of {notice.host} at {time.strftime('%H:%M:%S', time.localtime(notice.at))}")
    return outcomes


def quiet_run(stage: Stage) -> bool:
    stage.timings("true")
    board = Board(stage.lab)
    board.clear(within_s=300)
    steps = quiet.run(stage.lab, board, say)
    report.save_quiet(quiet.result(steps))
    return all(step.told("page") == "none" for step in steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "name", nargs="*", help=f"of a fault, or `{QUIET}`; none: all of the topology, and then `{QUIET}`"
    )
    parser.add_argument("--lab", help="its name; default: drills, or drills-<topology>")
    parser.add_argument("--topology", default="single")
    options = parser.parse_args()
    if options.name == ["list"]:
        print("\n".join(report.describe(fault) for fault in faults()))
        return 0
    wanted = [named(name) for name in options.name if name != QUIET]
    topology = wanted[0].topology if wanted else options.topology
    if not options.name:
        wanted = [fault for fault in faults() if fault.topology == topology]
    assert all(fault.topology == topology for fault in wanted), "faults of one topology at a time"
    stage = Stage(DrillLab(options.lab or LABS.get(topology, f"drills-{topology}"), topology))
    began = time.monotonic()
    stage.boot(anew=not options.name)
    is_quiet = True
    if QUIET in options.name or (not options.name and topology == "single"):
        is_quiet = quiet_run(stage)
    outcomes = drill_all(stage, wanted)
    if not options.name:
        print("\nNot proven so far:", *report.missing(report.load()), sep="\n")
    failed = [outcome for outcome in outcomes if outcome.faults]
    print(f"\n{report.table({o.fault.name: report.result(o) for o in outcomes if not o.faults})}\n")
    print("\n".join(f"{outcome.fault.name}: {summary(outcome)}" for outcome in failed))
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed in {(time.monotonic() - began) / 60:.0f} minutes")
    return 0 if not failed and is_quiet else 1


if __name__ == "__main__":
    sys.exit(main())
