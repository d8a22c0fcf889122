"""The lab that the tests of `tests/lab` and `tests/e2e` share: booted from nothing for the run, removed after it.

``KEEP_LAB=1`` leaves it running, for looking around after a failure; the next run then starts from what is there.
"""

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).parents[1]
NAME = "matchpoint-test"


@dataclass(frozen=True)
class Lab:
    """A booted lab, driven as a user would: by `make`, SSH and HTTP."""

    state: Path = ROOT / ".lab" / NAME

    def make(self, *arguments: str, timeout_s: float = 900) -> str:
        """The output of `make ARGUMENTS` on this lab; a failure fails the test with the end of the output."""
        command = ["make", "-C", str(ROOT), *arguments, f"LAB={NAME}", "PUBLISH=0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"make {' '.join(arguments)} exited {done.returncode}:\n{output[-6000:]}"
        return output

    def run(self, host: str, command: str, *, stdin: str = "") -> str:
        """The output of a command as root on a host."""
        ssh = ["ssh", "-F", str(self.state / "ssh_config"), host, f"sudo sh -c {shlex.quote(command)}"]
        done = subprocess.run(ssh, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{host}: {command} exited {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def query(self, sql: str, *, host: str = "mp1") -> Any:
        """What PostgreSQL answers to a query whose one column of one row is JSON."""
        return json.loads(self.run(host, "sudo -u postgres psql -d matchpoint --no-psqlrc -qAt", stdin=sql))

    def address(self, host: str) -> str:
        config = (self.state / "ssh_config").read_text()
        found = re.search(rf"^Host {host}\n  HostName (\S+)", config, re.MULTILINE)
        assert found, f"no host {host} in {self.state}/ssh_config"
        return found[1]

    def events(self, kind: str, since: float) -> list[dict[str, Any]]:
        """What the mail relay, the pager or the dead man's switch of `world` received since a time (unix seconds)."""
        answer = requests.get(
            f"http://{self.address('world')}:8080/events", params={"kind": kind, "since": str(since)}, timeout=10
        )
        answer.raise_for_status()
        return answer.json()


def poll(condition: Callable[[], Any], *, within_s: float, every_s: float = 0.5, what: str) -> Any:
    """The first true answer of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"waited {within_s} s for {what}")
        time.sleep(every_s)


def recap(output: str) -> dict[str, int]:
    """The sums of Ansible's closing recap over all hosts: ok, changed, failed, ..."""
    lines = output.split("PLAY RECAP")[-1].splitlines()
    totals: dict[str, int] = {}
    for line in lines:
        for key, value in re.findall(r"(\w+)=(\d+)", line):
            totals[key] = totals.get(key, 0) + int(value)
    assert totals, f"no recap in:\n{output[-2000:]}"
    return totals


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    booted = Lab()
    keep = os.environ.get("KEEP_LAB") == "1"
    if not keep:
        booted.make("down")
    booted.make("lab")
    yield booted
    if not keep:
        booted.make("down")


@dataclass(frozen=True)
class Check:
    """A run of check mode: what it said, and what the host was before and after it."""

    output: str
    before: str
    after: str


@pytest.fixture(scope="session")
def virgin_check(lab: Lab) -> Check:
    """Check mode before anything was deployed."""
    inventory = (
        "dpkg-query -W; getent passwd; systemctl list-unit-files --no-legend | grep -v transient; ss -Hltn; "
        "find /etc /opt /usr/local /var/lib/systemd -xdev -type f -exec sha256sum {} + | sort -k2"
    )
    before = lab.run("mp1", inventory)
    output = lab.make("deploy", "CHECK=1")
    return Check(output, before, lab.run("mp1", inventory))


@pytest.fixture(scope="session")
def site(lab: Lab, virgin_check: Check) -> Lab:
    """The lab, deployed once."""
    lab.make("deploy")
    return lab
