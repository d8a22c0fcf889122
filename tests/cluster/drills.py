"""What the drills do to a cluster from outside: releases to deploy, playbooks to kill, and looks at what runs where."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT, Lab
from tests.processes import end, start

# Worker -> release, by what its process was started with
RUNNING = (
    "for unit in $(systemctl list-units --plain --no-legend --state=running 'matchpoint-web@*' 'matchpoint-live@*'"
    " | cut -d' ' -f1); do echo $unit $(tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID $unit)/environ"
    " | sed -n 's/^MATCHPOINT_DEPLOYED=//p'); done"
)
NOT_READY = "\n\nReadiness.is_ready = property(lambda self: False)  # type: ignore\n"


class Releases:
    """Trees to build releases from: copies of `app/`, or of MATCHPOINT_APP, as it was at the beginning of the run."""

    def __init__(self, lab: Lab) -> None:
        self._folder = lab.state / "apps"
        self._made_at = int(time.time())
        shutil.rmtree(self._folder, ignore_errors=True)
        self.tree("first")

    def tree(self, name: str, **appended: str) -> Path:
        """A copy, or an earlier one of this name; `appended` is text by the file (`ops_health`) that it is added to."""
        path = self._folder / name
        if not path.exists():
            source = os.environ.get("MATCHPOINT_APP", ROOT / "app") if name == "first" else self._folder / "first"
            shutil.copytree(source, path, ignore=shutil.ignore_patterns("__pycache__"))
            for file, text in appended.items():
                with (path / f"{file.replace('_', '/')}.py").open("a") as module:
                    module.write(text)
        return path

    def working(self, name: str) -> str:
        """A setting of `make deploy`: a release that differs from others in nothing but its id."""
        return f"MATCHPOINT_APP={self.tree(name, matchpoint_asgi=f'# {name} of {self._made_at}{chr(10)}')}"

    def unready(self, name: str) -> str:
        """A release whose workers start, and never say that they are ready."""
        return f"MATCHPOINT_APP={self.tree(name, ops_health=NOT_READY)}"


def running(lab: Lab, *hosts: str) -> dict[str, str]:
    """Release by worker, such as `app1 matchpoint-live@8101.service`, of the workers that run."""
    found = {}
    for host in hosts or lab.hosts("app"):
        for line in lab.run(host, RUNNING).splitlines():
            unit, _, stamp = line.partition(" ")
            found[f"{host} {unit}"] = stamp.rpartition("-")[0]
    return found


def current(lab: Lab) -> dict[str, str]:
    """The release that each app host serves."""
    return {host: lab.run(host, "basename $(readlink /opt/matchpoint/current)") for host in lab.hosts("app")}


def refused(lab: Lab, *arguments: str) -> str:
    """The end of the output of a `make` that must fail, with single spaces: Ansible wraps long lines."""
    with pytest.raises(AssertionError, match=r"exited \d+") as failure:
        lab.make(*arguments)
    return re.sub(r"\s+", " ", str(failure.value))


class Playbook:
    """A `make` that goes on while the block does something else, and not after it."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        self._log = lab.state / "playbook.log"
        settings = (f"LAB={lab.name}", f"TOPOLOGY={lab.topology}", "PUBLISH=0")
        with self._log.open("w") as log:
            self._make = start(
                ["make", "-C", str(ROOT), *arguments, *settings],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> "Playbook":
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.kill()

    @property
    def output(self) -> str:
        """What it has said, with single spaces."""
        return re.sub(r"\s+", " ", self._log.read_text(errors="replace"))

    @property
    def is_running(self) -> bool:
        return self._make.poll() is None

    def wait(self, timeout_s: float = 900) -> int:
        """The exit status."""
        return self._make.wait(timeout=timeout_s)

    def kill(self) -> None:
        """Kills all of its processes at a time, as a control machine that loses power."""
        end(self._make, grace_s=0)
