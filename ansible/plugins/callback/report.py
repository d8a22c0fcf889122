"""Tells the program that runs a playbook how many hosts took part in it: to Ansible none is as good as any."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: report
type: aggregate
short_description: tell how many hosts took part
description:
  - Adds a line to the file that E(MATCHPOINT_RUN) names, when it names one (ansible/operate.py reads it).
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "report"

    def v2_playbook_on_stats(self, stats) -> None:
        if path := os.environ.get("MATCHPOINT_RUN"):
            with Path(path).open("a") as file:
                file.write(json.dumps({"hosts": len(stats.processed)}) + "\n")
