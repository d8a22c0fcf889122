"""Gives the deploy locks back when a playbook ends before it came to that: a failure, or Ctrl-C."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: unlock
type: aggregate
short_description: give the deploy locks back when a playbook fails
description:
  - Remembers on which hosts the action C(deploy_lock) took the lock and did not give it back.
  - When the process ends with some of them left, runs C(unlock.yml) on those hosts.
"""

DEPLOYS = {"site.yml", "rollback.yml"}  # as in the action
UNLOCK = Path(__file__).parents[2] / "unlock.yml"


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "unlock"

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, str] = {}
        self._pid = os.getpid()
        atexit.register(self._give_back)

    def v2_runner_on_ok(self, result) -> None:
        if result.task.action != "deploy_lock":
            return
        host = result.host.get_name()
        if "token" in result.result:
            self._held[host] = result.result["token"]
        else:
            self._held.pop(host, None)

    def _give_back(self) -> None:
        if not self._held or os.getpid() != self._pid:  # children inherit the handler
            return
        hosts, (token, *_) = ",".join(self._held), self._held.values()
        deploys = any(Path(playbook).name in DEPLOYS for playbook in context.CLIARGS.get("args") or ())
        sources = [option for source in context.CLIARGS["inventory"] for option in ("--inventory", source)]
        done = subprocess.run(
            [
                sys.argv[0], *sources, *self._way(), "--limit", hosts, str(UNLOCK),
                "--extra-vars", f"unlock_token={token} unlock_outcome={'failed' if deploys else ''}",
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        lost = [host for host in self._held if f"[{host}]: UNREACHABLE!" in done.stdout]
        if done.returncode:
            print(f"The deploy lock stays on some of {hosts}; the next playbook from this machine takes it over.")
        elif lost:
            print(f"The deploy lock of {hosts} is released, but for {', '.join(lost)}, which cannot be reached.")
        else:
            print(f"The deploy lock of {hosts} is released.")

    @staticmethod
    def _way() -> list[str]:
        """How the playbook got to the hosts; a password that was typed is not known here."""
        options = {
            "remote_user": "--user",
            "private_key_file": "--private-key",
            "become_password_file": "--become-password-file",
        }
        return [
            part for key, option in options.items() if (value := context.CLIARGS.get(key)) for part in (option, value)
        ]
