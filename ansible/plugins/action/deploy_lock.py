"""Take or give back the deploy lock of a host: this side knows who asks, and whether the holder still lives."""

from __future__ import annotations

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

DEPLOYS = {"site.yml", "rollback.yml"}  # playbooks whose end the monitoring is told
PATIENCE_SECONDS = 30  # for what a killed playbook left at work on a host
BOOT = Path("/proc/sys/kernel/random/boot_id")


def stat(pid: int) -> list[str]:
    """What proc(5) says of a process after its name: state, parent, ... Raises OSError when there is none."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def process(pid: int) -> dict[str, Any]:
    """What tells a process from every other one: the machine's boot, the PID namespace, the PID and when it began."""
    return {
        "boot": BOOT.read_text().strip(),
        "namespace": os.stat("/proc/self/ns/pid").st_ino,
        "pid": pid,
        "began": int(stat(pid)[19]),
    }


def is_gone(holder: dict[str, Any]) -> bool:
    """True only when the holder was a process of this machine that has ended."""
    here = process(os.getpid())
    if any(holder.get(key) != here[key] for key in ("boot", "namespace")):
        return False
    try:
        state, began = (stat(holder["pid"])[field] for field in (0, 19))
        return state in "ZX" or int(began) != holder["began"]  # a zombie has ended, and nobody has asked how
    except (OSError, KeyError, IndexError):
        return True


def is_deploy() -> bool:
    return any(Path(playbook).name in DEPLOYS for playbook in context.CLIARGS.get("args") or ())


def report(**told: Any) -> None:
    """Tells the program that runs the playbook (ansible/operate.py) whose locks are held."""
    if path := os.environ.get("MATCHPOINT_RUN"):
        with Path(path).open("a") as file:
            file.write(json.dumps(told) + "\n")


def sentence(lock: dict[str, Any]) -> str:
    since, pid = lock.get("since", "?"), lock.get("process", {}).get("pid", "?")
    return f"{lock.get('who')} since {since} (process {pid}): {lock.get('why', '?')}"


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        state = self._task.args.get("state", "present")
        is_dry = self._task.check_mode or bool(self._task.args.get("look"))
        if state == "look" or (state == "present" and is_dry):
            return self._call(task_vars, state="look")
        if self._task.check_mode:
            return {"skipped": True, "msg": "check mode takes no lock"}
        # The program that supervises the playbook, or the playbook; Ansible runs each task in a child process
        holder = process(int(os.environ.get("MATCHPOINT_SUPERVISOR") or os.getppid()))
        lock = {
            "token": self._task.args.get("token") or "-".join(map(str, holder.values())),
            "who": f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}",
            "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "why": os.environ.get("MATCHPOINT_REASON") or "ansible-playbook",
            "process": holder,
        }
        host = task_vars["inventory_hostname"] if task_vars else "the host"
        note = self._task.args.get("note") or {}
        if state == "note":
            version = self._task.args.get("version") or {}
            return self._call(task_vars, state=state, lock=lock, note=note, version=version)
        if state == "absent":
            outcome = self._task.args.get("outcome") or ("ok" if is_deploy() else "")
            patience = self._task.args.get("patience")
            result = self._call(task_vars, state=state, lock=lock, outcome=outcome, patience=patience, note=note)
            if result.get("failed"):
                report(host=host, held=True, token=lock["token"], why=result.get("msg", ""))
            else:
                report(host=host, held=False)
            return result
        report(host=host, held=True, token=lock["token"])  # whether or not the answer arrives
        try:
            return self._take(host, lock, task_vars)
        except Exception:  # somebody else's, or nobody answers
            report(host=host, held=False)
            raise

    def _take(self, host: str, lock: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result = self._call(task_vars, state="present", lock=lock)
        if (held := result.get("held")) is None:
            return result
        patience = None
        if is_gone(held.get("process", {})):
            patience = PATIENCE_SECONDS
            self._display.display(f"{host}: taking the lock over from a playbook that was killed: {sentence(held)}")
        elif os.environ.get("MATCHPOINT_UNLOCK") == "1":
            self._display.display(f"{host}: taking the lock, as UNLOCK=1 says, from {sentence(held)}")
        else:
            raise AnsibleActionFail(
                f"{host} is locked by {sentence(held)}. Nothing was changed. Wait until that is done; "
                "if it is not going on any more, say UNLOCK=1, e.g. `make deploy UNLOCK=1`."
            )
        result = self._call(task_vars, state="present", lock=lock, replaces=held["token"], patience=patience)
        if result.get("failed"):
            raise AnsibleActionFail(
                f"{host} is locked by a playbook that was killed ({sentence(held)}), and {result['msg']}. Nothing was "
                "changed. Wait until that is done; UNLOCK=1 does not wait."
            )
        if "held" in result:
            raise AnsibleActionFail(f"{host} was locked in the same moment by {sentence(result['held'])}.")
        return result

    def _call(self, task_vars: dict[str, Any] | None, **arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="deploy_lock", module_args=arguments, task_vars=task_vars
        )
        return result
