#!/usr/bin/python3
"""Write or remove the lock that says who works on a host; the action plugin of the same name decides."""

from __future__ import annotations

import fcntl
import json
import os
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
  state: {description: take the lock or give it back, choices: [present, absent], default: present}
  path: {description: the file, type: path, default: /run/matchpoint/deploy.lock}
  lock: {description: what to write, filled in by the action plugin, type: dict, default: {}}
  replaces: {description: token of the lock that may be replaced, type: str, default: ""}
  outcome:
    description: how the deploy ended that gives the lock back, empty when it was none
    choices: ["", ok, failed]
    default: ""
"""

OUTCOME = Path("/var/lib/misc/matchpoint-deploy")  # 1 or 0, for the monitoring; it outlives a reboot
WAIT_SECONDS = 10


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
            "state": {"choices": ["present", "absent"], "default": "present"},
            "path": {"type": "path", "default": "/run/matchpoint/deploy.lock"},
            "lock": {"type": "dict", "default": {}},
            "replaces": {"type": "str", "default": "", "no_log": False},
            "outcome": {"choices": ["", "ok", "failed"], "default": ""},
        }
    )
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
            path.unlink()
            if outcome := module.params["outcome"]:
                write(OUTCOME, f"{int(outcome == 'ok')}\n")
        module.exit_json(changed=False, released=is_mine)
    if there and not is_mine and there.get("token") != module.params["replaces"]:
        module.exit_json(changed=False, held=there)
    write(path, json.dumps(wanted) + "\n")
    module.exit_json(changed=False, token=wanted["token"])


def write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)


if __name__ == "__main__":
    main()
