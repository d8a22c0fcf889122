#!/usr/bin/python3
"""Let services run with what is on disk, in one exchange with the host."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: run_services
short_description: services that are enabled, started, ready, and run with what is on disk
description:
  - What C(ansible.builtin.systemd_service), handlers and a look whether they answer do one by one, host by host. A
    service that is not running is started; one that runs is started anew when files differ that it reads at its start,
    else told to reload when others do. Never both, and never a reload right after a start, whose signal would come
    before it is listened for, and end the service.
  - What a service started with and loaded is kept beside its drop-in (C(started-with), C(loaded)), as the SHA-1 of each
    file, when it is ready and not before. So the next run makes up for what a killed run had no time for.
  - All are started at a time and then waited for. One that is not ready fails the task, with the last lines of its
    journal; the others are remembered as ready.
  - A signal to reload says nothing about what comes of it. A service that says itself which configuration it runs with
    (C(ready_text), C(reports)) is ready when it says the new one, and one that refuses the new one fails the task.
  - Check mode says what would be done, be it on a host that has none of the units yet.
options:
  written:
    description:
      - files that this run has changed, or in check mode would have. They count as different whatever was remembered,
        because somebody may have started the service with what they were before.
    type: list
    elements: path
    default: []
  marks: {description: folder of the drop-ins, type: path, default: /etc/systemd/system}
  services:
    description: what is to run
    type: list
    elements: dict
    required: true
    suboptions:
      unit: {description: "name, with its suffix", type: str, required: true}
      oneshot:
        description: it does its work and ends. It runs when C(restart_for) differs, and is neither enabled nor kept.
        type: bool
        default: false
      restart_for: {description: files that it reads at its start, type: list, elements: path, default: []}
      reload_for: {description: files that it reads when told to, type: list, elements: path, default: []}
      ready_url: {description: what answers with 2xx when it is ready, type: str}
      ready_text:
        description: what stands there when it runs with what is on disk; when something else does, it is told to reload
        type: str
      reports:
        description:
          - prefix of the metrics, on the server of C(ready_url), that say whether the last reload was taken, and when
            one was, C(<prefix>_config_last_reload_successful) and
            C(<prefix>_config_last_reload_success_timestamp_seconds). A service that says no is told to reload.
        type: str
      log: {description: "file that has its last words, beside the journal", type: path}
      ready_ports:
        description: what can be connected to when it is ready
        type: list
        elements: dict
        default: []
        suboptions:
          host: {description: address, type: str, required: true}
          port: {description: TCP port, type: int, required: true}
      ready_seconds: {description: how long that may take, type: int, default: 30}
"""

RETURN = """
enabled: {description: units that did not start at boot, type: list, returned: always}
started: {description: units that did not run, type: list, returned: always}
restarted: {description: units that ran with other files, type: list, returned: always}
reloaded: {description: units that had loaded other files, type: list, returned: always}
"""

OPTIONS = {
    "unit": {"required": True},
    "oneshot": {"type": "bool", "default": False},
    "restart_for": {"type": "list", "elements": "path", "default": []},
    "reload_for": {"type": "list", "elements": "path", "default": []},
    "ready_url": {},
    "ready_text": {},
    "reports": {},
    "log": {"type": "path"},
    "ready_ports": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"host": {"required": True}, "port": {"type": "int", "required": True}},
    },
    "ready_seconds": {"type": "int", "default": 30},
}
# Each as systemd calls it, by what it is called when done
VERBS = {"started": "start", "restarted": "restart", "reloaded": "reload"}
RUNNING = ("active", "activating", "reloading", "refreshing")
AT_BOOT = ("enabled", "static", "alias", "indirect", "generated")
CONNECT_SECONDS = 5
ANSWER_SECONDS = 30  # exporters take their time when what they watch does not answer
POLL_SECONDS = 0.1
JOURNAL_LINES = 20
LOG_BYTES = 8192


class Mark:
    """What a service last read of some files, and what it would read of them now."""

    def __init__(self, path: Path, files: list[str], written: list[str]) -> None:
        self._path = path
        self._content = " ".join(checksum(Path(file)) for file in files)
        self._is_other = bool(files) and (not path.is_file() or path.read_text() != self._content)
        self.differs = self._is_other or not set(files).isdisjoint(written)

    def write(self) -> None:
        if not self._is_other:
            return
        if not self._path.parent.is_dir():
            self._path.parent.mkdir()
            self._path.parent.chmod(0o755)
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.write_text(self._content)
        draft.chmod(0o644)
        draft.replace(self._path)


def checksum(path: Path) -> str:
    """SHA-1 of a file's content; nothing when there is none."""
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else ""


class Report(NamedTuple):
    """What a service says of reloads: whether the last one was taken, and when one was (s since 1970)."""

    is_taken: bool
    at: float


class Service:
    """One of those that are to run."""

    def __init__(self, wanted: dict[str, Any], marks: Path, written: list[str]) -> None:
        self.unit = wanted["unit"]
        self.is_oneshot = wanted["oneshot"]
        self.ready_seconds = wanted["ready_seconds"]
        self.fault = ""
        self.log = Path(wanted["log"]) if wanted["log"] else None
        self._url, self._text, self._ports = wanted["ready_url"], wanted["ready_text"], wanted["ready_ports"]
        self._reports = wanted["reports"]
        self._before: Report | None = None  # what it said before it was told to reload
        folder = marks / f"{self.unit}.d"
        self._started_with = Mark(folder / "started-with", wanted["restart_for"], written)
        self._loaded = Mark(folder / "loaded", wanted["reload_for"], written)

    def due(self, state: dict[str, str]) -> str:
        """What has to be done, as it is called when done; empty when nothing has."""
        if self.is_oneshot:
            return "started" if self._started_with.differs else ""
        if state["ActiveState"] not in RUNNING:
            return "started"
        if self._started_with.differs:
            return "restarted"
        is_other = self._loaded.differs or (self._text is not None and not self.is_ready())
        if self._reports:
            self._before = self._report()
            is_other = is_other or (self._before is not None and not self._before.is_taken)
        return "reloaded" if is_other else ""

    def is_ready(self) -> bool:
        if self._url and not answers(self._url, self._text):
            return False
        if self._before:
            after = self._report()
            if not after or after.at <= self._before.at:
                if after and self._before.is_taken and not after.is_taken:
                    self.fault = "refused what it was to load, and runs with what it had"
                return False
        return all(listens(one["host"], one["port"]) for one in self._ports)

    def _report(self) -> Report | None:
        page = fetch(urlunsplit(urlsplit(self._url)._replace(path="/metrics"))) or ""
        found = dict(re.findall(rf"^{self._reports}_config_last_reload_(\w+) (\S+)$", page, re.MULTILINE))
        if not {"successful", "success_timestamp_seconds"} <= found.keys():
            return None
        return Report(float(found["successful"]) == 1, float(found["success_timestamp_seconds"]))

    def remember(self) -> None:
        self._started_with.write()
        self._loaded.write()


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def answers(url: str, text: str | None) -> bool:
    """Whether it does, and with this text if there is one."""
    body = fetch(url)
    return body is not None and (text is None or body.strip() == text)


def fetch(url: str) -> str | None:
    """What is answered; None when nothing is, or not with 2xx."""
    # Takes as long to import as all else, and hosts where nothing is to be done rarely need it
    from http.client import HTTPConnection, HTTPException

    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return body if 200 <= response.status < 300 else None


def show(module: AnsibleModule, services: list[Service]) -> list[dict[str, str]]:
    """What systemd knows of each."""
    properties = "--property=ActiveState,UnitFileState,NeedDaemonReload"
    _, out, _ = module.run_command(["systemctl", "show", properties, *(one.unit for one in services)], check_rc=True)
    return [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]


def do(due: list[tuple[Service, str]]) -> None:
    """All at a time, each until systemd calls it done. Who refuses has a fault."""
    orders = [
        subprocess.Popen(
            ["systemctl", VERBS[what], service.unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for service, what in due
    ]
    for (service, what), order in zip(due, orders, strict=True):
        out, _ = order.communicate()
        if order.returncode:
            service.fault = f"could not be {what}: {out.strip()}"


def wait(services: list[Service]) -> None:
    """Until each is ready. Who is not in time has a fault."""
    begun = time.monotonic()
    while waiting := [one for one in services if not one.fault and not one.is_ready()]:
        for one in waiting:
            if not one.fault and time.monotonic() - begun >= one.ready_seconds:
                one.fault = f"is not ready after {one.ready_seconds} s"
        services = [one for one in waiting if not one.fault]
        if services:
            time.sleep(POLL_SECONDS)


def last_words(module: AnsibleModule, service: Service) -> str:
    command = ["journalctl", f"--unit={service.unit}", f"--lines={JOURNAL_LINES}", "--no-pager"]
    status, out, err = module.run_command(command)
    words = err if status else out
    if service.log and service.log.is_file():
        with service.log.open("rb") as file:
            file.seek(max(0, service.log.stat().st_size - LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        words += "\n".join([f"{service.log}:", *lines[-JOURNAL_LINES:]])
    return words


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "written": {"type": "list", "elements": "path", "default": []},
            "marks": {"type": "path", "default": "/etc/systemd/system"},
            "services": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    marks, written = Path(module.params["marks"]), module.params["written"]
    services = [Service(one, marks, written) for one in module.params["services"]]
    if not services:
        module.exit_json(changed=False, enabled=[], **{what: [] for what in VERBS})

    states = show(module, services)
    found = list(zip(services, states, strict=True))
    enabled = [one.unit for one, state in found if not one.is_oneshot and state["UnitFileState"] not in AT_BOOT]
    due = [(one, what) for one, state in found if (what := one.due(state))]
    if not module.check_mode:
        # Of a run that was killed right after writing
        if any(state["NeedDaemonReload"] == "yes" for state in states):
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        if enabled:
            module.run_command(["systemctl", "enable", *enabled], check_rc=True)
        do(due)
        wait([one for one, _ in due])
        for one, _ in due:
            if not one.fault:
                one.remember()

    done = {what: [one.unit for one, its in due if its == what] for what in VERBS}
    if wrong := [one for one, _ in due if one.fault]:
        module.fail_json(msg="\n".join(f"{one.unit} {one.fault}\n{last_words(module, one)}" for one in wrong), **done)
    module.exit_json(changed=bool(enabled or due), enabled=enabled, **done)


if __name__ == "__main__":
    main()
