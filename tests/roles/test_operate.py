"""What `make TARGET` takes, refuses and passes on; and how what it runs ends. No host is touched."""

import contextlib
import importlib
import os
import pty
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest
import yaml

from tests.conftest import ENVIRONMENT, ROOT, poll
from tests.processes import Program, run, started

ANSIBLE = ROOT / "ansible"
HOSTS = "inventories/single"
OPERATIONS = re.search(r"^OPERATIONS := ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
TARGETS = [name for name in OPERATIONS if name != "\\"]


def operate(target: str, **settings: str) -> CompletedProcess[str]:
    """What `make TARGET SETTING=...` says and exits with, without make."""
    given = {"INVENTORY": HOSTS, **settings}
    environment = ENVIRONMENT | given | {"MATCHPOINT_GIVEN": " ".join(given)}
    return run([sys.executable, ANSIBLE / "operate.py", target], cwd=ROOT, env=environment)


def make(*arguments: str) -> CompletedProcess[str]:
    return run(["make", "-C", ROOT, *arguments], env=ENVIRONMENT)


@pytest.fixture
def program() -> Iterator[ModuleType]:
    """The program behind the targets."""
    sys.path.insert(0, str(ANSIBLE))
    try:
        yield importlib.import_module("operate")
    finally:
        sys.path.remove(str(ANSIBLE))


def test_table_and_makefile_have_the_same_targets(program: ModuleType) -> None:
    assert set(program.TARGETS) == set(TARGETS)
    helps = re.findall(r"^  make (\S+)", make("help").stdout, re.MULTILINE)
    assert set(TARGETS) <= set(helps)


@pytest.mark.parametrize(("setting", "option"), [("CHECK", "-C"), ("LIMIT", "-l pong"), ("TAGS", "--skip-tags app")])
def test_what_a_target_cannot_do_in_part_or_for_show_it_refuses(program: ModuleType, setting: str, option: str) -> None:
    """CHECK=1 on `make promote` must not promote. In ARGS it is the same."""
    taken = []
    for name, target in program.TARGETS.items():
        if setting in target.knows or (setting == "CHECK" and target.reads):
            continue
        for said in [{setting: "1"}] + [{"ARGS": option}] * (not target.program):
            try:
                settings = program.read(name, target, {"INVENTORY": str(ROOT / HOSTS), **said})
                program.playbooks(name, target, settings, program.Options(settings["ARGS"]))
                taken.append((name, said))
            except program.Refusal as refusal:
                if setting not in str(refusal):
                    taken.append((name, said, str(refusal)))
    assert not taken


def test_refusal_does_nothing() -> None:
    done = operate("promote", CHECK="1", FENCE="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "make promote: CHECK is not for this target" in done.stderr
    assert "Nothing was done." in done.stderr


def test_choices_are_refused_by_targets_that_are_no_playbooks() -> None:
    for setting in ("CHECK=1", "LIMIT=app1", "TAGS=app"):
        done = make("down", "LAB=no-such-lab", setting)
        assert done.returncode == 2
        assert "Nothing was done" in done.stderr


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ("deploy", {"HOST": "pong"}, ["knows no HOST", "add-host, reboot"]),
        ("deploy", {"CHEK": "1"}, ["knows no CHEK", "Did you mean CHECK?"]),
        ("deploy", {"check": "1"}, ["Did you mean CHECK?"]),
        ("deploy", {"CHECK": "maybe"}, ["CHECK is 'maybe'", "CHECK=1"]),
        ("promote", {"FENCE": "please"}, ["FENCE is 'please'"]),
        ("deploy", {"STRATEGY": "mitogne"}, ["STRATEGY is 'mitogne'", "linear"]),
        ("deploy", {"INVENTORY": "inventories/prod"}, ["does not exist", "inventories/single"]),
        ("deploy", {"INVENTORY": "inventories/lab", "LAB": "no-such"}, ["no lab 'no-such'", "make lab", "INVENTORY="]),
        ("deploy", {"LIMIT": "pongg"}, ["no host is 'pongg'", "Did you mean pong?"]),
        ("deploy", {"LIMIT": "pong:!dbb"}, ["no host is 'dbb'", "groups app"]),
        ("deploy", {"TAGS": "app,ngnix"}, ["'ngnix'", "Did you mean nginx?"]),
        ("deploy", {"ARGS": "--start-at-task 'Serve'"}, ["--start-at-task", "TAGS=role"]),
        ("deploy", {"ARGS": "-i elsewhere"}, ["INVENTORY="]),
        ("deploy", {"ARGS": "gate.yml"}, ["'gate.yml'"]),
        ("deploy", {"ARGS": "-e 'a"}, ["ARGS cannot be taken apart"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_not_known_is_refused_with_what_there_is(
    target: str, settings: dict[str, str], words: list[str]
) -> None:
    done = operate(target, **settings)
    assert (done.returncode, done.stdout) == (2, "")
    for word in [*words, "Nothing was done."]:
        assert word in done.stderr


def test_consent_is_not_taken_from_the_environment() -> None:
    """A leftover of yesterday, or the shell's own HOST, is no consent."""
    environment = ENVIRONMENT | {"FENCE": "1", "MATCHPOINT_GIVEN": "", "INVENTORY": "inventories/none"}
    done = run([sys.executable, ANSIBLE / "operate.py", "promote"], cwd=ROOT, env=environment)
    assert "FENCE of the environment is not taken" in done.stderr


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An inventory of this machine, as a monitoring host."""
    path = tmp_path / "a folder" / "hosts.yml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({"monitor": {"hosts": {"mon1": {"ansible_connection": "local"}}}}))
    return path


def test_values_arrive_whole(here: Path) -> None:
    """Spaces, quotes, dollars and templates are part of the text, and no variable can be smuggled in."""
    text = """Ada's "$HOME" $(LAB) {{ 3 * 3 }} silence_list=1 \\ é 🏓"""
    done = make("silence", f"INVENTORY={here}", f"ALERT={text}", "WHY=a new disk", "STRATEGY=linear")
    assert done.returncode == 2
    told = done.stdout + done.stderr
    assert repr(f"ALERT is {text}: it must be")[1:-1] in told
    assert "WHY is not said" not in told


def test_texts_that_look_like_numbers_arrive_as_texts(here: Path) -> None:
    done = make("silence", f"INVENTORY={here}", "ALERT=000000000012", "WHY=0000", "STRATEGY=linear")
    assert done.returncode == 2
    told = done.stdout + done.stderr
    assert "ALERT is 000000000012: it must be" in told
    assert "WHY is not said" not in told


def test_work_on_no_host_is_an_error(here: Path) -> None:
    done = make("releases", f"INVENTORY={here}")
    assert done.returncode == 2
    assert "no host of" in done.stderr
    assert "monitor (mon1)" in done.stderr


# How it ends

STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()  # as Ansible's workers
    if os.fork():  # and what it starts itself has lost its parent
        os._exit(0)
open(sys.argv[1], "a").write(f"{os.getpid()}\\n")
time.sleep(120)
"""


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[tuple[Program, Path]]:
    """A supervised program that does not listen to signals, with a child in a session of its own; and their PIDs."""
    script, pids = tmp_path / "stubborn.py", tmp_path / "pids"
    script.write_text(STUBBORN)
    supervise = (
        "import sys; from supervise import Supervisor; one = Supervisor();"
        "one.run([sys.executable, *sys.argv[1:]]); sys.exit(100 + one.told + 100 * one.is_urgent)"
    )
    command = ["env", "--default-signal", sys.executable, "-c", supervise, script, pids]
    with started(command, env=ENVIRONMENT | {"PYTHONPATH": str(ANSIBLE)}, grace_s=0) as program:
        poll(lambda: pids.exists() and len(pids.read_text().split()) == 2, within_s=30, every_s=0.05, what="two")
        yield program, pids


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_what_does_not_listen_is_ended_with_all_that_it_started(stubborn, number: signal.Signals) -> None:
    program, pids = stubborn
    program.send_signal(number)
    assert program.wait(25) == 100 + number
    assert not [pid for pid in pids.read_text().split() if is_alive(int(pid))]


def test_second_signal_ends_it_at_once(stubborn) -> None:
    program, pids = stubborn
    program.send_signal(signal.SIGTERM)
    time.sleep(0.6)  # nearer together they are one, told to make and to its group
    program.send_signal(signal.SIGTERM)
    assert program.wait(25) == 200 + signal.SIGTERM, "the first would have given it three seconds"
    assert not [pid for pid in pids.read_text().split() if is_alive(int(pid))]


def test_prompts_reach_the_terminal(here: Path) -> None:
    """A password is asked for on the terminal, without echo; Ctrl-C ends it and gives the echo back."""
    command = ["env", "--default-signal", "make", "-C", ROOT, "silences", f"INVENTORY={here}", "ARGS=--ask-become-pass"]
    controller, terminal = pty.openpty()
    ends = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    try:
        with started(["setsid", "--ctty", "--wait", *command], env=ENVIRONMENT, **ends) as shell:
            told = b""
            while b"password: " not in told:
                assert select.select([controller], [], [], 60)[0], told
                told += os.read(controller, 4096)
            assert not has_echo(terminal)
            os.write(controller, b"\x03")
            shell.wait(30)
            assert has_echo(terminal)
    finally:
        os.close(terminal)
        os.close(controller)


def has_echo(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def note(folder: Path, program: str, **variables: object) -> CompletedProcess[str]:
    """What `tasks/note.yml` does with a program on a host, in the way of a playbook."""
    (folder / "manage").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "manage").chmod(0o755)
    said = {"note_kind": "deploy", "note_what": "make deploy BREAKING=1", "note_program": str(folder / "manage")}
    said |= {"tiers": {"app": ["here"]}, "gone": [], "ansible_connection": "local", "ansible_become": False} | variables
    task = {"ansible.builtin.include_tasks": str(ANSIBLE / "tasks/note.yml")}
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    environment = ENVIRONMENT | {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_STRATEGY": "linear"}
    playbook = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        "here,",
        "-e",
        yaml.safe_dump(said, default_flow_style=True, width=9999),
    ]
    return run([*playbook, folder / "play.yml"], env=environment | {"COLUMNS": "9999"})


def test_what_was_done_is_written_down_by_the_site_itself(tmp_path: Path) -> None:
    done = note(tmp_path, f"printf '%s\\n' \"$@\" > {tmp_path}/said")
    assert done.returncode == 0, done.stdout
    said = (tmp_path / "said").read_text().splitlines()
    assert said[:2] == ["audit_note", "deploy"]
    assert re.fullmatch(r"--who=\S+@\S+", said[2])
    assert said[3:] == ["make deploy BREAKING=1"]


@pytest.mark.parametrize("hosts", [["here"], []])
def test_what_cannot_be_written_down_is_said_and_ends_nothing(tmp_path: Path, hosts: list[str]) -> None:
    done = note(tmp_path, "echo 'the database is away' >&2; exit 1", tiers={"app": hosts})
    assert done.returncode == 0, done.stdout
    assert ("does not know" in done.stdout) is bool(hosts)
    assert ("the database is away" in " ".join(done.stdout.split())) is bool(hosts)


def test_the_entry_names_the_consents_that_were_given(program: ModuleType) -> None:
    settings = {"NEW_DATABASE": True, "TAKE_OVER": False, "LIMIT": "app1", "REASON": "a new disk", "UNLOCK": ""}
    told = program.done("deploy", program.TARGETS["deploy"], settings)
    assert told == "make deploy LIMIT=app1 NEW_DATABASE=1 (a new disk)"
    told = program.done(
        "restore", program.TARGETS["restore"], {"CONFIRM": "a.example.com", "TIME": "2026-11-28 12:00:00", "REASON": ""}
    )
    assert told == "make restore CONFIRM=a.example.com 'TIME=2026-11-28 12:00:00'"
