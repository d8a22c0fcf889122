"""Runs programs that end when they are told to, with everything that they started.

The programs stay in the foreground of the terminal, with its prompts, colours and job control. What they leave behind
comes to this process (it is their "subreaper") and is found by descent, whichever session or group it moved to.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
SI_KERNEL = 0x80  # asm-generic/siginfo.h: from the terminal, which tells the whole foreground
GRACE_SECONDS = 3  # for a program that was told to end
# `kill` of a process group reaches this process once by itself and once through make, which passes SIGTERM on
SAME_SECONDS = 0.5
libc = ctypes.CDLL(None, use_errno=True)


class Supervisor:
    """Waits for programs, and for the signals that end them.

    The first of SIGINT, SIGTERM and SIGHUP ends the program in order, or by force after GRACE_SECONDS; a second one
    ends it at once. A signal that was ignored from the start stays so (nohup).
    """

    def __init__(self) -> None:
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self.ends = {number for number in ends if signal.getsignal(number) != signal.SIG_IGN}
        self.told = 0  # the first signal
        self.is_urgent = False  # there was a second one
        self._told_at = 0.0
        self._terminal = _terminal_state()
        signal.pthread_sigmask(signal.SIG_BLOCK, self.ends | {signal.SIGCHLD})
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a second signal ends make without passing it on

    def run(self, command: Sequence[str | Path]) -> int:
        """The exit code of a program, which has the terminal; minus the number of the signal that it died of."""
        return self._wait(subprocess.Popen(command, preexec_fn=self._prepare), math.inf, GRACE_SECONDS)

    def run_apart(
        self,
        command: Sequence[str | Path],
        *,
        output: int,
        environment: Mapping[str, str],
        seconds: float,
        hurried: float,
    ) -> int:
        """The exit code of a program that the first signal does not end; it has no input.

        Args:
            command: the program and its arguments.
            output: the descriptor that it writes to.
            environment: its environment.
            seconds: how long it may take when nobody has told this process to end.
            hurried: and otherwise, from now or from the signal on.
        """
        program = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            preexec_fn=self._prepare, start_new_session=True,
        )  # fmt: skip
        return self._wait(program, hurried if self.told else seconds, hurried)

    def _wait(self, program: subprocess.Popen, seconds: float, hurried: float) -> int:
        deadline = time.monotonic() + seconds
        while program.poll() is None:
            # Not for long: SIGCHLD of an orphan and that of the program are one when they come together
            info = signal.sigtimedwait(self.ends | {signal.SIGCHLD}, max(0, min(deadline - time.monotonic(), 0.5)))
            if info and info.si_signo in self.ends:
                if not self.told:
                    self.told, self._told_at = info.si_signo, time.monotonic()
                    deadline = min(deadline, self._told_at + hurried)
                    if info.si_code != SI_KERNEL and os.getpgid(program.pid) == os.getpgrp():
                        program.send_signal(signal.SIGINT)  # on which Ansible ends in order
                elif time.monotonic() - self._told_at > SAME_SECONDS:
                    self.is_urgent = True
            if self.is_urgent or time.monotonic() >= deadline:
                program.kill()
                program.wait()
        if self.told or program.returncode == -signal.SIGKILL:
            self._end_descendants()
        return program.returncode

    def _prepare(self) -> None:
        """In the program's process, before it is the program."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.ends | {signal.SIGCHLD})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # without its supervisor nobody would give the locks back

    def _end_descendants(self) -> None:
        deadline = time.monotonic() + 2
        while (left := _descendants()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.02)  # for them to die, and what they left to come here
        if self._terminal:  # a prompt that was killed leaves its echo off
            descriptor, state = self._terminal
            with contextlib.suppress(OSError, termios.error):
                if os.tcgetpgrp(descriptor) == os.getpgrp():
                    termios.tcsetattr(descriptor, termios.TCSANOW, state)


def _descendants() -> list[int]:
    """The processes that this one and its descendants started and that have not ended."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z" or int(parent) == os.getpid():
                children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, todo = [], [os.getpid()]
    while todo:
        more = children.get(todo.pop(), [])
        found += more
        todo += more
    return found


def _terminal_state() -> tuple[int, list] | None:
    if not sys.stdin or not sys.stdin.isatty():
        return None
    return sys.stdin.fileno(), termios.tcgetattr(sys.stdin)
