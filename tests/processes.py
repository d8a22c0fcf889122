"""Programs that tests start. Each has a deadline, and what it started itself ends with it.

``subprocess`` alone gives neither: a program that is late is killed without its children, which hold the pipes that
are then read to their end, and the ``with`` block of a ``Popen`` waits for ever. Lint refuses it in tests.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GRACE_S = 10.0  # what a program has to end in order: a playbook gives its lock back
Words = Sequence[str | Path]
Program = subprocess.Popen[Any]


def start(command: Words, **options: Any) -> Program:
    """A program in a process group of its own. Whoever starts it calls `end`; `started` does both."""
    return subprocess.Popen([str(word) for word in command], start_new_session=True, **options)


def end(process: Program, *, grace_s: float = GRACE_S) -> None:
    """Ends a program and all that it started: asks first, and kills what is left when the grace is over.

    Without grace it is as if the power had failed: nobody is asked, and nobody sees the others end.
    """
    doomed = descendants(process.pid) if process.poll() is None else {}  # who has ended has no children any more
    if grace_s and process.poll() is None:
        _group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace_s)
        doomed |= descendants(process.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        _group(process, number)
        for pid, began in doomed.items():
            if _began(pid) == began:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE_S)
    deadline = time.monotonic() + GRACE_S  # a busy machine takes its time to end what was killed
    while alive(doomed):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def descendants(pid: int) -> dict[int, int]:
    """What a process started, and what that did, the eldest first: process id -> when it began (ticks since boot).

    Ansible's workers are in no process group of their parent's; they are here.
    """
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if stat := _stat(int(entry.name)):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return {each: began for each in found[1:] if (began := _began(each))}


def alive(processes: dict[int, int]) -> list[int]:
    """Which of what `descendants` found have not ended."""
    return [pid for pid, began in processes.items() if _began(pid) == began and _stat(pid)[:1] != ["Z"]]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _began(pid: int) -> int:
    return int((_stat(pid) or [0] * 20)[19])


def _group(process: Program, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextmanager
def started(command: Words, *, grace_s: float = GRACE_S, **options: Any) -> Iterator[Program]:
    """A program that goes on while the block does something else, and not after it."""
    process = start(command, **options)
    try:
        yield process
    finally:
        end(process, grace_s=grace_s)


def output(process: Program, *, timeout_s: float, stdin: Any = None, grace_s: float = GRACE_S) -> Any:
    """What a program says on its pipes until it ends: (stdout, stderr).

    Raises subprocess.TimeoutExpired, with what it said, when it does not end in time; it is ended then.
    """
    try:
        return process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as late:
        end(process, grace_s=grace_s)
        said = b"".join(part for part in (late.output, late.stderr) if part)
        late.add_note(f"It had said: {said[-4000:].decode(errors='replace')}")
        raise


def run(
    command: Words, *, timeout_s: float = 60, stdin: Any = None, text: bool = True, check: bool = False,
    grace_s: float = GRACE_S, **options: Any,
) -> subprocess.CompletedProcess[Any]:  # fmt: skip
    """Runs a program to its end and gives what it said, as ``subprocess.run`` does.

    Raises subprocess.TimeoutExpired when it does not end in time, and with ``check`` subprocess.CalledProcessError.
    """
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    pipes = {"stdin": source, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": text}
    with started(command, grace_s=grace_s, **pipes | options) as process:
        out, err = output(process, timeout_s=timeout_s, stdin=stdin, grace_s=grace_s)
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check and done.returncode:
        error = subprocess.CalledProcessError(done.returncode, done.args, out, err)
        error.add_note(f"It said: {(out or '')[-2000:]}{(err or '')[-2000:]}")
        raise error
    return done
