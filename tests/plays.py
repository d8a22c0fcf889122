"""Plays of single roles and tasks on this machine, in Ansible itself."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.processes import run
from tests.rules.model import ROOT


def ansible_play(
    tmp_path: Path,
    *tasks: dict[str, Any],
    check: bool = False,
    environment: dict[str, str] | None = None,
    **variables: Any,
) -> str:
    """What Ansible says of a play of these tasks on this machine."""
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "check_mode": check,
        "tasks": tasks,
        "environment": environment or {},
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_STRATEGY": "mitogen_linear"}
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local"]
    command += [tmp_path / "play.yml", "-e", json.dumps(variables | {"ansible_python_interpreter": sys.executable})]
    done = run(command, timeout_s=110, env=os.environ | settings)
    return " ".join((done.stdout + done.stderr).split())
