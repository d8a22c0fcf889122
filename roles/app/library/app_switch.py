#!/usr/bin/python3
"""Move a host's workers to a release, one by one behind their readiness, and back when one does not become ready."""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: app_switch
short_description: switch workers to a release
description:
  - Compares what each worker runs with (its process's own environment) to what it should run with, and restarts the
    workers that differ, one at a time, each until it answers C(/readyz) with 200. An interrupted run is therefore
    finished by the next.
  - When a worker does not become ready, all restarted workers go back to the release that they came from, C(current)
    stays where it is, and the module fails with the last lines of the worker's journal.
options:
  root: {description: "folder with C(releases), C(current) and C(previous)", type: path, required: true}
  release: {description: id of the release, type: str, required: true}
  config: {description: hash of everything else that asks for a restart, type: str, required: true}
  address: {description: where the workers listen, type: str, required: true}
  workers: {description: "instances, C(<template>@<port>)", type: list, elements: str, required: true}
  ready_seconds: {description: how long a worker may take until it is ready, type: int, default: 40}
  keep: {description: releases to keep, type: int, default: 3}
"""

STAMP = "MATCHPOINT_DEPLOYED"
RELEASE_ENV = Path("/etc/matchpoint/release.env")


class NotReady(Exception):
    """A worker did not become ready; says why."""


class Switch:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.root = Path(module.params["root"])
        self.release = module.params["release"]
        self.stamp = f"{self.release}-{module.params['config']}"

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        _, out, _ = self.module.run_command(["systemctl", *arguments], check_rc=check)
        return out.strip()

    def link(self, name: str) -> str:
        """The release that a symbolic link names, "" for none."""
        path = self.root / name
        return path.readlink().name if path.is_symlink() else ""

    def point(self, name: str, release: str) -> None:
        draft = self.root / f".{name}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(Path("releases", release))
        draft.replace(self.root / name)

    def running(self, worker: str) -> str:
        """The stamp that the worker's process was started with, "" when it does not run."""
        pid = self.systemctl("show", "--property=MainPID", "--value", worker, check=False)
        try:
            pairs = Path(f"/proc/{int(pid or 0)}/environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return ""
        return next((pair.decode().partition("=")[2] for pair in pairs if pair.startswith(STAMP.encode() + b"=")), "")

    def extra(self) -> list[str]:
        """Enabled or running workers that are no longer wanted."""
        out = self.systemctl("list-units", "--all", "--plain", "--no-legend", "matchpoint-web@*", "matchpoint-live@*")
        known = {line.split()[0].removesuffix(".service") for line in out.splitlines() if line.strip()}
        return sorted(known - set(self.module.params["workers"]))

    def write_environment(self, release: str, stamp: str) -> None:
        folder = self.root / "releases" / release
        lines = {STAMP: stamp, "PYTHONPATH": f"{folder}/lib:{folder}/app", "MATCHPOINT_STATIC_ROOT": f"{folder}/static"}
        draft = RELEASE_ENV.with_suffix(".draft")
        draft.write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
        draft.chmod(0o644)
        draft.replace(RELEASE_ENV)

    def restart(self, worker: str) -> None:
        """Restart a worker and wait until it is ready. Raises NotReady."""
        self.module.run_command(["systemctl", "restart", worker])
        self.wait(worker)

    def wait(self, worker: str) -> None:
        """Wait until a worker is ready. Raises NotReady."""
        url = f"http://{self.module.params['address']}:{worker.partition('@')[2]}/readyz"
        deadline = time.monotonic() + self.module.params["ready_seconds"]
        answer = "no answer"
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url, timeout=2) as reply:
                    if reply.status == 200:
                        return
            except urllib.error.HTTPError as error:
                answer = f"{error.code} {error.read(500).decode(errors='replace')}"
            except OSError as error:
                answer = str(error)
            time.sleep(0.2)
        raise NotReady(f"{worker} is not ready after {self.module.params['ready_seconds']} s; /readyz: {answer}")

    def journal(self, worker: str) -> list[str]:
        command = ["journalctl", "--unit", worker, "--lines", "25", "--no-pager", "--output", "cat"]
        _, out, _ = self.module.run_command(command)
        return out.splitlines()

    def roll(self, workers: list[str]) -> None:
        """Restart the workers one by one; on failure put back what they came from and fail the module."""
        before = RELEASE_ENV.read_text() if RELEASE_ENV.exists() else ""
        self.write_environment(self.release, self.stamp)
        self.point("next", self.release)
        self.systemctl("daemon-reload")
        is_first = not self.link("current")
        if is_first:  # nobody is served yet, so nobody misses the others while one starts
            self.module.run_command(["systemctl", "restart", "--no-block", *workers])
        for index, worker in enumerate(workers):
            try:
                self.wait(worker) if is_first else self.restart(worker)
            except NotReady as error:
                journal = self.journal(worker)
                kept = self.back(before, workers if is_first else workers[: index + 1])
                self.module.fail_json(msg=f"{error}. {kept}", journal=journal)
        self.systemctl("enable", "--quiet", *workers)

    def back(self, before: str, touched: list[str]) -> str:
        """Return the touched workers to the release before, and say how that went."""
        current = self.link("current")
        (self.root / "next").unlink(missing_ok=True)
        if not current:
            self.systemctl("stop", *touched, check=False)
            return "There was no release before it, so its workers are stopped."
        if f"/releases/{current}/lib" in before:
            RELEASE_ENV.write_text(before)
        else:  # an interrupted switch left it pointing to a release that never became current
            self.write_environment(current, f"{current}-restored")
        try:
            for worker in touched:
                self.restart(worker)
        except NotReady as error:
            return f"The release before it, {current}, was put back and is not ready either: {error}."
        return f"The release before it, {current}, serves again."

    def prune(self) -> None:
        kept = {self.link("current"), self.link("previous")}
        releases = sorted((self.root / "releases").iterdir(), key=lambda path: path.stat().st_ctime, reverse=True)
        spare = [path for path in releases if path.name not in kept][max(self.module.params["keep"] - len(kept), 0) :]
        for path in spare:
            shutil.rmtree(path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "config": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "str", "required": True},
            "ready_seconds": {"type": "int", "default": 40},
            "keep": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    switch = Switch(module)
    current = switch.link("current")
    restart = [worker for worker in module.params["workers"] if switch.running(worker) != switch.stamp]
    extra = switch.extra()
    changed = bool(restart or extra or current != switch.release)
    wanted = f"current: {switch.release}\nrestart: {restart}\n"
    result = {
        "changed": changed,
        "restarted": restart,
        "stopped": extra,
        "diff": {"before": f"current: {current}\n", "after": wanted} if changed else {},
    }
    if not changed or module.check_mode:
        module.exit_json(**result)
    if restart:
        switch.roll(restart)
    if extra:
        switch.systemctl("disable", "--now", "--quiet", *extra)
    if current != switch.release:
        if current:
            switch.point("previous", current)
        switch.point("current", switch.release)
    (switch.root / "next").unlink(missing_ok=True)
    switch.prune()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
