"""Check mode for people: what would be done, in a few lines a host, before all the differences."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.callback.default import CallbackModule as Default

sys.path.append(str(Path(__file__).parents[2]))  # what lies beside the playbooks

from record import Record, lines

DOCUMENTATION = """
name: check
type: stdout
short_description: a summary before the differences
description:
  - Ansible's own output, but for the differences, which come at the end, behind a summary of them.
extends_documentation_fragment: [default_callback, result_format_callback]
"""


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "check"

    def __init__(self) -> None:
        super().__init__()
        self._record = Record()
        self._differences: list[str] = []

    def v2_runner_on_ok(self, result) -> None:
        task = result.task  # before what is shown is taken out of it
        self._record.add(result.host.name, task.get_name(), task.action, task.args, result.result)
        super().v2_runner_on_ok(result)

    def v2_on_file_diff(self, result) -> None:
        told = result.result
        for one in told.get("results", [told]) if result.task.loop else [told]:
            if one.get("changed") and one.get("diff") and (text := self._get_diff(one["diff"])):
                self._differences.append(f"{result.host.name}: {result.task.get_name()}\n{text}")

    def v2_playbook_on_stats(self, stats) -> None:
        super().v2_playbook_on_stats(stats)
        is_whole = not any(stats.failures.values()) and not any(stats.dark.values())
        self._display.banner(f"WHAT WOULD BE DONE{'' if is_whole else ', UP TO WHERE IT FAILED'}")
        for line in lines(self._record.hosts, would=True) or ["  Nothing."]:
            self._display.display(line)
        if self._differences:
            self._display.banner("DIFFERENCES")
        for text in self._differences:
            self._display.display(text)
