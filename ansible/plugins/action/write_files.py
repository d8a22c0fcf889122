"""Write a role's files: this side knows which role it is, and the host's manifest says so."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        role = self._task._role
        asked = {"role": role.get_name() if role else ""} | self._task.args
        return self._execute_module(module_name="write_files", module_args=asked, task_vars=task_vars)
