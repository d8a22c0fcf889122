"""Tells the program that runs a playbook what it did: how many hosts took part, what changed, and where it serves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

sys.path.append(str(Path(__file__).parents[2]))  # what lies beside the playbooks

from record import Record

DOCUMENTATION = """
name: report
type: aggregate
short_description: tell what a playbook did
description:
  - Adds a line to the file that E(MATCHPOINT_RUN) names, when it names one (ansible/operate.py reads it).
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "report"

    def __init__(self) -> None:
        super().__init__()
        self._record, self._play = Record(), None

    def v2_playbook_on_play_start(self, play) -> None:
        self._play = play

    def v2_runner_on_ok(self, result) -> None:
        task = result.task
        self._record.add(result.host.name, task.get_name(), task.action, task.args, result.result)

    def v2_runner_on_failed(self, result, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._record.failed[result.host.name] = result.task.get_name()  # the last one, which nobody rescued

    def v2_runner_on_unreachable(self, result) -> None:
        if not result.task.ignore_unreachable:
            self._record.failed[result.host.name] = result.task.get_name()

    def v2_playbook_on_stats(self, stats) -> None:
        if path := os.environ.get("MATCHPOINT_RUN"):
            told = {"hosts": len(stats.processed), "domain": self._domain(), **self._record.as_dict()}
            with Path(path).open("a") as file:
                file.write(json.dumps(told, default=str) + "\n")

    def _domain(self) -> str:
        """The name of the site, "" where a playbook is about none."""
        manager = self._play and self._play.get_variable_manager()
        host = next(iter(manager._inventory.get_hosts()), None) if manager else None
        if host is None:
            return ""
        settings = manager.get_vars(host=host, include_hostvars=False)
        return str(Templar(loader=DataLoader(), variables=settings).template(settings.get("matchpoint_domain", "")))
