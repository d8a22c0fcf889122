"""Lanes say what happened in them, end what they started, and leave nothing behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import lanes
from tests.conftest import ROOT, poll
from tests.harness.test_processes import alive
from tests.processes import Program, output, started

# Each starts a pytest or two, on a machine that may be busy with labs
pytestmark = pytest.mark.timeout(300)

RUNNER = """
import sys
from pathlib import Path
from tests import lanes
folder = Path(sys.argv.pop(1))
lanes.LOGS, lanes.CLEAN_UP_S = folder / "logs", 10
lanes.LANES = {path.stem: [str(path)] for path in folder.glob("*.py")}
lanes.places = lambda: {str(path) for path in (folder / "outside").glob("*")}
sys.exit(lanes.main())
"""
GOOD = """
import pytest
def test_good(record_property):
    record_property("skipped inside", "a part of it")
@pytest.mark.skip(reason="not here")
def test_skipped(): pass
"""
BAD = """
import subprocess, pathlib
def test_bad():
    subprocess.Popen(["setsid", "sleep", "599"])
    (pathlib.Path(__file__).parent / "outside/file").touch()
    assert "this" == "that"
def test_next(): pass
"""
HANGS = """
import subprocess, sys
from tests.processes import started
def test_that_takes_long():
    with started(["sleep", "598"]) as program:
        print(program.pid, flush=True)
        subprocess.Popen(["setsid", "sleep", "597"])
        program.wait()
"""


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Program]:
    (folder / "outside").mkdir()
    words = ["-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider"]
    command = [sys.executable, "-c", RUNNER, folder, *arguments, "--", *words]
    environment = os.environ | {"MATCHPOINT_TEST_LAB": "no-lab-has-this-name", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with started(command, cwd=ROOT, env=environment, **pipes) as program:
        yield program


def processes(command: str) -> list[int]:
    """Those that run with this command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_text().replace("\0", " ").strip() == command and alive(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_failures_skips_and_what_was_left_are_told_and_the_last_line_counts(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    with running(tmp_path, "--limit", "0.001") as program:
        said, _ = output(program, timeout_s=250)
    lines = said.splitlines()
    assert program.returncode == 1
    assert any(re.fullmatch(r"FAILED  bad: \S*test_bad \(call\)", line) for line in lines), said
    assert "assert 'this' == 'that'" in said
    assert "test_bad (call): AssertionError: assert 'this' == 'that'" in " ".join(lines[-4:])
    assert any(re.fullmatch(r"SKIPPED \S*test_skipped: not here", line) for line in lines), said
    assert any(re.fullmatch(r"SKIPPED \S*test_good: a part of it", line) for line in lines), said
    assert "FAILED  left behind: the process sleep 599" in lines
    assert f"FAILED  left behind: the file {tmp_path}/outside/file" in lines
    assert re.search(r"^Lanes: (bad|good) \d+ s .*, (bad|good) \d+ s .*; together \d+ s, ", said, re.MULTILINE)
    assert re.search(r"^FAILED  all together took \d+ s", said, re.MULTILINE)
    assert lines[-1] == "2 passed, 4 failed, 1 skipped"
    assert not processes("sleep 599")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_who_ends_the_lanes_ends_all_that_they_started(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    with running(tmp_path) as program:
        poll(lambda: processes("sleep 597"), within_s=60, what="the test to begin")
        program.send_signal(number)
        said, _ = output(program, timeout_s=250)
    assert program.returncode == 130
    assert said.splitlines()[-1].endswith("skipped")
    assert not processes("sleep 598")
    assert not processes("sleep 597")


def test_a_lane_that_does_not_even_begin_has_failed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    with running(tmp_path) as program:
        said, _ = output(program, timeout_s=250)
    assert program.returncode == 1
    assert "No module named 'nothing_of_this_name'" in said
    assert said.splitlines()[-1].startswith("0 passed, 1 failed")


def test_every_test_is_in_one_lane() -> None:
    named = [ROOT / path for paths in lanes.LANES.values() for path in paths]
    parts = ("bench", "cluster", "compose", "drills", "infra", "newcomer", "uninstall", "upgrade")  # by their targets
    elsewhere = {ROOT / "tests" / part for part in parts}
    for path in (ROOT / "tests").rglob("test_*.py"):
        lane = [each for each in named if each in (path, *path.parents)]
        assert len(lane) == (path.name == "test_swarm.py" or not elsewhere & set(path.parents)), path
