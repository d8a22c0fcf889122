"""Look at a host, and at its clock: this side knows when the question left and when the answer came."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase


def skew(there: float, asked: float, answered: float) -> float:
    """Seconds that a clock is away at least, when it showed `there` at some moment between two of this machine's."""
    return max(asked - there, there - answered, 0.0)


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        asked = time.time()
        result: dict[str, Any] = self._execute_module(module_args=self._task.args, task_vars=task_vars)
        if "time" in result:
            result["clock_skew"] = skew(result["time"], asked, time.time())
        return result
