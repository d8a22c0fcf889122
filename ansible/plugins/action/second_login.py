"""Log in to a host once more, over a connection of its own, in the way that the one that is open came."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Any

from ansible.plugins.action import ActionBase

SECONDS = 20
# Nothing of what is open is used, and nobody is asked
ALONE = [
    "ControlMaster=no",
    "ControlPath=none",
    "BatchMode=yes",
    "PreferredAuthentications=publickey",
    f"ConnectTimeout={SECONDS}",
]


ARGUMENTS = ("ssh_args", "ssh_common_args", "ssh_extra_args")


def login(options: dict[str, Any]) -> list[str]:
    """The command that logs in and does nothing, by the options of Ansible's connection `ssh`."""
    words = ["ssh", *(word for option in ALONE for word in ("-o", option))]
    if options.get("port"):
        words += ["-p", str(options["port"])]
    if options.get("private_key_file"):
        words += ["-i", os.path.expanduser(str(options["private_key_file"]))]
    if options.get("remote_user"):
        words += ["-l", str(options["remote_user"])]
    for name in ARGUMENTS:
        words += shlex.split(str(options.get(name) or ""))
    return [*words, "-S", "none", str(options["host"]), "true"]


class ActionModule(ActionBase):
    _supports_check_mode = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if self._connection.transport == "local":
            return result | {"skipped": True, "msg": "this host is not reached by ssh"}
        names = ("host", "port", "remote_user", "private_key_file", *ARGUMENTS)
        command = login({name: self._option(name, task_vars or {}) for name in names})
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS, check=False)
            why = done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"no answer within {2 * SECONDS} s"
        if not why and done.returncode:
            why = f"ssh ended with {done.returncode}"
        told = f"With keys alone nobody gets in to {(task_vars or {}).get('inventory_hostname')} a second time: {why}. "
        told += "Does this login have a key that works without a question?"
        return result | {"failed": bool(why), "msg": told if why else "", "changed": False}

    def _option(self, name: str, task_vars: dict[str, Any]) -> Any:
        """What the connection that is open goes by: the inventory, ansible.cfg, the environment or the command line."""
        return self._templar.template(self._connection.get_option(name, hostvars=task_vars))
