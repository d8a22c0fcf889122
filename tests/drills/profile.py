"""The test profile: the rules without their patience, and Alertmanager without its own for tickets.

It is made from `monitoring/rules` at every run, and no copy of anything: what it changes is every `for`, every
`keep_firing_for` and every range and offset of an expression that is longer than a minute. Thresholds, labels, joins
and everything else are as they are on a site. Pages keep their pace in Alertmanager.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

from tests.drills.model import RULES, seconds

LONG_S: Final = 60  # what is not longer stays as it is
PATIENCE_S: Final = 30  # two scrapes
SHRINK: Final = 120  # what an expression looks back
RANGE_S: Final = 60  # four scrapes, at least
SLOW_S: Final = 300  # what looks back further than this may wait for things that happen once a minute
SLOW_RANGE_S: Final = 120
TICKETS: Final = {"group_wait": "10s", "group_interval": "20s"}

# `[5m]`, `[30m:1m]`, and `offset 7d`
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_RANGE = re.compile(rf"\[({_DURATION})(:(?:{_DURATION})?)?\]")
_OFFSET = re.compile(rf"\boffset\s+({_DURATION})")


def patience(duration: str) -> str:
    """How long a rule of the profile waits."""
    return duration if seconds(duration) <= LONG_S else f"{PATIENCE_S}s"


def back(duration: str) -> str:
    """How far an expression of the profile looks back."""
    true_s = seconds(duration)
    at_least_s = RANGE_S if true_s <= SLOW_S else SLOW_RANGE_S
    return duration if true_s <= LONG_S else f"{max(at_least_s, round(true_s / SHRINK))}s"


def expression(promql: str) -> str:
    """An expression that looks back less."""

    def ranged(found: re.Match[str]) -> str:
        step = ":" + (patience(found[2][1:]) if found[2][1:] else "") if found[2] else ""
        return f"[{back(found[1])}{step}]"

    return _OFFSET.sub(lambda found: f"offset {back(found[1])}", _RANGE.sub(ranged, promql))


def rule(true: dict[str, Any]) -> dict[str, Any]:
    """A rule of the profile, from one of a site."""
    made = true | {"expr": expression(str(true["expr"]))}
    return made | {name: patience(true[name]) for name in ("for", "keep_firing_for") if name in true}


def write(folder: Path, rules: Path = RULES) -> Path:
    """Makes the profile in a folder; returns the file with the settings of the roles that put it on a host."""
    made = folder / "rules"
    made.mkdir(parents=True, exist_ok=True)
    for stale in made.glob("*.yml"):
        stale.unlink()
    for path in sorted(rules.glob("*.yml")):
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            group["rules"] = [rule(true) for true in group["rules"]]
        (made / path.name).write_text(yaml.safe_dump(content, sort_keys=False, width=120))
    settings = folder / "profile.json"
    heard_at_once = {"alertmanager_ticket_pace": TICKETS, "alertmanager_nights": []}
    settings.write_text(json.dumps({"prometheus_rules_dir": str(made)} | heard_at_once))
    return settings
