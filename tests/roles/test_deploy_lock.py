"""The lock on a host: what a killed playbook has left at work keeps it from being given back or taken over."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Program, run, started
from tests.rules.model import ROOT

MODULE = ROOT / "ansible/plugins/modules/deploy_lock.py"
MINE = {"token": "mine", "who": "ada@laptop"}
# What sudo says of the shell of Ansible's own strategies, and of Mitogen's Python
BEGUN = {
    "ansible": "/bin/sh -c echo BECOME-SUCCESS-olmpcpishtrq ; /usr/bin/python3",
    "mitogen": "/usr/bin/python3 -c import sys;sys.path=[p for p in sys.path if p];import binascii",
}


def lock(path: Path, **arguments: Any) -> dict[str, Any]:
    """What the module answers; sshd and sudo started it as they start every module."""
    said = {"ANSIBLE_MODULE_ARGS": {"path": str(path), "lock": MINE, **arguments}}
    sshd = path.with_name("sshd-session")
    sshd.write_text('#!/bin/sh\n"$@"\nexit $?\n')
    sshd.chmod(0o755)
    command = [sshd, "env", f"SUDO_COMMAND={BEGUN['ansible']}", sys.executable, MODULE]
    done = run(command, stdin=json.dumps(said))
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=BEGUN)
def left(request: pytest.FixtureRequest) -> Iterator[Program]:
    """A program that a playbook began and that has outlived it."""
    with started(["sleep", "600"], env=os.environ | {"SUDO_COMMAND": BEGUN[request.param]}, grace_s=0) as program:
        yield program


def test_lock_is_not_given_back_while_something_is_at_work(tmp_path: Path, left: Program) -> None:
    path = tmp_path / "lock"
    lock(path)
    refused = lock(path, state="absent", patience=0)
    assert f"sleep (process {left.pid})" in refused["msg"]
    assert path.exists()
    left.kill()
    left.wait(10)
    assert lock(path, state="absent", patience=0)["released"]
    assert not path.exists()


def test_lock_of_a_killed_playbook_is_not_taken_over_while_something_is_at_work(tmp_path: Path, left: Program) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"token": "of the killed one"}))
    assert lock(path)["held"] == {"token": "of the killed one"}
    refused = lock(path, replaces="of the killed one", patience=0)
    assert f"sleep (process {left.pid})" in refused["msg"]
    assert json.loads(path.read_text()) == {"token": "of the killed one"}
    assert lock(path, replaces="of the killed one")["token"] == "mine", "whoever says so need not wait"
