#!/usr/bin/python3
"""Move a host's workers to a release, one of a kind at a time, and back when one of them does not prove itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.release_folder import fault, folders, manifest

DOCUMENTATION = """
module: app_switch
short_description: switch workers to a release
description:
  - Compares what each worker runs with (its process's own environment) to what it should run with, and restarts the
    workers that differ, one of a kind at a time. A stop is a drain; a start is good when C(/readyz) answered 200
    three times in a row and, for live workers, a match was played on it. An interrupted run is finished by the next.
  - When a worker fails, all restarted workers go back to the release and the configuration that they came from,
    C(current) stays where it is, and the module fails with the last lines of the worker's journal.
  - A host that serves nobody starts all workers at a time.
  - Workers that a host gets more (its number was raised) are C(fresh). A worker that starts is given matches at once,
    so without O(fresh) they are left for a second call, when the edges know them.
  - Without O(release) and O(undo) it changes nothing and tells the host's releases and what its workers run.
options:
  root: {description: "folder with C(releases), C(current) and C(previous)", type: path, required: true}
  release: {description: id of the release, type: str, default: ""}
  config: {description: "hash of what else asks for a restart; empty for what served last", type: str, default: ""}
  files: {description: the files that O(config) stands for, type: list, elements: path, default: []}
  undo: {description: return to what served before the last switch, type: bool, default: false}
  restore: {description: "put back the files of what serves, and restart nothing", type: bool, default: false}
  address: {description: where the workers listen, type: str, default: 127.0.0.1}
  host: {description: the host in the names of live workers, type: str, default: ""}
  workers: {description: "instances, C(<template>@<port>)", type: list, elements: str, default: []}
  fresh: {description: start also those that were none of the host's workers before, type: bool, default: true}
  play: {description: play a match on a restarted live worker, type: bool, default: false}
  ready_seconds: {description: how long a worker may take until it is ready, type: int, default: 40}
  keep: {description: releases to keep, type: int, default: 3}
"""

STAMP = "MATCHPOINT_DEPLOYED"
TOLD = ("built", "version", "commit", "changes")  # of a manifest; the first releases had no version
RELEASE_ENV = Path("/etc/matchpoint/release.env")
GLOBS = ("matchpoint-web@*.service", "matchpoint-live@*.service")
READY_IN_A_ROW = 3
READY_GAP_SECONDS = 0.6  # an answer of /readyz holds for a second: three span two of them
CRASHES_MAX = 3
MATCH_SECONDS = 60
OTHER_SWITCH_SECONDS = 300
BACK_SECONDS = 120  # for a worker on the way back: it served before, and there is nothing else to fall back to
PROBE_COMMAND = "app/*/management/commands/probe_match.py"


class NotReady(Exception):
    """A worker did not become ready; says why."""


class Switch:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.root = Path(module.params["root"])
        self.address: str = module.params["address"]
        self.workers: list[str] = module.params["workers"]
        self.files = [Path(path) for path in module.params["files"]]
        self.ready_seconds: int = module.params["ready_seconds"]
        self.journal: list[str] = []
        self.began = time.time()
        self.served: dict[str, dict[str, Any]] = self.served_read()

    # What there is

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        _, out, _ = self.module.run_command(["systemctl", *arguments], check_rc=check)
        return out.strip()

    def link(self, name: str) -> str:
        """The release that a symbolic link names, "" for none."""
        path = self.root / name
        return path.readlink().name if path.is_symlink() else ""

    def running(self) -> dict[str, str]:
        """Worker -> the stamp that its process was started with, "" for one that does not run.

        Also those that are not wanted (any more) and yet run or would at boot.
        """
        properties = "--property=Id,MainPID,ActiveState,UnitFileState"
        shown = self.systemctl("show", properties, *self.workers, *GLOBS, check=False)
        stamps = dict.fromkeys(self.workers, "")
        for block in shown.split("\n\n"):
            unit = dict(line.partition("=")[::2] for line in block.splitlines())
            worker = unit.get("Id", "").removesuffix(".service")
            is_up = unit.get("ActiveState") not in {"inactive", "failed"} or unit.get("UnitFileState") == "enabled"
            if worker in stamps or (worker and is_up):
                stamps[worker] = process_stamp(unit["MainPID"])
        return stamps

    def releases(self) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Release -> when and from what it was built, newest first; and of those that are damaged what is wrong."""
        found = folders(self.root / "releases")
        damaged = {path.name: wrong for path in found if (wrong := fault(path))}
        about = {path.name: manifest(path) for path in found if path.name not in damaged}
        told = {name: {key: each.get(key, "") for key in TOLD} for name, each in about.items()}
        return dict(sorted(told.items(), key=lambda pair: pair[1]["built"], reverse=True)), damaged

    def served_read(self) -> dict[str, dict[str, Any]]:
        """What serves (C(now)) and what served before the last switch (C(before))."""
        try:
            return json.loads((self.root / "served.json").read_text())
        except (FileNotFoundError, ValueError):  # what serves can be seen as well
            return {}

    def served_write(self, **served: dict[str, Any] | None) -> None:
        """Remember release and configuration, so that both can be put back; the configuration has secrets."""
        self.served = {name: state for name, state in served.items() if state}
        write(self.root / "served.json", json.dumps(self.served), 0o600)

    def fresh(self) -> list[str]:
        """The wanted workers that were none of the host's at the last switch, and do not run."""
        known = self.served["now"]["workers"] if "now" in self.served else self.workers
        fresh = [worker for worker in self.workers if worker not in known]
        return fresh if len(fresh) < len(self.workers) else []

    def config_served(self) -> str:
        """The hash of the configuration that serves."""
        texts = self.served["now"]["files"] if "now" in self.served else {}
        on_disk = RELEASE_ENV.read_text() if RELEASE_ENV.exists() else ""
        return environment_stamp(texts.get(str(RELEASE_ENV), on_disk)).rpartition("-")[2]

    def state(self) -> dict[str, Any]:
        """What serves at this moment, as `served_write` keeps it."""
        return {
            "release": self.link("current"),
            "previous": self.link("previous"),
            "address": self.address,
            "workers": self.workers,
            "files": {str(path): path.read_text() for path in (*self.files, RELEASE_ENV) if path.exists()},
        }

    # Changing it

    def point(self, name: str, release: str) -> None:
        draft = self.root / f".{name}"
        draft.unlink(missing_ok=True)
        if not release:
            (self.root / name).unlink(missing_ok=True)
            return
        draft.symlink_to(Path("releases", release))
        draft.replace(self.root / name)

    def write_environment(self, release: str, stamp: str) -> None:
        folder = self.root / "releases" / release
        lines = {STAMP: stamp, "PYTHONPATH": f"{folder}/lib:{folder}/app", "MATCHPOINT_STATIC_ROOT": f"{folder}/static"}
        write(RELEASE_ENV, "".join(f"{name}='{value}'\n" for name, value in lines.items()), 0o644)

    def put_files(self, state: dict[str, Any]) -> None:
        for name, text in state["files"].items():
            if not Path(name).exists() or Path(name).read_text() != text:
                write(Path(name), text, 0o600)

    def restart(self, workers: list[str]) -> None:
        """Drain workers, start them, and wait until they are ready. Raises NotReady."""
        self.began = time.time()
        self.module.run_command(["systemctl", "restart", *workers])
        for worker in workers:
            self.wait(worker, READY_IN_A_ROW)

    def wait(self, worker: str, times: int) -> None:
        """Wait until a worker said so many times in a row that it is ready. Raises NotReady."""
        limit = self.ready_seconds
        url = f"http://{self.address}:{worker.partition('@')[2]}/readyz"
        deadline = time.monotonic() + limit
        crashes = self.crashes(worker)
        in_a_row, answer = 0, "no answer"
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(url, timeout=2) as reply:
                    in_a_row = in_a_row + 1 if reply.status == 200 else 0
            except urllib.error.HTTPError as error:
                in_a_row, answer = 0, f"{error.code} {error.read(500).decode(errors='replace')}"
            except OSError as error:
                in_a_row, answer = 0, str(error)
            if in_a_row == times:
                return
            if not in_a_row and self.crashes(worker) - crashes >= CRASHES_MAX:
                raise self.not_ready(worker, f"{worker} does not stay up: it ended {CRASHES_MAX} times")
            time.sleep(READY_GAP_SECONDS if in_a_row else 0.2)
        raise self.not_ready(worker, f"{worker} is not ready after {limit} s; /readyz: {answer}")

    def crashes(self, worker: str) -> int:
        return int(self.systemctl("show", "--property=NRestarts", "--value", worker, check=False) or 0)

    def play(self, worker: str, release: str) -> None:
        """Play a match on a live worker. Raises NotReady."""
        kind, _, port = worker.removeprefix("matchpoint-").partition("@")
        folder = self.root / "releases" / release
        if kind != "live" or not any(folder.glob(PROBE_COMMAND)):  # the first releases could not yet
            return
        name = f"{self.module.params['host']}-{port}"
        code, out, errors = self.module.run_command(
            [
                "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=matchpoint", "--gid=matchpoint",
                f"--property=RuntimeMaxSec={MATCH_SECONDS}",
                "--property=EnvironmentFile=/etc/matchpoint/app.env", f"--property=EnvironmentFile={RELEASE_ENV}",
                "--setenv=PYTHONDONTWRITEBYTECODE=1",
                "python3", str(folder / "app/manage.py"), "probe_match",
                "--worker", name, "--address", f"{self.address}:{port}",
            ]
        )  # fmt: skip
        if code:
            said = (errors or out).strip().splitlines()
            why = said[-1] if said else f"exit status {code}"
            failure = self.not_ready(worker, f"{worker} is ready, but no match can be played on it: {why}")
            self.journal += said[-15:]
            raise failure

    def not_ready(self, worker: str, text: str) -> NotReady:
        """The error, and the worker's last words, before anything else is logged."""
        command = ["journalctl", "--unit", worker, "--lines", "25", "--no-pager", "--output", "cat"]
        command.append(f"--since=@{self.began:.0f}")
        _, out, _ = self.module.run_command(command)
        self.journal = out.splitlines()
        return NotReady(text)

    # The switch, and the way back

    def switch(self, release: str, stamp: str, restart: list[str], extra: list[str], *, serves: bool) -> None:
        """Move the workers; on failure put back what they came from and fail the module."""
        before = self.served.get("now") or self.state()
        current = self.link("current")
        if not self.module.params["config"]:  # what an interrupted deploy has written is not what served
            self.put_files(before)
        self.write_environment(release, stamp)
        self.point("next", release)
        self.systemctl("daemon-reload")
        touched = self.moved_before(before, stamp, restart)
        try:
            if not serves:  # nobody misses the others while one starts
                touched += restart
                self.systemctl("restart", "--no-block", *restart)
                for worker in restart:
                    self.wait(worker, 1)
            else:
                for step in steps(restart):
                    touched += step
                    self.restart(step)
                    if self.module.params["play"]:
                        for worker in step:
                            self.play(worker, release)
        except (NotReady, OSError) as error:
            self.module.fail_json(msg=f"{error}. {self.back(before, touched)}", journal=self.journal, put_back=True)
        self.systemctl("enable", "--quiet", *self.workers)
        if extra:
            self.systemctl("disable", "--now", "--quiet", *extra)
        if current != release:
            if current:
                self.point("previous", current)
            self.point("current", release)
        self.point("next", "")
        self.served_write(now=self.state(), before=before if current else None)
        self.prune()

    def moved_before(self, before: dict[str, Any], stamp: str, restart: list[str]) -> list[str]:
        """The workers that a run which was interrupted has moved already."""
        has_served = environment_stamp(before["files"].get(str(RELEASE_ENV), "")) == stamp
        return [] if has_served else [worker for worker in self.workers if worker not in restart]

    def back(self, before: dict[str, Any], touched: list[str]) -> str:
        """Return the touched workers to what served before, and say how that went."""
        self.point("next", "")
        release = before["release"]
        if not release:
            self.systemctl("stop", *touched, check=False)
            return "There was no release before it, so its workers are stopped."
        self.put_files(before)
        if f"/releases/{release}/lib" not in RELEASE_ENV.read_text():
            self.write_environment(release, f"{release}-restored")
        self.systemctl("daemon-reload")
        if fresh := [worker for worker in touched if worker not in before["workers"]]:
            self.systemctl("stop", *fresh, check=False)
        self.address = before["address"]
        self.ready_seconds = max(self.ready_seconds, BACK_SECONDS)
        journal = self.journal
        try:
            for step in steps([worker for worker in touched if worker not in fresh]):
                self.restart(step)
        except NotReady as error:
            return f"The release before it, {release}, was put back and is not ready either: {error}."
        finally:
            self.journal = journal
        return f"The release before it, {release}, serves again."

    def undo(self) -> list[str]:
        """Return to what served before the last switch; the workers that were restarted for it."""
        before = self.served["before"]
        self.put_files(before)
        self.systemctl("daemon-reload")
        self.address, self.workers = before["address"], before["workers"]
        stamp = environment_stamp(before["files"].get(str(RELEASE_ENV), ""))
        running = self.running()
        restart = [worker for worker in self.workers if running[worker] != stamp]
        try:
            for step in steps(restart):
                self.restart(step)
        except NotReady as error:
            self.module.fail_json(msg=f"{error}", journal=self.journal)
        self.systemctl("enable", "--quiet", *self.workers)
        if extra := sorted(set(running) - set(self.workers)):
            self.systemctl("disable", "--now", "--quiet", *extra)
        self.point("current", before["release"])
        self.point("previous", before["previous"])
        self.served_write(now=before)
        return restart

    def prune(self) -> None:
        kept = {self.link("current"), self.link("previous")}
        releases = sorted((self.root / "releases").iterdir(), key=lambda path: path.stat().st_ctime, reverse=True)
        spare = [path for path in releases if path.name not in kept][max(self.module.params["keep"] - len(kept), 0) :]
        for path in spare:
            shutil.rmtree(path)
        wanted = {(path / "lib").resolve() for path in (self.root / "releases").iterdir()}
        for path in (self.root / "libraries").glob("*"):
            if path.resolve() not in wanted:
                shutil.rmtree(path)


def steps(workers: list[str]) -> list[list[str]]:
    """Workers to restart at a time: never more than one of a kind."""
    kinds: dict[str, list[str]] = {}
    for worker in workers:
        kinds.setdefault(worker.partition("@")[0], []).append(worker)
    return [[worker for worker in step if worker] for step in zip_longest(*kinds.values())]


def process_stamp(pid: str) -> str:
    try:
        pairs = Path(f"/proc/{int(pid)}/environ").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return ""
    return next((pair.decode().partition("=")[2] for pair in pairs if pair.startswith(STAMP.encode() + b"=")), "")


def environment_stamp(text: str) -> str:
    """The stamp that workers get from a release.env."""
    return next((line.partition("=")[2].strip("'") for line in text.splitlines() if line.startswith(STAMP)), "")


def write(path: Path, text: str, mode: int) -> None:
    """Replace a file at once; one that exists keeps its owner and mode."""
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    old = path.stat() if path.exists() else None
    os.chown(draft, old.st_uid if old else 0, old.st_gid if old else 0)
    draft.chmod(old.st_mode & 0o7777 if old else mode)
    draft.replace(path)


@contextmanager
def alone(module: AnsibleModule) -> Iterator[None]:
    """Wait for a switch that goes on although the playbook that began it was killed."""
    lock = os.open(module.params["root"], os.O_RDONLY)
    deadline = time.monotonic() + OTHER_SWITCH_SECONDS
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    module.fail_json(msg=f"Another switch has been going on here for {OTHER_SWITCH_SECONDS} s.")
                time.sleep(0.5)
        yield
    finally:
        os.close(lock)  # Mitogen's process lives on, and would wait for itself the next time


def run(module: AnsibleModule) -> NoReturn:
    switch = Switch(module)
    release = module.params["release"]
    if module.params["undo"]:
        can = "before" in switch.served
        module.exit_json(changed=can, restarted=switch.undo() if can and not module.check_mode else [])
    if module.params["restore"]:
        can = "now" in switch.served
        if can and not module.check_mode:
            switch.put_files(switch.served["now"])
            switch.systemctl("daemon-reload")
        module.exit_json(changed=can)
    current, running = switch.link("current"), switch.running()
    result: dict[str, Any] = {
        "changed": False,
        "current": current,
        "previous": switch.link("previous"),
        "running": {worker: stamp.rpartition("-")[0] for worker, stamp in running.items()},
    }
    if not release:
        releases, damaged = switch.releases()
        module.exit_json(**result, releases=releases, damaged=damaged)
    config = module.params["config"] or switch.config_served()
    stamp = f"{release}-{config}"
    extra = sorted(set(running) - set(switch.workers))
    serves = bool(current) and any(running.values())
    fresh = switch.fresh() if serves else []
    if not module.params["fresh"]:
        switch.workers = [worker for worker in switch.workers if worker not in fresh]
    restart = [worker for worker in switch.workers if running[worker] != stamp]
    changed = bool(restart or extra or current != release)
    rolls = changed and serves and (set(restart) != set(fresh) or bool(extra) or current != release)
    wanted = f"current: {release}\nrestart: {restart}\n"
    result |= {
        "changed": changed,
        "pending": "none" if not changed else "start" if not rolls else "grow" if fresh else "roll",
        "restarted": restart,
        "stopped": extra,
        "diff": {"before": f"current: {current}\n", "after": wanted} if changed else {},
    }
    if changed and not module.check_mode:
        switch.switch(release, stamp, restart, extra, serves=serves)
    module.exit_json(**result)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "default": ""},
            "config": {"type": "str", "default": ""},
            "files": {"type": "list", "elements": "path", "default": []},
            "undo": {"type": "bool", "default": False},
            "restore": {"type": "bool", "default": False},
            "address": {"type": "str", "default": "127.0.0.1"},
            "host": {"type": "str", "default": ""},
            "workers": {"type": "list", "elements": "str", "default": []},
            "fresh": {"type": "bool", "default": True},
            "play": {"type": "bool", "default": False},
            "ready_seconds": {"type": "int", "default": 40},
            "keep": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    if module.check_mode or not any(module.params[what] for what in ("release", "undo", "restore")):
        run(module)
    with alone(module):
        run(module)


if __name__ == "__main__":
    main()
