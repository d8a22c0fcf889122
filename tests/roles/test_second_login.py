"""The login that proves a changed sshd is one of its own, and is made in the way of the one that is open."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import run

# Says what it was called with, as the last line of an ssh that does not get in
SSH = "#!/bin/sh\nprintf '%s|' \"$@\" >&2\nexit 255\n"


@pytest.mark.parametrize("strategy", ["linear", "mitogen_linear"])
def test_the_second_login_is_made_as_the_first_and_uses_nothing_of_it(tmp_path: Path, strategy: str) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {app1: {ansible_host: 192.0.2.2, ansible_ssh_port: 2222, place: /a b,\n"
        "  ansible_ssh_common_args: \"-o 'UserKnownHostsFile={{ place }}'\"}}}\n"
    )
    (tmp_path / "play.yml").write_text("- {hosts: all, gather_facts: false, tasks: [second_login: ]}\n")
    command = ["ansible-playbook", "--inventory", tmp_path / "hosts.yml", tmp_path / "play.yml"]
    command += ["--user", "ops", "--private-key", tmp_path / "key of mine"]
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
        "ANSIBLE_STRATEGY": strategy, "COLUMNS": "400",
    }  # fmt: skip
    done = run(command, env=environment, cwd=ROOT)
    said = " ".join((done.stdout + done.stderr).split())
    assert "With keys alone nobody gets in to app1 a second time" in said
    words = said.split("a second time: ")[1].split("|")
    assert {"ControlMaster=no", "ControlPath=none", "BatchMode=yes", "UserKnownHostsFile=/a b"} <= {*words}
    assert words.index("ControlPath=none") < words.index("ControlMaster=auto"), "the first one counts"
    pairs = dict(pairwise(words))
    assert (pairs["-p"], pairs["-l"], pairs["-i"]) == ("2222", "ops", f"{tmp_path}/key of mine")
    assert words[words.index("-S") :][:4] == ["-S", "none", "192.0.2.2", "true"]
