"""What a playbook has done, or in check mode would do, from the results of its tasks, said in few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

VERBS = ("started", "restarted", "reloaded", "stopped", "removed")
# Modules of services that are given a name and a state; our own say what they did
SERVICES = {"service", "systemd", "systemd_service"}
NAMES_SHOWN = 12


class Record:
    """`{host: {"changed": {role: tasks}, "files": [path], "started": [unit], ...}}`, of hosts that were changed."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}  # host: the task that it failed at, or was lost at

    def add(self, host: str, task: str, action: str, arguments: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Take a task's result in; `task` is `role : name`, or the name of one that is in no role."""
        if not result.get("changed"):
            return
        said = self.hosts.setdefault(host, {"changed": {}, "files": [], **{verb: [] for verb in VERBS}})
        role = task.partition(" : ")[0] if " : " in task else "playbook"
        said["changed"][role] = said["changed"].get(role, 0) + 1
        for one in [each for each in result.get("results") or [result] if isinstance(each, Mapping)]:
            if not one.get("changed"):
                continue
            if one.get("pending") == "start":  # of workers that served nobody
                one = {**one, "started": one["restarted"], "restarted": []}
            _join(said["files"], _files(one))
            for verb in VERBS:
                units = one.get(verb)
                _join(said[verb], map(_short, units if isinstance(units, list) else []))
            state = arguments.get("state")
            if action.rpartition(".")[2] in SERVICES and state in VERBS:
                _join(said[state], [_short(str(one.get("name") or arguments.get("name")))])

    def as_dict(self) -> dict[str, Any]:
        return {"done": self.hosts, "failed": self.failed}


def _join(there: list[str], more: Iterable[str]) -> None:
    there += [each for each in more if each not in there]


def _short(unit: str) -> str:
    return unit if unit.startswith("/") else unit.removesuffix(".service")


def _files(result: Mapping[str, Any]) -> list[str]:
    diffs = result.get("diff") or []
    diffs = [diffs] if isinstance(diffs, Mapping) else diffs
    named = [diff.get("after_header") or diff.get("before_header") or "" for diff in diffs if isinstance(diff, Mapping)]
    return [name.split(" ")[0] for name in named if name.startswith("/")]


def lines(done: Mapping[str, Mapping[str, Any]], *, would: bool = False) -> list[str]:
    """What was done on each host, a few lines a host: hosts with the same in one."""
    alike: dict[str, list[str]] = {}
    for host, said in done.items():
        tasks = sum(said["changed"].values())
        roles = ", ".join(f"{role} {count}" for role, count in Counter(said["changed"]).most_common())
        text = [f"changed    {tasks} task{'s' * (tasks > 1)}: {roles}"]
        if would and said["files"]:
            text.append(f"files      {listed(said['files'])}")
        text += [f"{verb:10} {listed(said[verb])}" for verb in VERBS if said[verb]]
        alike.setdefault("\n".join(text), []).append(host)
    width = max((len(", ".join(hosts)) for hosts in alike.values()), default=0)
    found = []
    for text, hosts in alike.items():
        for number, line in enumerate(text.splitlines()):
            found.append(f"  {', '.join(hosts) if number == 0 else '':{width}}  {line}")
    return found


def listed(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
