"""Gives the deploy locks back when a playbook ends before it came to that: a failure, Ctrl-C, or a signal."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import action_loader

DOCUMENTATION = """
name: unlock
type: aggregate
short_description: give the deploy locks back when a playbook fails
description:
  - Remembers on which hosts the action C(deploy_lock) took the lock and did not give it back.
  - When the process ends with some of them left, runs C(unlock.yml) on those hosts.
"""

DEPLOYS = {"site.yml", "rollback.yml"}  # as in the action
ENDS = (signal.SIGHUP, signal.SIGTERM)
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
        for number in ENDS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores the one
                signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Ends the playbook as Ctrl-C does, and a process that it forked as the signal itself does."""
        if os.getpid() != self._pid:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        for each in ENDS:  # one is enough: `uv run` passes it on to whom it has reached already
            signal.signal(each, signal.SIG_IGN)
        os.kill(self._pid, signal.SIGINT)  # Ansible's own handler tells its workers

    def v2_runner_on_start(self, host, task) -> None:
        """From here on the host may be locked, whether or not its answer arrives."""
        if task.action == "deploy_lock" and task.args.get("state") == "present":
            action = action_loader.get("deploy_lock", class_only=True)
            self._held.setdefault(host.get_name(), action.token(self._pid))

    def v2_runner_on_ok(self, result) -> None:
        if result.task.action == "deploy_lock" and "token" not in result.result:
            self._held.pop(result.host.get_name(), None)

    def v2_runner_on_skipped(self, result) -> None:
        self._has_none(result)

    def v2_runner_on_failed(self, result, ignore_errors: bool = False) -> None:
        self._has_none(result)

    def v2_runner_on_unreachable(self, result) -> None:
        self._has_none(result)

    def _has_none(self, result) -> None:
        """The lock was not taken: somebody else's, check mode, or nobody answers."""
        if result.task.action == "deploy_lock" and result.task.args.get("state") == "present":
            self._held.pop(result.host.get_name(), None)

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
