"""What the promtool tests of the rules show, read for the tests: monitoring/rule_tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.rules.model import RULE_TESTS


@dataclass(frozen=True)
class Claim:
    """That alerts of a name ("" for all) fire with these labels at some time, or that none does (no labels)."""

    alert: str
    firing: tuple[str, ...]

    def is_about(self, name: str) -> bool:
        return self.alert in {"", name}

    def shows(self, name: str) -> bool:
        """Whether it says that this alert fires."""
        return any(self.alert == name or f'alertname="{name}"' in labels for labels in self.firing)


@dataclass(frozen=True)
class Case:
    """One test: its series with their values, and its claims."""

    name: str
    series: tuple[tuple[str, str], ...]
    claims: tuple[Claim, ...]
    spoken: tuple[tuple[str, str], ...]  # alert and severity of those that fire with all their annotations

    def hosts(self, names: set[str]) -> set[str]:
        """Of which hosts there are series of these names."""
        found = [(series, re.search(r'\bhost="([^"]+)"', series)) for series, _ in self.series]
        return {host[1] for series, host in found if host and series.partition("{")[0] in names}

    def knows(self, names: set[str]) -> bool:
        """Whether series of these names are there, and not all of them 0 for ever."""
        return any(
            series.partition("{")[0] in names and not re.fullmatch(r"0(\+0)?x\d+", values)
            for series, values in self.series
        )

    def is_quiet_about(self, name: str) -> bool:
        return any(claim.is_about(name) and not claim.firing for claim in self.claims)

    def shows(self, name: str) -> list[str]:
        """Labels with which this alert fires in it."""
        return [labels for claim in self.claims if claim.shows(name) for labels in claim.firing]


def claims(test: dict[str, Any]) -> Iterator[Claim]:
    for one in test.get("promql_expr_test", []):
        if "ALERTS" in one["expr"]:
            about = re.search(r'alertname="(\w+)"', one["expr"])
            yield Claim(about[1] if about else "", tuple(sample["labels"] for sample in one["exp_samples"]))
    for one in test.get("alert_rule_test", []):
        labels = [alert["exp_labels"].items() for alert in one.get("exp_alerts") or []]
        yield Claim(
            one["alertname"], tuple(",".join(f'{label}="{value}"' for label, value in items) for items in labels)
        )


@cache
def cases() -> list[Case]:
    tests = [test for path in RULE_TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    return [
        Case(
            test["name"],
            tuple((one["series"], str(one["values"])) for one in test.get("input_series", [])),
            tuple(claims(test)),
            tuple(
                (about["alertname"], one["exp_labels"]["severity"])
                for about in test.get("alert_rule_test", [])
                for one in about.get("exp_alerts") or []
                if one.get("exp_annotations")
            ),
        )
        for test in tests
    ]
