"""The labs that tests boot: driven as a user drives them, by `make`, SSH and HTTP.

The lab `matchpoint-test` is shared by the tests of `tests/lab` and `tests/e2e`: booted from nothing for the run, and
removed after it. ``KEEP_LAB=1`` leaves every lab running, for looking around after a failure; the next run then starts
from what is there. ``MATCHPOINT_TEST_LAB`` gives the labs another name, so that two checkouts can test on one machine.
"""

import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.processes import run

ROOT = Path(__file__).parents[1]
KEEP = os.environ.get("KEEP_LAB") == "1"
TEST_LAB = os.environ.get("MATCHPOINT_TEST_LAB") or "matchpoint-test"
LAB_TEST_S = 1500  # on a quiet machine a first deploy takes one minute
# What the `make` that runs the tests was told is not meant for those that the tests run
OUTER_MAKE = {"ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "SUITE"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OUTER_MAKE}


@dataclass(frozen=True)
class Lab:
    """A lab of any topology; a host is called by its name in there."""

    name: str = TEST_LAB
    topology: str = "single"

    @property
    def state(self) -> Path:
        """The lab's folder: keys, ssh_config, CA files and secrets."""
        return ROOT / ".lab" / self.name

    def secret(self, name: str) -> str:
        """A secret of the site as the playbook made it, e.g. `valkey_app`."""
        return yaml.safe_load((self.state / "secrets.yml").read_text())["current"][name]

    # The control machine

    def make(self, *arguments: str, timeout_s: float = 1200) -> str:
        """The output of `make ARGUMENTS` on this lab; a failure fails the test with the end of the output."""
        settings = (f"LAB={self.name}", f"TOPOLOGY={self.topology}", "PUBLISH=0")
        command = ["make", "-C", str(ROOT), *arguments, *settings]
        done = run(command, timeout_s=timeout_s, env=ENVIRONMENT)
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"make {' '.join(arguments)} exited {done.returncode}:\n{output[-20_000:]}"
        return output

    def machines(self) -> list[dict[str, Any]]:
        """`world` and the hosts as they are now: {host, groups, state ("running", "exited", ...), address}."""
        command = [sys.executable, "docker/lab/lab.py", "--lab", self.name, "status", "--json"]
        done = run(command, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def hosts(self, group: str = "") -> list[str]:
        """The hosts, or those of a group, in the order of the inventory, whether they run or not."""
        return [box["host"] for box in self.machines() if (group in box["groups"] if group else box["host"] != "world")]

    def address(self, host: str) -> str:
        """The address of a host, or of `world`; a host keeps it as long as it exists."""
        config = (self.state / "ssh_config").read_text()
        found = re.search(rf"^Host {re.escape(host)}\n  HostName (\S+)", config, re.MULTILINE)
        assert found, f"no host {host} in {self.state}/ssh_config"
        return found[1]

    # The hosts

    def ssh(self, host: str, command: str) -> list[str]:
        """The words of a command line that runs a command as root on a host."""
        return ["ssh", "-F", str(self.state / "ssh_config"), host, f"sudo sh -c {shlex.quote(command)}"]

    def run(self, host: str, command: str, *, stdin: str = "", timeout_s: float = 120) -> str:
        """The output of a command as root on a host; a failure fails the test."""
        done = run(self.ssh(host, command), stdin=stdin, timeout_s=timeout_s)
        assert done.returncode == 0, f"{host}: {command} exited {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def query(self, sql: str, *, host: str = "") -> Any:
        """What PostgreSQL answers to a query whose one column of one row is JSON; on the first host of the database."""
        psql = "sudo -u postgres psql -d matchpoint --no-psqlrc -qAt"
        return json.loads(self.run(host or self.hosts("db")[0], psql, stdin=sql))

    # Drills

    def stop(self, host: str) -> None:
        """Shuts a host down in order; returns when it is down."""
        self.make("lab-stop", f"HOST={host}")

    def kill(self, host: str) -> None:
        """Cuts a host's power."""
        self.make("lab-kill", f"HOST={host}")

    def start(self, host: str) -> None:
        """Boots a host that was stopped or killed; returns when it is up, with all its units."""
        self.make("lab-start", f"HOST={host}")

    def reboot(self, host: str) -> None:
        """Restarts a host in order; returns when it is up, with all its units."""
        self.make("lab-reboot", f"HOST={host}")

    @contextmanager
    def down(self, host: str, *, power_cut: bool = False) -> Iterator[float]:
        """A host that is down within the block and up again after it. Gives the time when it began (unix seconds)."""
        began = time.time()
        (self.kill if power_cut else self.stop)(host)
        try:
            yield began
        finally:
            self.start(host)

    # The world around

    def events(self, kind: str, since: float) -> list[dict[str, Any]]:
        """What the mail relay, the pager or the dead man's switch of `world` received since a time (unix seconds).

        ``kind`` is `mail`, `pager` or `deadman`; an event has `kind`, `at`, and what docker/lab/world/recorder.py says.
        """
        with requests.Session() as session:
            session.trust_env = False  # no proxy knows the lab
            answer = session.get(
                f"http://{self.address('world')}:8080/events", params={"kind": kind, "since": str(since)}, timeout=10
            )
        answer.raise_for_status()
        return answer.json()

    def pages(self, alert: str, status: str, since: float) -> list[dict[str, Any]]:
        """The pages about an alert that arrived since a time (unix seconds); ``status`` is `firing` or `resolved`."""
        return [
            event
            for event in self.events("pager", since)
            if event["body"]["status"] == status
            and any(one["labels"]["alertname"] == alert for one in event["body"]["alerts"])
        ]


@contextmanager
def booted(lab: Lab) -> Iterator[Lab]:
    """The lab, booted from nothing and removed afterwards."""
    if not KEEP:
        lab.make("down")
    try:
        lab.make("lab")
        yield lab
    finally:
        if not KEEP:
            lab.make("down")


def verify(lab: Lab, record: Callable[[str, object], None], *arguments: str) -> None:
    """`make verify`; what it skipped is told in the summary of the run."""
    said = lab.make("verify", *arguments)
    for reason in re.findall(r"^SKIPPED \[\d+\] (.+)$", said, re.MULTILINE):
        record("skipped inside", reason)


def poll(condition: Callable[[], Any], *, within_s: float, every_s: float = 0.5, what: str) -> Any:
    """The first true answer of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within_s} s for {what}")
        time.sleep(every_s)


def left(find: Callable[[], list[str]], *, within_s: float, every_s: float) -> list[str]:
    """What `find` still finds when the time is over; nothing as soon as it finds nothing."""
    deadline = time.monotonic() + within_s
    while (found := find()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return found


def recap(output: str) -> dict[str, int]:
    """The sums of Ansible's closing recap over all hosts: ok, changed, failed, ..."""
    lines = output.split("PLAY RECAP")[-1].splitlines()
    totals: dict[str, int] = {}
    for line in lines:
        for key, value in re.findall(r"(\w+)=(\d+)", line):
            totals[key] = totals.get(key, 0) + int(value)
    assert totals, f"no recap in:\n{output[-2000:]}"
    return totals


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs a lab may wait for its first deploy, on a machine that does other things as well."""
    for item in items:
        needs_lab = {"lab", "pair", "twin_lab"} & set(getattr(item, "fixturenames", ()))
        if needs_lab and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LAB_TEST_S))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with booted(Lab()) as single:
        yield single


@pytest.fixture(scope="session")
def site(lab: Lab) -> Lab:
    """The lab, deployed once."""
    lab.make("deploy")
    return lab


@pytest.fixture(scope="session")
def twin_lab() -> Iterator[Lab]:
    """Two bare hosts that will stand in for each other."""
    with booted(Lab(f"{TEST_LAB}-twins", "twins")) as two:
        yield two
