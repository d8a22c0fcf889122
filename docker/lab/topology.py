"""Which hosts a lab has and which groups each is in: a file of `topologies/`, or one more host on the command line."""

import re
from pathlib import Path
from typing import Any

import yaml

from output import LabError

FOLDER = Path(__file__).parent / "topologies"
WORLD = "world"  # the container that plays the rest of the internet; no host of a topology
# Group -> the least and the most hosts that it takes
LIMITS = {"db": (1, 2), "cache": (1, 1), "app": (1, 99), "edge": (1, 99), "monitor": (1, 2), "acme": (0, 1)}
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

Topology = dict[str, list[str]]  # host name -> groups


class _Loader(yaml.SafeLoader):
    """YAML lets the last of two equal keys win without a word; here a host stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise LabError(f"{node.start_mark.name}: line {key.start_mark.line + 1} names {name} a second time.")
            seen.add(name)
        return super().construct_mapping(node, deep)


def read(name: str) -> Topology:
    """The topology of `topologies/<name>.yml`. Raises LabError that names the file, the fault and the fix."""
    path = FOLDER / f"{name}.yml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yml")))
        raise LabError(f"There is no topology '{name}' ({path}). There are: {known}.")
    try:
        with path.open() as stream:
            content = yaml.load(stream, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabError(f"{path} is not readable YAML: {error}") from None
    hosts = content.get("hosts") if isinstance(content, dict) else None
    if not isinstance(hosts, dict) or not hosts:
        raise LabError(f"{path}: `hosts` must map host names to lists of groups, e.g. `mp1: [app, edge]`.")
    topology = {}
    for host, groups in hosts.items():
        if groups is not None and not isinstance(groups, list):
            raise LabError(f"{path}: the groups of {host} must be a list, e.g. `{host}: [app]`.")
        topology[str(host)] = [str(group) for group in groups or []]
    check(topology, str(path))
    return topology


def check(topology: Topology, where: str) -> None:
    """Raises LabError when the hosts could not be a site; `where` says what to correct."""
    for host, groups in topology.items():
        if not HOST_NAME.fullmatch(host) or host == WORLD:
            taken = " (the lab itself has a container of that name)" if host == WORLD else ""
            raise LabError(
                f"{where}: '{host}' cannot be the name of a host{taken}: use lower-case letters, digits and dashes, "
                f"e.g. app1."
            )
        if unknown := sorted(set(groups or ["nothing"]) - set(LIMITS)):
            raise LabError(f"{where}: host {host} is in {', '.join(unknown)}; the groups are {', '.join(LIMITS)}.")
        if twice := sorted({group for group in groups if groups.count(group) > 1}):
            raise LabError(f"{where}: host {host} is in {', '.join(twice)} twice; once is enough.")
    for group, (least, most) in LIMITS.items():
        members = [host for host, groups in topology.items() if group in groups]
        if len(members) < least:
            raise LabError(f"{where}: no host is in {group}; add it to one, e.g. `{next(iter(topology))}: [{group}]`.")
        if len(members) > most:
            raise LabError(
                f"{where}: {group} has {len(members)} hosts ({', '.join(members)}); it takes {most}, "
                f"so take {', '.join(members[most:])} out of it."
            )
        if group == "acme" and (outside := [host for host in members if "edge" not in topology[host]]):
            raise LabError(f"{where}: {outside[0]} is in acme and not in edge; the ACME host is one of the edges.")


def differences(running: Topology, wanted: Topology) -> list[str]:
    """What of the running hosts is not as wanted, a line each. A wanted host that does not run is no difference."""
    lines = []
    for host, groups in running.items():
        if host not in wanted:
            lines.append(f"{host} ({', '.join(groups)}) runs and is not wanted")
        elif set(groups) != set(wanted[host]):
            lines.append(f"{host} runs as {', '.join(groups)} and is wanted as {', '.join(wanted[host])}")
    return lines
