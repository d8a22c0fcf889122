"""The fault matrix: `make drills` makes every fault, `make drill NAME=stopped-postgres` one; `NAME=list` lists them."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from threading import Event

from tests.drills import profile, quiet, report
from tests.drills.board import Board, DrillLab, Notice
from tests.drills.drill import Driller, Outcome, strangers, summary
from tests.drills.model import RULES, Fault, faults, named

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


@dataclass
class Part:
    """What is drilled on one lab."""

    lab: str
    topology: str
    faults: list[Fault] = field(default_factory=list)
    is_quiet_run: bool = False  # whether it begins with the quiet run


def lab_of(fault: Fault) -> str:
    """The lab of a fault: one with the timings of a site, one with those of the test profile, or a topology's own."""
    if fault.topology != "single":
        return f"drills-{fault.topology}"
    return "drills" if fault.is_true else "drills-profile"


def parts(wanted: Iterable[Fault], *, quiet: bool, lab: str = "") -> list[Part]:
    """Faults by lab, the longest first; all on one lab if it is named."""
    found: dict[str, Part] = {}
    if quiet:
        first = Part(lab or "drills", "single", is_quiet_run=True)
        found[first.lab] = first
    for fault in wanted:
        name = lab or lab_of(fault)
        found.setdefault(name, Part(name, fault.topology)).faults.append(fault)
    for part in found.values():
        if any(fault.topology != part.topology for fault in part.faults):
            raise ValueError(f"the lab {part.lab} can have one topology; name faults of one, or no lab")
    return sorted(found.values(), key=lambda part: -len(part.faults))


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
            self.lab.make("deploy")
            self._note.write_text(self._named("true"))

    def timings(self, name: str) -> None:
        """Gives the rules the timings of the profile `test`, or the `true` ones."""
        if self._note.exists() and self._note.read_text() == self._named(name):
            return
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


def drill_all(
    stage: Stage, wanted: list[Fault], tell: Callable[[str], None], is_over: Event
) -> tuple[list[Outcome], list[Notice]]:
    """Drills round by round, until all are done or the run is over. Gives also what was heard that belongs to none."""
    board = Board(stage.lab)
    driller = Driller(stage.lab, board, tell)
    began = time.time()
    with ThreadPoolExecutor(16) as wakes:

        def drill_lane(lane: list[Fault]) -> list[Future[Outcome]]:
            return [wakes.submit(driller.follow, driller.drill(fault)) for fault in lane if not is_over.is_set()]

        ends: list[Future[Outcome]] = []
        try:
            for timings, lanes in rounds(wanted):
                if is_over.is_set():
                    break
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
    assert len(outcomes) == len(ends), [end.exception() for end in ends]
    for notice in nobodys:
        tell(f"stranger: {notice.kind} of {notice.host} at {time.strftime('%H:%M:%S', time.localtime(notice.at))}")
    return outcomes, nobodys


def quiet_run(stage: Stage, tell: Callable[[str], None]) -> bool:
    stage.timings("true")
    board = Board(stage.lab)
    board.clear(within_s=300)
    steps = quiet.run(stage.lab, board, tell)
    report.save_quiet(quiet.result(steps))
    return all(step.told("page") == "none" for step in steps)


def play(part: Part, *, anew: bool, is_over: Event) -> tuple[bool, list[Outcome]]:
    """One lab: whether nobody was called for nothing, and what came of its faults."""

    def tell(text: str) -> None:
        say(f"{part.lab}: {text}")

    stage = Stage(DrillLab(part.lab, part.topology))
    tell("booting")
    stage.boot(anew=anew)
    is_quiet = quiet_run(stage, tell) if part.is_quiet_run else True
    outcomes, nobodys = drill_all(stage, part.faults, tell, is_over)
    return is_quiet and not nobodys, outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of a fault, or `{QUIET}`; none: all of them, after `{QUIET}`")
    parser.add_argument("--lab", help="one for all, which can have one topology; default: drills, drills-profile, ...")
    parser.add_argument("--topology", help="only the faults of this one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="labs at a time; default: one a processor")
    options = parser.parse_args()
    if options.name == ["list"]:
        print("\n".join(report.describe(fault) for fault in faults()))
        return 0
    wanted = [named(name) for name in options.name if name != QUIET] if options.name else list(faults())
    wanted = [fault for fault in wanted if options.topology in (None, fault.topology)]
    is_quiet_wanted = QUIET in options.name or (not options.name and options.topology in (None, "single"))
    began = time.monotonic()
    is_over = Event()
    with ThreadPoolExecutor(options.jobs) as labs:
        plays = [
            labs.submit(play, part, anew=not options.name, is_over=is_over)
            for part in parts(wanted, quiet=is_quiet_wanted, lab=options.lab or "")
        ]
        try:
            played = [each.result() for each in plays]
        except BaseException:  # what is broken is mended and measured, nothing more is begun
            is_over.set()
            labs.shutdown(cancel_futures=True)
            raise
        finally:
            report.write()
    outcomes = [outcome for _, those in played for outcome in those]
    if not options.name:
        print("\nNot proven so far:", *report.missing(report.load()), sep="\n")
    failed = [outcome for outcome in outcomes if outcome.faults]
    print(f"\n{report.table({o.fault.name: report.result(o) for o in outcomes if not o.faults})}\n")
    print("\n".join(f"{outcome.fault.name}: {summary(outcome)}" for outcome in failed))
    say(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed in {(time.monotonic() - began) / 60:.0f} minutes")
    return 0 if not failed and all(is_quiet for is_quiet, _ in played) else 1


if __name__ == "__main__":
    sys.exit(main())
