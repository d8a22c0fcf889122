"""Runs all tests in lanes beside each other, each in a pytest of its own: ``python -m tests.lanes [--lint] [-- ARGS]``.

Labs mostly wait, and what needs no lab mostly computes, so that two cores are busy all the time. A failure is told at
once in a line, at the end in full and in a line again, what was skipped with its reason; the log of a lane is
``.cache/lanes/LANE.log``. The last line counts. Whatever happens, nothing of what was started is left, but for labs
with ``KEEP_LAB=1``.

As a pytest plugin (``-p tests.lanes``) it writes what happens in a lane, a JSON object a line.
"""

import argparse
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import docker
import pytest
from docker.errors import DockerException

from tests.conftest import KEEP, ROOT, TEST_LAB
from tests.processes import Program, descendants, end, run, start

LOGS = ROOT / ".cache/lanes"
SCRATCH = ROOT / ".cache/tmp"
DEPLOY = ["tests/lab/test_deploy.py"]
TWINS = ["tests/lab/test_twins.py", "tests/lab/test_driver.py"]
FIRST = "tests/lab/test_verify.py"
SITE = sorted(
    {f"tests/lab/{path.name}" for path in ROOT.glob("tests/lab/test_*.py")} - {*DEPLOY, *TWINS},
    key=lambda name: (name != FIRST, name),
)
LANES: dict[str, list[str]] = {
    "site": [*SITE, "tests/e2e"],
    "deploy": DEPLOY,
    "twins": TWINS,
    "code": ["tests/app", "tests/sim", "tests/harness", "tests/roles", "tests/rules", "tests/cluster/test_swarm.py"],
}
AT_ONCE = 4  # the labs wait for each other's hosts much of the time, which the code fills
LANE_S = 3000.0  # the last resort: tests have limits of their own
CLEAN_UP_S = 90.0  # what a lane that is stopped has to remove its lab
NOTHING_SELECTED = 5  # pytest's exit code
ENGINE = {"dockerd", "containerd", "containerd-shim", "docker-proxy", "runc"}
STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The plugin


def _write(**what: Any) -> None:
    if path := os.environ.get("LANE_EVENTS"):
        with open(path, "a") as file:
            file.write(json.dumps(what) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    _write(kind="start", test=nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    told = "".join(f"\n--- {title} ---\n{text}" for title, text in report.sections) if report.failed else ""
    if report.skipped and isinstance(report.longrepr, tuple):
        text = str(report.longrepr[2]).removeprefix("Skipped: ")
    else:
        text = report.longreprtext + told[-20_000:]
    if report.when == "call" or not report.passed:
        properties = [list(each) for each in report.user_properties] if report.when == "call" else []
        _write(kind=report.outcome, test=report.nodeid, when=report.when, text=text, properties=properties)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _write(kind="failed", test=report.nodeid, when="collection", text=report.longreprtext)


# The lanes


@dataclass
class Lane:
    """A lane that runs, or has."""

    name: str
    command: list[str]
    began: float = field(default_factory=time.monotonic)
    took_s: float | None = None
    cpu_s: float = 0  # on this machine's side of the labs
    now: str = "starting"
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    skips: list[tuple[str, str]] = field(default_factory=list)
    process: Program = field(init=False)
    _log: TextIO = field(init=False)
    _read: int = 0

    def __post_init__(self) -> None:
        self._events.unlink(missing_ok=True)
        self._log = self.log.open("w")
        home = SCRATCH / "home"
        home.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "LANE_EVENTS": str(self._events), "MATCHPOINT_TEST_LAB": f"{TEST_LAB}-{self.name}", "TMPDIR": str(SCRATCH),
            "HOME": str(home), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.process = start(
            self.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    @property
    def _events(self) -> Path:
        return LOGS / f"{self.name}.jsonl"

    def look(self) -> bool:
        """Reads what has happened, and says whether the lane goes on."""
        cpu_s = children_cpu_s()
        status = self.process.poll()
        self.cpu_s += children_cpu_s() - cpu_s  # of what this call has seen end
        self._take_events()
        if self.took_s is None and status is None and time.monotonic() - self.began > LANE_S:
            self.fail(self.name, f"The lane was ended after {LANE_S:.0f} s. It was at {self.now}.")
            self.stop()
            status = self.process.poll()
        if self.took_s is None and status is not None:
            self.took_s = time.monotonic() - self.began
            self._log.close()
            self._take_events()
            if status not in (0, NOTHING_SELECTED) and not self.failures:
                said = self.log.read_text(errors="replace")[-6000:]
                self.fail(self.name, f"The lane ended with exit code {status}, at {self.now}:\n{said}")
        return self.took_s is None

    def _take_events(self) -> None:
        if not self._events.exists():
            return
        with self._events.open() as file:
            file.seek(self._read)
            while (line := file.readline()).endswith("\n"):
                self._read = file.tell()
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        self.now = event["test"]
        if event["kind"] == "failed":
            self.fail(f"{event['test']} ({event['when']})", event["text"])
        elif event["kind"] == "skipped":
            self.counts["skipped"] += 1
            self.skips.append((event["test"], event["text"]))
        elif event["kind"] == "passed":
            self.counts["passed"] += 1
        self.skips += [(event["test"], text) for name, text in event.get("properties", []) if name == "skipped inside"]

    def fail(self, what: str, text: str) -> None:
        self.counts["failed"] += 1
        self.failures.append((what, text))
        say(f"FAILED  {self.name}: {what}")

    def stop(self) -> None:
        """Ends the lane as Ctrl-C does, so that it removes its lab; kills it when that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=CLEAN_UP_S)
            except subprocess.TimeoutExpired:
                say(f"The lane {self.name} does not end, and is killed.")
        end(self.process, grace_s=0)


def children_cpu_s() -> float:
    """What all that has ended, and was started by what had ended before it, has computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_s() -> tuple[float, float]:
    """Seconds that the cores of the machine had since its boot, and those in which they computed, whoever for."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    total, idle = sum(ticks), ticks[3] + ticks[4]
    return total / os.sysconf("SC_CLK_TCK"), (total - idle) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# What is left


def labs() -> set[str]:
    """The labs of the lanes that there are, running or not."""
    engine = ROOT / ".lab/engine.env"
    said = dict(line.split("=", 1) for line in engine.read_text().split()) if engine.exists() else {}
    try:
        client = docker.from_env(environment={**os.environ, **said}, timeout=60)
        boxes = client.containers.list(all=True, filters={"label": "matchpoint.lab"})
    except DockerException:
        return set()
    names = {box.labels["matchpoint.lab"] for box in boxes}
    return {name for name in names for lane in LANES if f"{name}-".startswith(f"{TEST_LAB}-{lane}-")}


def still_running() -> dict[int, str]:
    """What this process started, or inherited of what it started, and is no Docker engine: process id -> command."""
    tree = descendants(os.getpid())
    engine = {pid for pid in tree if _comm(pid)[:15] in ENGINE}
    spared = engine | {each for pid in engine for each in descendants(pid)}
    spared |= {pid for pid in tree if engine & set(descendants(pid))}
    lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in tree if pid not in spared}
    found = {pid: path.read_text().replace("\0", " ").strip() for pid, path in lines.items() if path.exists()}
    return {pid: command for pid, command in found.items() if command}  # a zombie has none


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def places() -> set[str]:
    """What lies where careless programs leave something: beside the checkout, at home, in /tmp, unknown to Git."""
    outside = [ROOT.parent, Path.home(), Path.home() / ".cache", Path.home() / ".config", Path.home() / ".ansible"]
    found = {str(path) for folder in outside if folder.is_dir() for path in folder.iterdir()}
    ours = ("matchpoint", "playwright", "pytest-of-", ".org.chromium")  # who asks for TMPDIR writes into the checkout
    found |= {str(path) for path in Path("/tmp").iterdir() if path.name.startswith(ours)}
    status = run(["git", "status", "--porcelain", "--untracked-files=normal"], cwd=ROOT)
    return found | {f"{ROOT}/{line[3:]}" for line in status.stdout.splitlines() if line.startswith("??")}


def clean_up(before: set[str]) -> list[str]:
    """Removes what the lanes left, and says what that was; a connection that SSH keeps open is nobody's fault."""
    found = []
    if not KEEP:
        for lab in sorted(labs()):
            found.append(f"the lab {lab}")
            run(["make", "down", f"LAB={lab}"], cwd=ROOT, timeout_s=300)
    left = still_running()
    for pid, command in left.items():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        if not command.startswith("ssh: "):
            found.append(f"the process {command[:200]}")
    if left_files := places() - before:
        time.sleep(2)  # an engine has files that come and go
        found += [f"the file {path}" for path in sorted(left_files & places())]
    return found


# The whole


class Stopped(Exception):
    """Somebody wants this to end."""


def stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped(signal.Signals(number).name)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests.lanes", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--lane", action="append", choices=[*LANES, "lint"], help="only this lane (default: all but lint)"
    )
    parser.add_argument("--lint", action="store_true", help="`make lint` beside the tests")
    parser.add_argument("--limit", type=float, default=0, metavar="S", help="fail when the whole takes longer")
    parser.add_argument("arguments", nargs="*", help="for every pytest")
    args = parser.parse_args()
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what loses its parent becomes a child of this process
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    before, began, cores = places(), time.monotonic(), machine_s()
    names = args.lane or [*LANES, *(["lint"] if args.lint else [])]
    lanes: list[Lane] = []
    ended = ""
    for number in STOP:
        signal.signal(number, stopped)
    try:
        watch(names, args.arguments, lanes, began)
    except Stopped as signal_name:
        ended = str(signal_name)
        say(f"{ended}: ending the lanes. Once more ends them at once.")
    try:
        for lane in lanes:
            if lane.process.poll() is None:
                lane.process.send_signal(signal.SIGINT)  # all at a time
        for lane in lanes:
            lane.stop()
    except Stopped:
        say("Ending at once.")
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)
    for lane in lanes:
        end(lane.process, grace_s=0)
        lane.look()
    left = clean_up(before)
    had_s, used_s = (now - then for now, then in zip(machine_s(), cores, strict=True))
    busy = f"{used_s:.0f} of {had_s:.0f} s of {os.cpu_count()} cores used"
    return summary(lanes, time.monotonic() - began, busy, left if not ended else [], args.limit, ended)


def reap(lanes: list[Lane]) -> None:
    """Ends what lost its parent and has ended: whoever looks for it would find it among the living."""
    mine = {lane.process.pid for lane in lanes}
    for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        if pid not in mine:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def watch(names: list[str], arguments: list[str], lanes: list[Lane], began: float) -> None:
    """Begins the lanes, AT_ONCE at a time, and returns when all have ended."""
    told, waiting = 0.0, list(names)
    while (running := [lane for lane in lanes if lane.look()]) or waiting:
        if waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            words = [sys.executable, "-m", "pytest", "-p", "tests.lanes", *LANES.get(name, []), *arguments]
            lanes.append(Lane(name, ["make", "lint"] if name == "lint" else words))
            continue
        reap(lanes)
        time.sleep(0.2)
        if (elapsed := time.monotonic() - began) - told >= 60:
            told = elapsed
            for lane in lanes:
                done = lane.counts["passed"] + lane.counts["failed"] + lane.counts["skipped"]
                where = f"ended after {lane.took_s:.0f} s" if lane.took_s is not None else lane.now
                say(f"{elapsed:6.0f} s  {lane.name:8} {done:5}  {where}")


def summary(lanes: list[Lane], took_s: float, busy: str, left: list[str], limit_s: float, ended: str) -> int:
    """Says what people read, and gives the exit status."""
    total: Counter[str] = Counter()
    skips: dict[str, list[str]] = {}
    for lane in lanes:
        total += lane.counts
        for what, why in lane.skips:
            skips.setdefault(why, []).append(what)
    for why, tests in sorted(skips.items()):
        also = len(set(tests)) - 1
        say(f"SKIPPED {tests[0]}{f' and {also} more' if also else ''}: {why}")
    for lane in lanes:
        first: dict[str, str] = {}  # a lab that was not deployed fails every test that needs it, in the same words
        for what, text in lane.failures:
            like = first.setdefault(text[-1000:], what)
            say(f"\n{'=' * 8} {lane.name}: {what}\n{text if like == what else f'As {like}.'}")
    for what in left:
        total["failed"] += 1
        say(f"FAILED  left behind: {what}")
    times = ", ".join(f"{lane.name} {lane.took_s or 0:.0f} s (CPU {lane.cpu_s:.0f})" for lane in lanes)
    say(f"\nLanes: {times}; together {took_s:.0f} s, {busy}. Their logs are in {os.path.relpath(LOGS)}.")
    if limit_s and took_s > limit_s:
        total["failed"] += 1
        say(f"FAILED  all together took {took_s:.0f} s, and may take {limit_s:.0f} s.")
    for lane in lanes:  # who sees only the end of a log sees what failed, and why
        for what, text in lane.failures:
            say(f"FAILED  {lane.name}: {what}: {reason(text)}")
    if ended:
        say(f"Ended by {ended}: what had not run yet is not counted.")
    if not total and not ended:
        say("No test was selected.")
    say(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 130 if ended else int(total["failed"] > 0 or not total)


def reason(text: str) -> str:
    """What a failure's text says went wrong: pytest's own lines about it, or the last ones, in 600 characters."""
    lines = [line for line in text.partition("\n--- ")[0].splitlines() if line.strip()]
    told = [line[1:].strip() for line in lines if line.startswith("E ")] or lines[-3:]
    return textwrap.shorten(" ".join(told), 600, placeholder=" ...")


if __name__ == "__main__":
    sys.exit(main())
