#!/usr/bin/python3
"""Write or remove the lock that says who works on a host; the action plugin of the same name decides."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: deploy_lock
short_description: the deploy lock of a host
description:
  - A file on the host says who works on it, since when and why, so that no two playbooks change a site at a time.
  - It stays when its playbook is killed. The next one from the same control machine sees that the process is gone and
    takes the lock over; anybody else is told whose it is.
  - The lock is no state of the service, so the module never reports a change; in check mode it does nothing.
options:
  state:
    description: take the lock, give it back, C(note) something while it is held, or only C(look) at what was noted
    choices: [present, absent, note, look]
    default: present
  path: {description: the file, type: path, default: /run/matchpoint/deploy.lock}
  lock: {description: what to write, filled in by the action plugin, type: dict, default: {}}
  replaces: {description: token of the lock that may be replaced, type: str, default: ""}
  patience:
    description:
      - Seconds to wait for what a playbook that was killed has left at work on the host. When it is still at work then,
        the lock is neither replaced nor given back. Without a number nothing is looked for.
    type: int
  outcome:
    description: how the deploy ended that gives the lock back, empty when it was none
    choices: ["", ok, failed]
    default: ""
  note:
    description:
      - who has deployed which secrets (digests of them), to be kept on the host. What was noted before is returned as
        C(secrets), an empty dict on a bare host.
    type: dict
    default: {}
  version:
    description:
      - the version that the host gets, to be kept as well. What was noted before is returned as C(version), the first
        one where none was noted though the site was there, an empty dict on a bare host.
    type: dict
    default: {}
"""

OUTCOME = Path("/var/lib/misc/matchpoint-deploy")  # 1 or 0, for the monitoring; it outlives a reboot
NOTE = Path("/var/lib/misc/matchpoint-secrets")
VERSION = Path("/var/lib/misc/matchpoint-version")
FIRST_VERSION = "0.1.0"  # which noted none
# What an earlier version, which noted nothing, has left where it deployed secrets
TRACES = [Path("/etc/matchpoint/app.env"), Path("/etc/postgresql/17/main/conf.d/20-matchpoint.conf")]
WAIT_SECONDS = 10
# How Ansible's and Mitogen's command lines of sudo begin
BEGUN = re.compile(rb"SUDO_COMMAND=(/\S*sh -c echo BECOME-SUCCESS-|\S*python\S* -c import sys;sys\.path=)")


def read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"who": "somebody", "token": "unreadable"}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent", "note", "look"], "default": "present"},
            "path": {"type": "path", "default": "/run/matchpoint/deploy.lock"},
            "lock": {"type": "dict", "default": {}},
            "replaces": {"type": "str", "default": "", "no_log": False},
            "patience": {"type": "int"},
            "outcome": {"choices": ["", "ok", "failed"], "default": ""},
            "note": {"type": "dict", "default": {}},
            "version": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    if module.params["state"] == "look":
        module.exit_json(changed=False, secrets=noted(), version=version())
    path = Path(module.params["path"])
    path.parent.mkdir(mode=0o755, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        wait(module, folder)  # two may come for the same stale lock
        work(module, path, module.params["lock"])
    finally:
        os.close(folder)  # Mitogen's process lives on, and would wait for itself the next time


def wait(module: AnsibleModule, folder: int) -> None:
    """Wait for whoever reads or writes the lock at this moment."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                module.fail_json(msg=f"Something has kept {module.params['path']} busy for {WAIT_SECONDS} s.")
            time.sleep(0.05)


def work(module: AnsibleModule, path: Path, wanted: dict) -> None:
    there = read(path)
    is_mine = there.get("token") == wanted["token"]
    if module.params["state"] == "absent":
        if is_mine:
            wait_alone(module)
            path.unlink()
            note(module.params["note"])
            if outcome := module.params["outcome"]:
                write(OUTCOME, f"{int(outcome == 'ok')}\n")
        module.exit_json(changed=False, released=is_mine)
    if there and not is_mine and there.get("token") != module.params["replaces"]:
        module.exit_json(changed=False, held=there)
    if there and not is_mine:
        wait_alone(module)
    write(path, json.dumps(wanted) + "\n")
    noted_before = {"secrets": noted(), "version": version()}
    if module.params["version"]:
        write(VERSION, json.dumps(module.params["version"]) + "\n")
    note(module.params["note"])
    module.exit_json(changed=False, token=wanted["token"], **noted_before)


def wait_alone(module: AnsibleModule) -> None:
    """Wait until no other playbook has anything at work here; fail when that takes too long."""
    if (patience := module.params["patience"]) is None:
        return
    deadline = time.monotonic() + patience
    while left := at_work():
        if time.monotonic() > deadline:
            module.fail_json(msg=f"what was begun there is still at work: {', '.join(left)}")
        time.sleep(0.2)  # until the deadline: nothing tells when a foreign process ends


def at_work() -> list[str]:
    """The programs on this host that playbooks began, but for this one's own, each with its process ID.

    They are known by what sudo and sshd say in the environment, which is inherited; what systemd starts has it not.
    """
    parents, names, begun = {}, {}, set()
    here = os.readlink("/proc/self/ns/pid")  # what runs in a container is at work on that
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            environment = (folder / "environ").read_bytes().split(b"\0")
            if os.readlink(folder / "ns/pid") != here:
                continue
        except OSError:  # it has ended
            continue
        pid = int(folder.name)
        names[pid] = stat[stat.index("(") + 1 : stat.rindex(")")]
        parents[pid] = int(stat.rpartition(")")[2].split()[1])
        if any(map(BEGUN.match, environment)) or (
            client  # a playbook that needs no sudo
            and any(each.startswith(f"SSH_CONNECTION={client} ".encode()) for each in environment)
            and not any(each.startswith(b"SSH_TTY=") for each in environment)
        ):
            begun.add(pid)
    mine = os.getpid()  # up to what sshd started for this connection, or for this one of those that share it
    while parents.get(mine, 1) > 1 and not names.get(parents[mine], "sshd").startswith("sshd"):
        mine = parents[mine]

    def is_mine(pid: int) -> bool:
        while pid > 1:
            if pid == mine:
                return True
            pid = parents.get(pid, 0)
        return False

    return [f"{names[pid]} (process {pid})" for pid in sorted(begun) if not is_mine(pid)]


def noted() -> dict:
    if NOTE.exists():
        return {"who": "somebody", "when": "?"} | read(NOTE)
    return {"traces": True} if any(path.exists() for path in TRACES) else {}


def version() -> dict:
    there = read(VERSION)
    if "version" in there:
        return there
    return {"version": FIRST_VERSION} if NOTE.exists() or noted() else {}


def note(text: dict) -> None:
    if text:
        write(NOTE, json.dumps(text) + "\n", 0o600)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
