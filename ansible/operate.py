"""Does what a target of `make` says to a site: `operate.py deploy`. Settings come from the environment, as typed.

Refuses what the target does not know, runs its playbook (ansible/targets.py), ends it when it is told to, and gives
back the deploy locks that the playbook did not give back itself.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from closing import closing
from supervise import Supervisor
from targets import COMMON_SWITCHES, COMMON_TEXTS, TARGETS, Target

HERE = Path(__file__).resolve().parent
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
CHOICES = ("CHECK", "LIMIT", "TAGS")
SWITCH = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "": False,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}
# Variables of programs, which may stand on the command line of `make` as well as in the environment
FOREIGN = ("ANSIBLE_", "MATCHPOINT_", "DOCKER_", "UV_", "KEEP_LAB")
# What giving the locks back may take; with what a program has left from the first signal on, less than 30 s
UNLOCK_SECONDS = 24
UNLOCK_SECONDS_UNHURRIED = 60
PATIENCE_SECONDS = 8  # of it, for what is still at work on a host
DEPLOYS = {"site.yml", "rollback.yml"}  # as in the action deploy_lock


class Refusal(Exception):
    """A sentence for the operator: nothing was done."""


def main(name: str) -> int:
    target = TARGETS[name]
    try:
        settings = read(name, target, os.environ)
        prepare(name, target, settings)
        options = Options("" if target.program else settings["ARGS"])
        commands = playbooks(name, target, settings, options)
        if target.program:
            commands.insert(0, [*target.program, settings["INVENTORY"], *words(settings["ARGS"])])
    except Refusal as refusal:
        say(f"make {name}: {refusal} Nothing was done.")
        return 2
    return operate(name, target, settings, options, commands)


def say(sentence: str) -> None:
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:  # the terminal is gone
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process


# What was said


def read(name: str, target: Target, environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a target: texts as they were typed, switches as true or false. Raises Refusal."""
    given = set(environment.get("MATCHPOINT_GIVEN", "").split())  # on the command line of make
    texts, switches = {*COMMON_TEXTS, *target.texts, "LIMIT", "TAGS"}, {*COMMON_SWITCHES, *target.switches, "CHECK"}
    for setting in sorted(given - texts - switches):
        if not setting.startswith(FOREIGN) and not setting.lower().endswith("_proxy"):
            raise Refusal(f"it knows no {setting}. {known(name, target, setting)}")
    # A name or a consent is said for this once: one in the environment may be a leftover, or the shell's (HOST, NAME)
    lasting = {*COMMON_TEXTS, *CHOICES}
    said = {each: environment.get(each, "") for each in texts | switches if each in lasting or each in given}
    for setting in sorted((texts | switches) - lasting - given):
        if environment.get(setting):
            say(f"{setting} of the environment is not taken; to mean it, say `make {name} {setting}=...`.")
    settings: dict[str, Any] = {each: said.get(each, "") for each in texts}
    for setting in sorted(switches):
        text = said.get(setting, "").strip().lower()
        if text not in SWITCH:
            raise Refusal(f"{setting} is {said[setting]!r}: say {setting}=1, or leave it out.")
        settings[setting] = SWITCH[text]
    for setting in CHOICES:
        if settings[setting]:
            allow(name, target, setting)
    settings["INVENTORY"] = inventory(settings["INVENTORY"] or "inventories/lab", settings["LAB"] or "matchpoint")
    return settings


def known(name: str, target: Target, setting: str) -> str:
    """What to say instead of a setting that a target does not know."""
    own = sorted({*target.texts, *target.switches, *target.knows, *({"CHECK"} if target.reads else ())})
    there = own + sorted(COMMON_TEXTS | COMMON_SWITCHES)
    near = difflib.get_close_matches(setting.upper(), there, 1)
    others = sorted(each for each, other in TARGETS.items() if setting in {*other.texts, *other.switches})
    return (
        (f"Did you mean {near[0]}? " if near else "")
        + (f"Of others, {', '.join(others)} know{'s' * (len(others) == 1)} it. " if others else "")
        + f"There are {', '.join(there)}."
    )


def allow(name: str, target: Target, choice: str) -> None:
    """Raises Refusal where CHECK, LIMIT or TAGS could not mean what they say."""
    if choice in target.knows or (choice == "CHECK" and target.reads):
        return
    why = {
        "CHECK": "it cannot show what would change without changing it",
        "LIMIT": "it works on the site, or on the host that HOST names, and not on a part of the hosts",
        "TAGS": "it does what it does as a whole; TAGS chooses roles of `make deploy`",
    }
    raise Refusal(f"{choice} is not for this target: {why[choice]}.")


def inventory(text: str, lab: str) -> str:
    """The inventory as Ansible takes it. Raises Refusal when there is none."""
    if "," in text:  # a list of hosts
        return text
    path = Path(text).expanduser()
    if not path.exists():
        there = ", ".join(sorted(f"inventories/{each.name}" for each in (HERE.parent / "inventories").iterdir()))
        raise Refusal(f"INVENTORY is {text}, which does not exist. There are: {there}.")
    labs = HERE.parent / ".lab"
    if path.is_dir() and any(path.glob("*.docker.yml")) and not (labs / lab / "ssh_config").exists():
        there = ", ".join(sorted(each.parent.name for each in labs.glob("*/ssh_config"))) or "none"
        raise Refusal(
            f"INVENTORY is {text}, and there is no lab {lab!r} (LAB=...): there is {there}; `make lab` boots one. "
            "A site of your own is said as INVENTORY=inventories/..."
        )
    return str(path)


def done(name: str, target: Target, settings: Mapping[str, Any]) -> str:
    """The command for the audit trail: with the consents that it was given, and the reason."""
    said = [f"{each}={settings[each]}" for each in (*target.texts, "LIMIT", "TAGS") if settings.get(each)]
    said += [f"{each}=1" for each in (*target.switches, "UNLOCK") if settings.get(each)]
    reason = f" ({settings['REASON']})" if settings["REASON"] else ""
    return f"{shlex.join(['make', name, *said])}{reason}"


def prepare(name: str, target: Target, settings: Mapping[str, Any]) -> None:
    """Sets the environment of what is run. Raises Refusal for an unknown strategy."""
    os.environ["PATH"] = f"{PLAYBOOK.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ.setdefault("ANSIBLE_CONFIG", str(HERE / "ansible.cfg"))
    os.environ["MATCHPOINT_REASON"] = settings["REASON"] or f"make {name}"
    os.environ["MATCHPOINT_DONE"] = done(name, target, settings)
    os.environ["MATCHPOINT_UNLOCK"] = "1" if settings["UNLOCK"] else ""
    os.environ["ANSIBLE_HOST_PATTERN_MISMATCH"] = "ignore"  # of plays for groups that a site has not; LIMIT is checked
    if settings["CHECK"] and not target.reads:
        os.environ["ANSIBLE_STDOUT_CALLBACK"] = "check"
    os.environ.update(target.environment)
    match settings["STRATEGY"] or "mitogen":
        case "mitogen":
            os.environ["ANSIBLE_STRATEGY"] = "mitogen_linear"
        case "linear":
            os.environ["ANSIBLE_STRATEGY"] = "linear"
        case other:
            raise Refusal(f"STRATEGY is {other!r}: it is mitogen, or linear for Ansible's own.")


def words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Refusal(f"ARGS cannot be taken apart ({error}): {text}") from error


class Options:
    """The words of ARGS, and what they mean to ansible-playbook."""

    # How to get to the hosts: what giving the locks back needs as well
    WAY = {
        "remote_user": "--user", "private_key_file": "--private-key", "connection": "--connection",
        "become_password_file": "--become-password-file", "connection_password_file": "--connection-password-file",
        "ssh_common_args": "--ssh-common-args", "ssh_extra_args": "--ssh-extra-args",
        "vault_ids": "--vault-id", "vault_password_files": "--vault-password-file", "extra_vars": "--extra-vars",
    }  # fmt: skip

    def __init__(self, text: str) -> None:
        self.words = words(text)
        self.said: dict[str, Any] = {}
        if not self.words:
            return
        from ansible.cli.playbook import PlaybookCLI  # half a second, which most runs do not need

        cli = PlaybookCLI(["ansible-playbook", "site.yml", *self.words])
        cli.init_parser()
        nothing = vars(cli.parser.parse_args(["site.yml"]))
        said = vars(cli.parser.parse_args(["site.yml", *self.words]))
        self.said = {key: value for key, value in said.items() if value != nothing[key]}

    def way(self) -> list[str]:
        words = []
        for key, option in self.WAY.items():
            values = self.said.get(key) or []
            words += [f"{option}={value}" for value in ([values] if isinstance(values, str) else values)]
        return words


def refuse_options(name: str, target: Target, options: Options) -> None:
    """Raises Refusal for what ARGS must not say, as the settings of that name must not."""
    said = options.said
    if said.get("args", ["site.yml"]) != ["site.yml"]:
        raise Refusal(f"ARGS has options of ansible-playbook, and {said['args'][-1]!r} is none.")
    if said.get("inventory"):
        raise Refusal("the inventory is said as INVENTORY=..., not in ARGS.")
    if said.get("start_at_task"):
        raise Refusal(
            "--start-at-task would leave out the lock and the checks that come before every task. "
            "What is done already is quick the second time; `make deploy TAGS=role` runs one role."
        )
    for choice, keys in {"CHECK": ["check"], "LIMIT": ["subset"], "TAGS": ["tags", "skip_tags"]}.items():
        if any(said.get(key) for key in keys):
            allow(name, target, choice)


# What is run


def playbooks(name: str, target: Target, settings: Mapping[str, Any], options: Options) -> list[list[str]]:
    """The command line of each round. Raises Refusal for hosts and tags that there are not."""
    refuse_options(name, target, options)
    common = [str(PLAYBOOK), *inventories(settings), str(HERE / target.playbook)]
    if settings["LIMIT"]:
        check_limit(settings)
    tags = settings["TAGS"]
    if tags:
        check_tags(tags, common)
    if settings["CHECK"] and not target.reads:
        common += ["--check", "--diff"]
    common += [f"--limit={settings['LIMIT']}"] * bool(settings["LIMIT"])
    common += [f"--tags={each}" for each in (target.tags, tags) if each]
    common += options.words
    said = dict(target.variables)
    said |= {variable: settings[each] for each, variable in target.texts.items() if settings[each]}
    said |= {variable: True for each, variable in target.switches.items() if variable and settings[each]}
    return [[*common, *extra_variables(said | round_)] for round_ in target.rounds(settings)]


def sources(settings: Mapping[str, Any]) -> list[str]:
    """What hosts and their variables come from, the last word last."""
    return [settings["INVENTORY"]]


def inventories(settings: Mapping[str, Any]) -> list[str]:
    return [f"--inventory={each}" for each in sources(settings)]


def extra_variables(variables: Mapping[str, Any]) -> list[str]:
    """The option that sets variables; a text in them stays the text that it is: no template, and no number."""
    said = {each: {"__ansible_unsafe": value} if isinstance(value, str) else value for each, value in variables.items()}
    return [f"--extra-vars={json.dumps(said)}"] if said else []


def check_limit(settings: Mapping[str, Any]) -> None:
    from ansible.inventory.manager import split_host_pattern

    there = hosts_of(settings)
    names = {*there.hosts, *there.groups}
    for term in split_host_pattern(settings["LIMIT"]):
        plain = term.lstrip("!&")
        if not plain.startswith("@") and not [each for each in there.list_hosts(plain) if each.name in there.hosts]:
            near = difflib.get_close_matches(plain, names, 1)
            raise Refusal(
                f"LIMIT is {settings['LIMIT']}, and no host is {plain!r}. {f'Did you mean {near[0]}? ' if near else ''}"
                f"There are the hosts {', '.join(sorted(there.hosts))} "
                f"and the groups {', '.join(sorted(set(there.groups) - {'all', 'ungrouped'}))}."
            )


def hosts_of(settings: Mapping[str, Any]):
    """Ansible's view of the inventory. Raises Refusal when it cannot be read."""
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader

    try:
        return InventoryManager(loader=DataLoader(), sources=sources(settings))
    except AnsibleError as error:
        raise Refusal(f"the inventory cannot be read: {error}") from error


def check_tags(tags: str, command: list[str]) -> None:
    done = subprocess.run([*command, "--list-tags"], capture_output=True, text=True, timeout=120, check=False)
    lists = re.findall(r"TASK TAGS: \[(.*?)\]", done.stdout, re.DOTALL)
    there = {each.strip() for line in lists for each in line.split(",")} - {"", "always"}
    if not there:
        raise Refusal(f"the playbook cannot be read: {done.stderr.strip()[-1000:]}")
    for tag in (each.strip() for each in tags.split(",")):
        if tag not in there | {"all", "tagged", "untagged", "always", "never"}:
            near = difflib.get_close_matches(tag, there, 1)
            raise Refusal(
                f"TAGS is {tags}, and nothing is tagged {tag!r}. {f'Did you mean {near[0]}? ' if near else ''}"
                f"There are {', '.join(sorted(there))}."
            )


def operate(
    name: str, target: Target, settings: Mapping[str, Any], options: Options, commands: Iterable[list[str]]
) -> int:
    """Runs what was decided, one command after the other; returns the exit code of `make`'s recipe."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r", dir=HERE.parent / ".cache", prefix="run-", suffix=".jsonl") as file:
        os.environ["MATCHPOINT_RUN"], os.environ["MATCHPOINT_SUPERVISOR"] = file.name, str(os.getpid())
        supervisor = Supervisor()
        code = 0
        for command in commands:
            code = supervisor.run(command)
            if code or supervisor.told:
                break
        run = Report(file.name)
        if run.held:
            give_back(supervisor, run, target, settings, options)
        if supervisor.told:
            say(f"make was told to end ({signal.Signals(supervisor.told).name}).")
            return 128 + supervisor.told
        if code == 0 and run.is_idle:
            say(f"Nothing was done: {nobody(settings)}")
            return 1
        if target.closes and run.told:
            print(closing(name, settings, run.told, code=code, took=round(time.monotonic() - began)), flush=True)
        return code if code >= 0 else 128 - code


class Report:
    """What the playbooks told: lines of JSON, by the action deploy_lock and the callback `report`."""

    def __init__(self, path: str) -> None:
        self.held: dict[str, str] = {}  # host: token of the lock
        self.why: dict[str, str] = {}  # host: why it could not be given back
        self.is_idle = False  # a playbook came to its end and no host took part
        self.told: list[dict[str, Any]] = []  # what those that came to their end did
        for line in Path(path).read_text().splitlines():
            told = json.loads(line)
            if "hosts" in told:
                self.is_idle |= told["hosts"] == 0
                self.told.append(told)
            elif told["held"]:
                self.held[told["host"]] = told["token"]
                self.why[told["host"]] = told.get("why", "")
            else:
                self.held.pop(told["host"], None)


def give_back(
    supervisor: Supervisor, run: Report, target: Target, settings: Mapping[str, Any], options: Options
) -> None:
    """Gives back the locks that are left, and says of which it could not."""
    hosts = ",".join(run.held)
    if not supervisor.is_urgent:
        say(f"Giving the deploy lock of {hosts} back ...")
        (token, *_) = run.held.values()
        said = {"unlock_token": token, "unlock_outcome": "failed" if target.playbook in DEPLOYS else ""}
        said["unlock_patience"] = PATIENCE_SECONDS
        # Connections of its own, because a shared one may wait for a host that is gone
        ssh = "-o ControlMaster=no -o ControlPath=none -o PreferredAuthentications=publickey -o ServerAliveInterval=3"
        way = {"ANSIBLE_STRATEGY": "linear", "ANSIBLE_TIMEOUT": "5", "ANSIBLE_SSH_ARGS": ssh}
        with tempfile.TemporaryFile() as output:
            supervisor.run_apart(
                [
                    str(PLAYBOOK), *inventories(settings), *options.way(), f"--limit={hosts}", str(HERE / "unlock.yml"),
                    *extra_variables(said),
                ],
                output=output.fileno(), environment=os.environ | way,
                seconds=UNLOCK_SECONDS_UNHURRIED, hurried=UNLOCK_SECONDS,
            )  # fmt: skip
        run = Report(os.environ["MATCHPOINT_RUN"])
    if not run.held:
        say(f"The deploy lock of {hosts} is released.")
        return
    typed = options.said.get("become_ask_pass") or options.said.get("ask_pass") or options.said.get("ask_vault_pass")
    reason = (
        "there was no time to give it back" if supervisor.is_urgent
        else "that takes the password that was typed" if typed else "it gave no answer in time"
    )  # fmt: skip
    for host in run.held:
        say(f"The deploy lock stays on {host}: {run.why.get(host) or reason}.")
    say("The next playbook from this machine takes it over; one from another machine does with UNLOCK=1.")


def nobody(settings: Mapping[str, Any]) -> str:
    """Why no host took part."""
    try:
        there = hosts_of(settings)
    except Refusal as refusal:
        return str(refusal)
    if not there.hosts:
        return f"the inventory {settings['INVENTORY']} has no host. INVENTORY=... names another."
    groups = ", ".join(f"{group} ({', '.join(hosts)})" for group, hosts in there.get_groups_dict().items() if hosts)
    return f"no host of {settings['INVENTORY']} is in a group that this is about. There are: {groups}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
