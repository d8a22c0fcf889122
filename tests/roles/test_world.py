"""What a deploy says when the world around it fails: the cause, the setting, and how to go on."""

import json
import os
import sys
from pathlib import Path

from tests.plays import ansible_play
from tests.processes import run
from tests.rules.model import ROOT

# As certbot 4 writes it when the CA cannot reach the host
REFUSED = """Certbot failed to authenticate some domains. The Certificate Authority reported these problems:
  Domain: www.pong.example.com
  Type:   dns
  Detail: DNS problem: NXDOMAIN looking up A for www.pong.example.com

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.
"""


def program(folder: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which a program is this shell script."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_ca_that_refuses_is_quoted_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "said").write_text(REFUSED)
    environment = program(tmp_path, "certbot", f"cat {tmp_path}/said; echo Some challenges have failed. >&2; exit 1")
    role = {"ansible.builtin.import_role": {"name": "certbot", "tasks_from": "obtain"}}
    told = ansible_play(
        tmp_path, role, environment=environment, certbot_domain="pong.example.com", certbot_email="ops@example.com",
        certbot_aliases=["www.pong.example.com"], certbot_current=str(tmp_path / "current"),
        __certbot_state={"has_live": False, "others": []}, __certbot_name="matchpoint-test",
    )  # fmt: skip
    assert "DNS problem: NXDOMAIN looking up A for www.pong.example.com" in told
    assert "port 80 be open" in told
    assert not (tmp_path / "current").is_symlink()


def test_apt_without_a_mirror_says_which_one_within_a_minute(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb [trusted=yes] http://127.0.0.1:1/debian trixie main\n")
    (tmp_path / "lists/partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list"; Dir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::Lists "{tmp_path}/lists"; Acquire::Retries "0"; APT::Sandbox::User "root";\n'
    )
    role = {"ansible.builtin.import_role": {"name": "base", "tasks_from": "packages"}}
    told = ansible_play(
        tmp_path,
        role,
        environment={"APT_CONFIG": str(tmp_path / "apt.conf")},
        base_packages=["matchpoint-no-such-package"],
    )
    assert "could not get its Debian packages: Failed to fetch http://127.0.0.1:1/debian" in told
    assert "deploy again: it goes on from here" in told


def test_a_user_who_cannot_become_root_is_told_so(tmp_path: Path) -> None:
    program(tmp_path, "sudo", "echo sudo: a password is required >&2; exit 1")
    (tmp_path / "hosts.yml").write_text(
        json.dumps({"all": {"children": {"staying": {"hosts": {"mp1": {"ansible_connection": "local"}}}}}})
    )
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_STRATEGY": "mitogen_linear"}
    said = {
        "ansible_python_interpreter": sys.executable,
        "ansible_become_exe": str(tmp_path / "sudo"),
        "tiers": {"edge": [], "monitor": []},
    }
    command = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        tmp_path / "hosts.yml",
        ROOT / "ansible/reach.yml",
    ]
    done = run([*command, "-e", json.dumps(said)], timeout_s=110, env=os.environ | settings)
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode
    assert "sudo: a password is required" in told
    assert "mp1: SSH gets in, and nothing can be done there as root" in told
