"""What is wrong with the settings of an inventory: names that nobody reads, and values of the wrong type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.parsing.convert_bool import BOOLEANS_FALSE, BOOLEANS_TRUE
from ansible.plugins.lookup import LookupBase
from ansible.utils.vars import load_extra_vars
from ansible.vars.plugins import get_vars_from_inventory_sources
from jinja2 import Undefined

DOCUMENTATION = """
name: setting_faults
short_description: sentences about the settings of an inventory that cannot be meant
description:
  - Looks at everything that the inventory says, for all hosts, whether or not a limit leaves them out, and at the
    command line. Connects to no host.
  - A name that begins like a role's setting and is none, a removed name, a name of the wiring, a group that does
    nothing, and a value that is not of the type in C(meta/argument_specs.yml). Other names are the operator's own.
  - Values are shown only where they cannot be secret, and a value that needs facts is left to the role that reads it.
options:
  _terms:
    description: known groups of the site
    required: true
  removed:
    description: what to do instead, by removed name
    type: dict
    default: {}
"""

# Groups that are not written down: Ansible's, and those of the first plays
MADE = ("all", "ungrouped", "staying", "leaving")
KINDS = {
    "bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text", "path": "a path",
    "list": "a list", "dict": "a dict of names and values",
}  # fmt: skip
ALMOST = 0.9
"""How alike (difflib's ratio) a name of the operator's own is to a setting that must have been meant."""
Spec = dict[str, Any]


@cache
def specs(roles: Path) -> dict[str, Spec]:
    """The settings of all roles and of the site, by name, as their argument_specs have them."""
    found = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        for entry in yaml.load(path.read_bytes(), yaml.CSafeLoader)["argument_specs"].values():
            found.update(entry.get("options", {}))
    return found


@cache
def wiring(folder: Path) -> frozenset[str]:
    """The names of the wiring, by the first column of its files, which have templates that only Ansible loads."""
    texts = (path.read_text() for path in sorted((folder / "group_vars/all").glob("*.yml")))
    return frozenset(name for text in texts for name in re.findall(r"^(\w+):", text, re.MULTILINE))


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        playbooks = Path(variables["playbook_dir"])
        self._specs = specs(playbooks.parent / "roles")
        self._own = wiring(playbooks) - set(self._specs)
        self._roles = sorted(path.name for path in (playbooks.parent / "roles").iterdir())
        self._hostvars = variables["hostvars"]
        self._inventory = self._hostvars._inventory
        self._tiers = list(terms)
        said = dict(self._said())
        faults = [*self._groups(), *self._names(said), *self._types(said)]
        return [faults]

    def _said(self) -> Iterator[tuple[tuple[str, str], list[str]]]:
        """(place, name) -> the hosts that it is said for. Places are "" for all hosts, "host app1", "group app"."""
        everybody = sorted(self._inventory.hosts)
        for entity in [*self._inventory.groups.values(), *self._inventory.hosts.values()]:
            is_host = entity.name in self._inventory.hosts
            hosts = [entity.name] if is_host else sorted(host.name for host in entity.get_hosts())
            place = "" if entity.name == "all" else f"{'host' if is_host else 'group'} {entity.name}"
            yield from (((place, name), hosts) for name in self._variables(entity))
        yield from ((("the command line", name), everybody) for name in load_extra_vars(self._loader))

    def _variables(self, entity) -> dict[str, Any]:
        beside = get_vars_from_inventory_sources(self._loader, self._inventory._sources, [entity], "task")
        return entity.vars | beside

    def _groups(self) -> Iterator[str]:
        known = [*self._tiers, *MADE]
        for group in self._inventory.groups.values():
            if group.name in known or not group.get_hosts():
                continue
            near = difflib.get_close_matches(group.name, known, 1, 0.75)
            if near:
                yield f"the group {group.name} is none of Matchpoint's: did you mean {near[0]}?"
            elif not (self._variables(group) or group.child_groups):
                yield (
                    f"the group {group.name} is none of Matchpoint's and does nothing: the groups are"
                    f" {', '.join(self._tiers)}; one of your own has a variable, for example"
                    f" {group.name}: {{vars: {{purpose: limits}}}}"
                )

    def _names(self, said: dict[tuple[str, str], list[str]]) -> Iterator[str]:
        removed, begins = self.get_option("removed"), re.compile(f"(__)?({'|'.join(self._roles)}|matchpoint)_")
        places: dict[str, list[str]] = {}
        for place, name in said:
            places.setdefault(name, []).append(place)
        known = list(self._specs)
        for name in sorted(places):
            where = f" ({', '.join(each for each in places[name] if each)})" if all(places[name]) else ""
            if name in known:
                continue
            if name in removed:
                yield f"{name}{where} was removed: {removed[name]}"
            elif name in self._own:
                yield f"{name}{where} is a name of Matchpoint's wiring, which would break: name your variable otherwise"
            else:
                near = difflib.get_close_matches(name, known, 1, 0.6 if begins.match(name) else ALMOST)
                if begins.match(name) or near:
                    meant = f": did you mean {near[0]}?" if near else ": docs/settings.md lists all"
                    yield f"{name}{where} is no setting of Matchpoint{meant}"

    def _types(self, said: dict[tuple[str, str], list[str]]) -> Iterator[str]:
        hosts: dict[str, set[str]] = {}
        for (_, name), those in said.items():
            if name in self._specs:
                hosts.setdefault(name, set()).update(those)
        for name in sorted(hosts):
            wrong: dict[str, list[str]] = {}
            for host in sorted(hosts[name]):
                for fault in self._wrong(name, host):
                    wrong.setdefault(fault, []).append(host)
            for fault, those in wrong.items():
                where = "" if len(those) == len(self._inventory.hosts) else f" (of {', '.join(those)})"
                yield name + fault.replace("\0", where, 1)

    def _wrong(self, name: str, host: str) -> list[str]:
        value = self._hostvars[host][name]
        if isinstance(value, Undefined) and type(value).__name__ != "UndefinedMarker":
            return ["\0 cannot be worked out: its template fails"]
        spec = self._specs[name]
        if name.startswith(
            "matchpoint_"
        ):  # the preflight has a pattern for each; what it cannot see is inside of lists
            return list(faults(value, spec, True)) if isinstance(value, list) and spec["type"] == "list" else []
        return list(faults(value, spec, bool(spec.get("no_log"))))


def faults(value: Any, spec: Spec, secret: bool, at: str = "") -> Iterator[str]:
    """What is wrong with a value, each to be read after the name of its setting; hosts are named at the mark NUL."""
    kind, choices = spec["type"], spec.get("choices")
    must = (
        f"it must be {KINDS.get(kind, kind)}"
        if choices is None
        else f"it must be one of {', '.join(map(str, choices))}"
    )
    if isinstance(value, Undefined):
        return  # facts, which are gathered later
    if value is None:
        yield f"{at}\0 is empty: {must}; without the line it has its default"
    elif kind == "list" and isinstance(value, (list, tuple)):
        element = {"type": spec.get("elements", "raw")} | {
            key: spec[key] for key in ("options", "choices") if key in spec
        }
        for index, each in enumerate(value):
            yield from faults(each, element, secret, f"{at}[{index}]")
    elif kind == "dict" and isinstance(value, dict):
        yield from _members(value, spec.get("options", {}), secret, at)
    elif not _fits(value, kind, choices):
        # A text in the place of a number or of one of a few words is a mistake, in that of a list it may be a password
        few = kind in ("bool", "int", "float") or (kind == "str" and choices is not None)
        plain = isinstance(value, (bool, int, float)) or (isinstance(value, str) and few)
        shown = _shown(value) if plain and not secret else f"of another type ({_kind(value)})"
        quotes = ""
        if kind in ("str", "path") and isinstance(value, (bool, int, float)):
            words = " (as which YAML reads the words off, no, on and yes)" if isinstance(value, bool) else ""
            quotes = f"{words}, write it in quotes if it is meant"
        yield f"{at}\0 is {shown}: {must}{quotes}"


def _members(value: dict, options: dict[str, Spec], secret: bool, at: str) -> Iterator[str]:
    for name in value if options else ():
        if name not in options:
            near = difflib.get_close_matches(str(name), options, 1)
            meant = f"did you mean {near[0]}?" if near else f"it can have {', '.join(options)}"
            yield f"{at}\0 has {name}, which it cannot have: {meant}"
        else:
            hidden = secret or bool(options[name].get("no_log"))
            yield from faults(value[name], options[name], hidden, f"{at}.{name}")
    missing = [name for name, spec in options.items() if spec.get("required") and name not in value]
    if missing:
        yield f"{at}\0 lacks {', '.join(missing)}"


def _fits(value: Any, kind: str, choices: list | None) -> bool:
    if choices is not None:
        # Of several choices, one may be a word that YAML reads as true or false
        words = BOOLEANS_TRUE if value is True else BOOLEANS_FALSE if value is False else ()
        return value in choices or len([word for word in choices if word in words]) == 1
    match kind:
        case "bool":
            return isinstance(value, bool)  # the text "false" would be true in a template
        case "int":
            return not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value)) is not None
        case "float":
            return not isinstance(value, bool) and re.fullmatch(r"-?\d+(\.\d+)?", str(value)) is not None
        case "str" | "path":
            return isinstance(value, str)
    return kind == "raw"


def _kind(value: Any) -> str:
    names = {list: "a list", tuple: "a list", dict: "a dict", bool: "a boolean", int: "a number", float: "a number"}
    return next((name for each, name in names.items() if isinstance(value, each)), "a text")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
