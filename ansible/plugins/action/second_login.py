"""Log in to a host once more, beside the connection that is open: over one of its own, as the inventory says."""

from __future__ import annotations

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


def login(variables: dict[str, Any]) -> list[str]:
    """The command that logs in and does nothing."""
    words = ["ssh", *(word for option in ALONE for word in ("-o", option))]
    if variables.get("ansible_port"):
        words += ["-p", str(variables["ansible_port"])]
    if variables.get("ansible_ssh_private_key_file"):
        words += ["-i", str(variables["ansible_ssh_private_key_file"])]
    if variables.get("ansible_user"):
        words += ["-l", str(variables["ansible_user"])]
    for name in ("ansible_ssh_common_args", "ansible_ssh_extra_args"):
        words += shlex.split(str(variables.get(name) or ""))
    return [*words, str(variables.get("ansible_host") or variables["inventory_hostname"]), "true"]


class ActionModule(ActionBase):
    _supports_check_mode = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self._templar.template({name: value for name, value in (task_vars or {}).items() if name in NAMES})
        try:
            done = subprocess.run(login(variables), capture_output=True, text=True, timeout=2 * SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return result | {"failed": True, "msg": f"no answer within {2 * SECONDS} s"}
        return result | {
            "failed": done.returncode != 0,
            "msg": done.stderr.strip().rpartition("\n")[2],
            "changed": False,
        }


NAMES = frozenset({
    "inventory_hostname", "ansible_host", "ansible_port", "ansible_user", "ansible_ssh_private_key_file",
    "ansible_ssh_common_args", "ansible_ssh_extra_args",
})  # fmt: skip
