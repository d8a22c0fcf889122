"""Faults as data: `faults/*.yml`, read and checked. The top of `faults/README.md` says what the fields mean."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.rules.model import rules

FOLDER: Final = Path(__file__).parent / "faults"
RULES: Final = Path(__file__).parents[2] / "monitoring" / "rules"
SEVERITIES: Final = ("page", "ticket")
FOR_PEOPLE: Final = ("fault", "company")  # fields of a fault that change nothing about what it does

# Scrape and evaluation, patience, Alertmanager, and some for two slow cores
WITHIN_S: Final = 300.0


class Kind(NamedTuple):
    """What a notification is about: an alert with two severities is two of them."""

    alert: str
    severity: str

    def __str__(self) -> str:
        return f"{self.alert} ({self.severity})"


@dataclass(frozen=True)
class Fault:
    """One fault: how it is made, how it is mended, and what on-call hears of it."""

    name: str
    fault: str
    page: tuple[str, ...] = ()
    ticket: tuple[str, ...] = ()
    wake: tuple[str, ...] = ()  # tickets that its page holds back, and that come when the page is over
    labels: dict[str, str] = field(default_factory=dict)  # of its pages, where other faults page about the same
    silence: bool = False  # what is heard is that the dead man's switch hears nothing any more
    company: dict[str, str] = field(default_factory=dict)  # other alerts that belong to it, each with its reason
    host: str = "app"
    topology: str = "single"
    lane: str = ""  # faults of one lane come one after the other; without one, the fault comes alone
    round: int = 1  # in which lanes of the same round go side by side
    by_mail: bool = False  # its pages come by mail, because the pager does not hear
    promise: int = 0  # seconds within which its pages arrive with true timings
    load: int = 0  # matches of bots that are played meanwhile
    setup: str = ""
    inject: str = ""
    inject_here: str = ""
    repair: str = ""
    repair_here: str = ""
    within: float = WITHIN_S
    resolves_within: float = WITHIN_S
    linger: float = 20.0

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What has to be heard."""
        return tuple(Kind(alert, severity) for severity in SEVERITIES for alert in getattr(self, severity))

    @property
    def late(self) -> tuple[Kind, ...]:
        """What is to be heard in the wake of it, at the latest."""
        return tuple(Kind(alert, "ticket") for alert in self.wake)

    @property
    def is_true(self) -> bool:
        """Whether it is measured with the timings that a site has."""
        return self.promise > 0

    def expects(self, kind: Kind) -> bool:
        return kind in self.kinds or kind in self.late or kind.alert in self.company or str(kind) in noise()


def _fault(entry: dict[str, Any], path: Path) -> Fault:
    unknown = set(entry) - {each.name for each in fields(Fault)}
    if unknown:
        raise ValueError(f"{path.name}: {entry.get('name')}: unknown fields {', '.join(sorted(unknown))}")
    made = {key: tuple(value) if key in (*SEVERITIES, "wake") else value for key, value in entry.items()}
    return Fault(**made)


@cache
def faults() -> tuple[Fault, ...]:
    """All faults, in the order of the files."""
    found = [
        _fault(entry, path) for path in sorted(FOLDER.glob("[!_]*.yml")) for entry in yaml.safe_load(path.read_text())
    ]
    return tuple(found)


def named(name: str) -> Fault:
    for fault in faults():
        if fault.name == name:
            return fault
    raise LookupError(f"no fault {name}; there are {', '.join(fault.name for fault in faults())}")


@cache
def noise() -> dict[str, str]:
    """Tickets that the machine under the lab may cause at any time, each with the reason."""
    return yaml.safe_load((FOLDER / "_noise.yml").read_text()) or {}


@cache
def unproven() -> dict[str, str]:
    """Alerts that no fault of a lab fires, `Alert (severity)`, each with the reason."""
    return yaml.safe_load((FOLDER / "_unproven.yml").read_text()) or {}


@cache
def due() -> dict[str, str]:
    """Faults whose drill has to be run, because it is new or its rules have changed since, each with the reason."""
    return yaml.safe_load((FOLDER / "_due.yml").read_text()) or {}


@cache
def kinds() -> dict[Kind, str]:
    """Every alert of the rules that on-call hears, and how long it waits."""
    return {
        Kind(rule["alert"], rule["labels"]["severity"]): rule.get("for", "0s")
        for rule in rules()
        if "alert" in rule and rule["labels"]["severity"] in SEVERITIES
    }


def basis(fault: Fault) -> str:
    """A digest of what a drill of the fault was about: how it is made and mended, its alerts, and their rules.

    Texts for people are no part of it. The recording rules that an expression reads are, all the way down.
    """
    heard = {*fault.kinds, *fault.late}
    under = [rule for rule in rules() if "alert" in rule and Kind(rule["alert"], rule["labels"]["severity"]) in heard]
    for rule in under:  # which grows meanwhile
        read = set(re.findall(r"[\w:]+", str(rule["expr"])))
        under += [each for each in rules() if each.get("record") in read and each not in under]
    timing = [{name: rule[name] for name in rule if name != "annotations"} for rule in under]
    words = {each.name: getattr(fault, each.name) for each in fields(fault) if each.name not in FOR_PEOPLE}
    return hashlib.sha256(json.dumps([words, timing], sort_keys=True).encode()).hexdigest()[:12]


def seconds(duration: str) -> float:
    """Prometheus's durations: `1h30m`."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
    parts = re.findall(r"(\d+)(ms|[smhdwy])", duration)
    if "".join(number + unit for number, unit in parts) != duration or not parts:
        raise ValueError(f"no duration: {duration!r}")
    return sum(int(number) * units[unit] for number, unit in parts)
