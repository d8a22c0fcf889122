"""One fault: made, heard, mended, and heard to be over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.conftest import ENVIRONMENT, ROOT, Lab
from tests.drills.board import Board, Notice
from tests.drills.model import Fault, Kind, noise
from tests.processes import end, run, start

PRELUDE: Final = (Path(__file__).parent / "prelude.sh").read_text()
RUN: Final = "script=$(mktemp); cat > $script; sh $script < /dev/null; status=$?; rm $script; exit $status"
CLEAR_S: Final = 300.0
SILENCE_S: Final = 110.0  # without a heartbeat, of which there is one a minute: time for the switch to call somebody
COMMAND_S: Final = 900.0


@dataclass
class Outcome:
    """What came of a fault. Times are unix seconds."""

    fault: Fault
    began: float  # when the fault was about to be made
    entered: float = 0.0  # when its host was about to be prepared for it
    mended: float = 0.0
    ended: float = 0.0
    notified: dict[Kind, float] = field(default_factory=dict)  # seconds from the fault
    resolved: dict[Kind, float] = field(default_factory=dict)  # seconds from the repair
    heard: dict[Kind, float] = field(default_factory=dict)  # company that came, seconds from the fault
    faults: list[str] = field(default_factory=list)  # why it did not pass

    def covers(self, at: float) -> bool:
        return (self.entered or self.began) <= at <= self.ended


@dataclass
class Driller:
    """Drills faults on one lab."""

    lab: Lab
    board: Board
    say: Callable[[str], None]
    _awake: set[Kind] = field(default_factory=set)  # what earlier faults left behind them, for a while

    def host(self, fault: Fault) -> str:
        """Where the fault is made: a host by its name, or the first of a tier."""
        every = self.lab.hosts()
        return fault.host if fault.host in every else self.lab.hosts(fault.host)[0]

    def on_host(self, fault: Fault, commands: str, *, strict: bool) -> None:
        if commands:
            named = f"DRILL={fault.name.replace('-', '_')}\n"
            script = named + PRELUDE + ("set -e\n" if strict else "") + commands
            self.lab.run(self.host(fault), RUN, stdin=script, timeout_s=COMMAND_S)

    def here(self, fault: Fault, commands: str) -> None:
        """Runs commands on the control machine, in the checkout, with the lab's settings in the environment."""
        if not commands:
            return
        settings = {"LAB": self.lab.name, "TOPOLOGY": self.lab.topology, "PUBLISH": "0", "STATE": str(self.lab.state)}
        settings |= {"HOST": self.host(fault), "PYTHON": sys.executable, "WORLD": self.lab.address("world")}
        shell = ["bash", "-euo", "pipefail", "-c", commands]
        done = run(shell, cwd=ROOT, env=ENVIRONMENT | settings, timeout_s=COMMAND_S)
        assert done.returncode == 0, f"{commands} exited {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"

    def drill(self, fault: Fault) -> Outcome:
        """Makes the fault, and mends it whatever happens."""
        with background(self.lab, fault):
            return self._drill(fault)

    def _drill(self, fault: Fault) -> Outcome:
        now = time.time()
        outcome = Outcome(fault, began=now, entered=now)
        try:
            self.on_host(fault, fault.setup, strict=True)
            left = self._clear_before(fault)
            if left:
                outcome.faults.append(f"before it there was {_names(left)}")
            outcome.began = time.time()
            self.say(f"{fault.name}: {fault.fault}")
            self.on_host(fault, fault.inject, strict=True)
            self.here(fault, fault.inject_here)
            self._await_notification(outcome)
            _wait(fault.linger)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            outcome.faults.append(f"could not be made: {error}")
        finally:
            outcome.mended = time.time()
            self._mend(fault, outcome)
        if not outcome.faults:
            self._await_resolution(outcome)
        self._awake |= set(fault.late)
        left = self._clear(fault)
        if left:
            outcome.faults.append(f"{_names(left)} stayed after the repair")
        outcome.ended = time.time()
        self.say(f"{fault.name}: {summary(outcome)}")
        return outcome

    def follow(self, outcome: Outcome) -> Outcome:
        """Waits for what a fault that is mended leaves behind it, and for the end of that."""
        late, within_s = outcome.fault.late, outcome.fault.resolves_within
        if late:
            if not outcome.faults:
                self._await(outcome, outcome.notified, outcome.began, late, within_s, is_resolved=False)
                self._await(outcome, outcome.resolved, outcome.mended, late, within_s, is_resolved=True)
                missing = [kind for kind in late if not {kind} <= outcome.notified.keys() & outcome.resolved.keys()]
                if missing:
                    outcome.faults.append(f"{_names(missing)} did not come and go in its wake")
            left = self.board.clear(late, within_s=CLEAR_S)
            if left:
                outcome.faults.append(f"{_names(left)} stayed in its wake")
            outcome.ended = time.time()
            self._awake -= set(late)
            self.say(f"{outcome.fault.name}, in its wake: {summary(outcome)}")
        return outcome

    def _clear(self, fault: Fault) -> set[Kind]:
        """What is left on the board that a fault has to have for itself: of its own alerts, or at all."""
        own = fault.kinds if fault.lane or fault.is_true else None
        return self.board.clear(own, but=self._awake, within_s=CLEAR_S)

    def _clear_before(self, fault: Fault) -> set[Kind]:
        """What is left before a fault. What it is to leave in its wake must not be there from another one either.

        A fault that comes alone may take away what has to tell of the ends of all wakes.
        """
        wakes = set(fault.late) if fault.lane else self._awake | set(fault.late)
        return self._clear(fault) | self.board.clear(wakes, within_s=CLEAR_S)

    def _mend(self, fault: Fault, outcome: Outcome) -> None:
        for mend in (
            lambda: self.here(fault, fault.repair_here),
            lambda: self.on_host(fault, fault.repair, strict=False),
        ):
            try:
                mend()
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                outcome.faults.append(f"could not be mended: {error}")

    def _await_notification(self, outcome: Outcome) -> None:
        fault = outcome.fault
        if fault.silence:
            self._await_silence(outcome)
            return
        self._await(outcome, outcome.notified, outcome.began, fault.kinds, fault.within, is_resolved=False)
        missing = [kind for kind in fault.kinds if kind not in outcome.notified]
        if missing:
            fires = self.board.alerts("firing") & set(missing)
            pends = self.board.alerts("pending") & set(missing)
            outcome.faults.append(
                f"{_names(missing)} did not come in {fault.within:.0f} s"
                f" (firing: {_names(fires)}; pending: {_names(pends)})"
            )
        for kind, took in outcome.notified.items():
            if fault.promise and kind.severity == "page" and took > fault.promise:
                outcome.faults.append(f"{kind} took {took:.0f} s; promised are {fault.promise}")

    def _await_resolution(self, outcome: Outcome) -> None:
        fault = outcome.fault
        if fault.silence:
            deadline = time.monotonic() + fault.resolves_within
            while not (beats := self.board.beats(outcome.mended)):
                if time.monotonic() > deadline:
                    outcome.faults.append(f"no heartbeat came in {fault.resolves_within:.0f} s after the repair")
                    return
                time.sleep(1)
            outcome.resolved[Kind("Watchdog", "none")] = beats[0] - outcome.mended
            return
        self._await(outcome, outcome.resolved, outcome.mended, fault.kinds, fault.resolves_within, is_resolved=True)
        missing = [kind for kind in fault.kinds if kind not in outcome.resolved]
        if missing:
            outcome.faults.append(f"{_names(missing)} did not resolve in {fault.resolves_within:.0f} s")

    def _await_silence(self, outcome: Outcome) -> None:
        deadline = time.monotonic() + outcome.fault.within
        while time.monotonic() < deadline:
            last = max(self.board.beats(outcome.began - 90), default=outcome.began)
            if time.time() - last > SILENCE_S:
                outcome.notified[Kind("Watchdog", "none")] = time.time() - outcome.began
                return
            time.sleep(1)
        outcome.faults.append(f"heartbeats went on for {outcome.fault.within:.0f} s")

    def _await(
        self,
        outcome: Outcome,
        into: dict[Kind, float],
        since: float,
        kinds: Collection[Kind],
        within_s: float,
        *,
        is_resolved: bool,
    ) -> None:
        """Waits until all kinds have been heard since a time, and writes down how many seconds after it."""
        deadline = time.monotonic() + within_s
        while True:
            for notice in self.board.heard(since):
                is_wanted = notice.is_resolved == is_resolved and notice.kind in kinds
                is_its_own = outcome.fault.labels.items() <= notice.labels.items() or notice.kind.severity != "page"
                if is_wanted and is_its_own and (notice.counts or outcome.fault.by_mail):
                    into.setdefault(notice.kind, notice.at - since)
            if set(kinds) <= set(into) or time.monotonic() > deadline:
                return
            time.sleep(1)


def strangers(outcomes: list[Outcome], heard: list[Notice]) -> list[Notice]:
    """What arrived and belongs to no fault of its time. Notes in the outcomes what came as well, allowed or not."""
    nobodys = []
    for notice in heard:
        if notice.is_resolved:
            continue
        during = [outcome for outcome in outcomes if outcome.covers(notice.at)]
        owners = [outcome for outcome in during if outcome.fault.expects(notice.kind)]
        for outcome in owners:
            if notice.kind not in (*outcome.fault.kinds, *outcome.fault.late):
                outcome.heard.setdefault(notice.kind, notice.at - outcome.began)
        # A promise that was burnt is remembered for days, or what days are in the test profile
        is_echo = any(notice.kind in outcome.fault.late and outcome.began < notice.at for outcome in outcomes)
        is_noise = str(notice.kind) in noise()
        if not owners and not is_echo and not is_noise:
            nobodys.append(notice)
            for outcome in during:
                said = f"{notice.kind} of {notice.host} came as well"
                if said not in outcome.faults:
                    outcome.faults.append(said)
    return nobodys


def summary(outcome: Outcome) -> str:
    said = [
        f"{kind} after {took:.0f} s"
        + (f", over after {outcome.resolved[kind]:.0f} s" if kind in outcome.resolved else "")
        for kind, took in outcome.notified.items()
    ]
    return "; ".join([*said, *(f"FAILED: {fault}" for fault in outcome.faults)])


def _names(kinds: Iterable[object]) -> str:
    return ", ".join(sorted(str(kind) for kind in kinds)) or "none"


def _wait(for_s: float) -> None:
    """Time for others to be heard that should not be."""
    time.sleep(for_s)


@contextmanager
def background(lab: Lab, fault: Fault) -> Iterator[None]:
    """Matches that are played and pages that are looked at meanwhile, if the fault needs some."""
    if not fault.load:
        yield
        return
    with swarm(lab, matches=fault.load, pages=1):
        yield


@contextmanager
def swarm(lab: Lab, *, matches: int, pages: float) -> Iterator[Path]:
    """Players on a lab; gives the file where they write down what they see."""
    log = lab.state / "drills" / "swarm.jsonl"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.cluster.swarm", "--url", "https://matchpoint.localhost"]
    command += [
        "--ca",
        str(lab.state / "root-ca.pem"),
        "--log",
        str(log),
        "--matches",
        str(matches),
        "--pages",
        str(pages),
    ]
    for edge in lab.hosts("edge"):
        command += ["--edge", lab.address(edge)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "app"), str(ROOT)))}
    process = start(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield log
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            end(process, grace_s=0)
