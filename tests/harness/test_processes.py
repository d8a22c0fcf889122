"""A test that hangs ends, with all that it started, and says where it hung."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, poll
from tests.processes import descendants, end, run, start, started

# A program that listens to nobody. Its child has left the process group and holds the pipe, as a playbook's workers do
STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
child = os.fork()
if child:
    print(os.getpid(), child, flush=True)
else:
    os.setsid()
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_is_late_ends_with_its_children_and_its_words_are_kept() -> None:
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run([sys.executable, "-c", STUBBORN], timeout_s=2, grace_s=0.2)
    pids = [int(word) for word in late.value.__notes__[0].split() if word.isdigit()]
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]


def test_a_program_ends_with_the_block_that_started_it() -> None:
    with started([sys.executable, "-c", STUBBORN], grace_s=0.2, stdout=subprocess.PIPE) as program:
        pids = [int(word) for word in program.stdout.readline().split()]
        assert set(descendants(program.pid)) | {program.pid} == set(pids)
    assert not [pid for pid in pids if alive(pid)]


def test_a_program_that_is_asked_may_end_in_order(tmp_path: Path) -> None:
    waits = f"trap 'echo in order >{tmp_path}/end; exit' TERM; echo ready; while :; do sleep 0.1; done"
    program = start(["sh", "-c", waits], stdout=subprocess.PIPE)
    assert program.stdout.readline() == b"ready\n"
    end(program)
    assert (tmp_path / "end").read_text() == "in order\n"


HANGS = f"""
import subprocess, sys
import pytest
from tests.processes import started

@pytest.mark.timeout(3)
def test_that_hangs():
    with started([sys.executable, "-c", '''{STUBBORN}'''], grace_s=0.2, stdout=subprocess.PIPE) as program:
        print("began", program.stdout.readline().decode())
        program.communicate()

def test_after_it():
    pass
"""


def test_a_test_that_hangs_fails_by_its_name_ends_what_it_started_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    options = ["-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider"]
    done = run([sys.executable, "-m", "pytest", *options, tmp_path / "test_hangs.py"], cwd=ROOT, timeout_s=100)
    assert "Failed: Timeout (>3.0s)" in done.stdout, done.stdout
    assert re.search(r"^FAILED \S*::test_that_hangs", done.stdout, re.MULTILINE), done.stdout
    assert "1 failed, 1 passed" in done.stdout
    pids = [int(word) for word in re.findall(r"^began (\d+) (\d+)$", done.stdout, re.MULTILINE)[0]]
    poll(lambda: not [pid for pid in pids if alive(pid)], within_s=5, what="what it had started to be gone")
