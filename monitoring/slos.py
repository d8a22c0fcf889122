"""Write rules/slo.yml from slos.yml: what is recorded of every objective, and the alerts on how fast its budget burns.

    python -m monitoring.slos [--check]

Names and labels of the recorded series are those of sloth (https://sloth.dev), so that dashboards made for it work. Two
families are ours, ``slo:sli_events:rate5m`` and ``slo:sli_error_events:*``: numbers of events, from which the long
windows and the budget follow; a busy evening weighs more in them than a quiet night.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
SOURCE, TARGET = FOLDER / "slos.yml", FOLDER / "rules/slo.yml"
HEADER = "---\n# Made from slos.yml by `python -m monitoring.slos`: edit that.\n"
RAW = (
    "30m",
    "1h",
)  # windows of pages, from the counters themselves: a page must not wait until a rate of 5 minutes has grown
INTERVAL = 15  # seconds between two samples of what is recorded
KEYS = {
    "name",
    "alert",
    "component",
    "objective",
    "severities",
    "floor",
    "summary",
    "events",
    "impact",
    "error",
    "total",
}
SECONDS = {"m": 60, "h": 3600, "d": 86400}
WAIT = {"page": "30s", "ticket": "5m"}
STAY = {"page": "2m", "ticket": "15m"}  # on the edge of its threshold an alert must not come and go


class Fault(ValueError):
    """What is wrong in slos.yml, in a sentence that names the place."""


@dataclass(frozen=True)
class Window:
    """Two windows, and how many times too fast the budget has to burn in both (1: it lasts for the period exactly)."""

    long: str
    short: str
    factor: Decimal


@dataclass(frozen=True)
class Slo:
    """One objective; ``budget`` is the part of events that may be bad, 0 < budget < 1."""

    service: str
    name: str
    budget: Decimal
    data: dict[str, Any]

    @property
    def labels(self) -> dict[str, str]:
        return {"sloth_id": f"{self.service}-{self.name}", "sloth_service": self.service, "sloth_slo": self.name}

    @property
    def selector(self) -> str:
        return f'{{sloth_id="{self.labels["sloth_id"]}"}}'

    def query(self, kind: str, window: str) -> str:
        return self.data[kind].replace("{window}", window)


def seconds(duration: str) -> int:
    found = re.fullmatch(r"([1-9]\d*)([mhd])", duration)
    if not found:
        raise Fault(f"{duration!r} is no duration: write it like 5m, 6h or 30d")
    return int(found[1]) * SECONDS[found[2]]


def number(value: Decimal) -> str:
    """As people write it: 0.072, without the noise of binary fractions."""
    return f"{value.normalize():f}"


def read(text: str) -> tuple[list[Slo], dict[str, list[Window]], str]:
    """The objectives, the windows by severity, and the period. Fault."""
    data = yaml.safe_load(text)
    period = data["period"]
    windows = {
        severity: [Window(one["long"], one["short"], Decimal(str(one["factor"]))) for one in pairs]
        for severity, pairs in data["alerts"].items()
    }
    for pair in (pair for pairs in windows.values() for pair in pairs):
        if not seconds(pair.short) < seconds(pair.long) < seconds(period):
            raise Fault(f"alerts: {pair.short}, {pair.long} and the period of {period} must get longer in this order")
    slos = [slo(data["service"], one, windows) for one in data["slos"]]
    for key in ("name", "alert"):
        names = [one.data[key] for one in slos]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise Fault(f"two objectives have the {key} {', '.join(sorted(doubled))}")
    return slos, windows, period


def slo(service: str, data: dict[str, Any], windows: dict[str, list[Window]]) -> Slo:
    where = f"objective {data.get('name')}"
    if wrong := KEYS ^ set(data):
        raise Fault(f"{where}: {', '.join(sorted(wrong))} is missing or unknown")
    objective = Decimal(str(data["objective"]))
    if not 0 < objective < 100:
        raise Fault(f"{where}: objective is {objective}, it must be between 0 and 100 percent")
    for kind in ("error", "total"):
        if "[{window}]" not in data[kind] or re.search(r"\[(?!\{window\}\])", data[kind]):
            raise Fault(f"{where}: every range of `{kind}` must be [{{window}}]")
    budget = 1 - objective / 100
    for severity in data["severities"]:
        if severity not in windows:
            raise Fault(f"{where}: there is no severity {severity}; there are {', '.join(windows)}")
        if data["floor"].get(severity, 0) < 1:
            raise Fault(f"{where}: floor.{severity} must be at least 1")
        if severity not in data["impact"]:
            raise Fault(f"{where}: impact.{severity} is missing")
        for pair in windows[severity]:
            if pair.factor * budget >= 1:
                raise Fault(
                    f"{where}: {pair.factor} times a budget of {number(budget)} is {number(pair.factor * budget)}, and "
                    f"no more than 1 can fail: the {severity} on {pair.long} would never come. Raise the objective, or "
                    f"leave {severity} out"
                )
    return Slo(service, data["name"], budget, data)


def recorded(one: Slo, windows: dict[str, list[Window]], period: str) -> list[dict[str, Any]]:
    """In this order in one group: each rule sees what those above it have just written."""
    error, total = one.query("error", "5m"), one.query("total", "5m")
    rules = [
        rule("slo:sli_events:rate5m", total, one.labels),
        rule("slo:sli_error_events:rate5m", f"({error})\nor 0 * ({total})", one.labels),
    ]
    pairs = [pair for severity in one.data["severities"] for pair in windows[severity]]
    spans = {span for pair in pairs for span in (pair.long, pair.short)} | {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}
    for span in sorted(spans, key=seconds):
        rules.append(rule(f"slo:sli_error:ratio_rate{span}", ratio(one, span), one.labels | {"sloth_window": span}))
    for span in sorted({pair.long for pair in pairs}, key=seconds):
        # A sum, because an average would take the first bad minute of a new site for a bad day
        expr = f"sum_over_time(slo:sli_error_events:rate5m{one.selector}[{span}]) * {INTERVAL}"
        rules.append(rule(f"slo:sli_error_events:increase{span}", expr, one.labels))
    rules.append(rule(f"slo:sli_error:ratio_rate{period}", ratio(one, period), one.labels | {"sloth_window": period}))
    return rules


def ratio(one: Slo, span: str) -> str:
    """Bad of all events; no sample while there are no events, because 0/0 is neither good nor bad."""
    if span in RAW:
        error, total = one.query("error", span), one.query("total", span)
        return f"(({error})\nor 0 * ({total}))\n/ (({total}) > 0)"
    error, total = (f"slo:{name}:rate5m{one.selector}" for name in ("sli_error_events", "sli_events"))
    if span != "5m":
        error, total = (f"avg_over_time({series}[{span}])" for series in (error, total))
    return f"{error}\n/ ({total} > 0)"


def metadata(one: Slo, period: str) -> list[dict[str, Any]]:
    def burn(span: str) -> str:
        return (
            f"max without (sloth_window) (slo:sli_error:ratio_rate{span}{one.selector})\n"
            f"/ on (sloth_id, sloth_slo, sloth_service) group_left () slo:error_budget:ratio{one.selector}"
        )

    return [
        rule("slo:objective:ratio", f"vector({number(1 - one.budget)})", one.labels),
        rule("slo:error_budget:ratio", f"vector({number(one.budget)})", one.labels),
        rule("slo:time_period:days", f"vector({seconds(period) // 86400})", one.labels),
        rule("slo:current_burn_rate:ratio", burn("5m"), one.labels),
        rule("slo:period_burn_rate:ratio", burn(period), one.labels),
        rule("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{one.selector}", one.labels),
        rule("sloth_slo_info", "vector(1)", one.labels | {"sloth_objective": number((1 - one.budget) * 100)}),
    ]


def alerts(one: Slo, windows: dict[str, list[Window]]) -> list[dict[str, Any]]:
    return [alert(one, severity, windows[severity]) for severity in one.data["severities"]]


def alert(one: Slo, severity: str, pairs: list[Window]) -> dict[str, Any]:
    floor = one.data["floor"][severity]

    def above(span: str, pair: Window) -> str:
        series = f"slo:sli_error:ratio_rate{span}{one.selector}"
        return f"max without (sloth_window) ({series} > {number(pair.factor * one.budget)})"

    terms = [
        f"(\n  {above(pair.short, pair)}\n  and {above(pair.long, pair)}\n"
        f"  and slo:sli_error_events:increase{pair.long}{one.selector} >= {floor}\n)"
        for pair in pairs
    ]
    shorts, longs = (" or ".join(getattr(pair, key) for pair in pairs) for key in ("short", "long"))
    factors = " or ".join(number(pair.factor) for pair in pairs)
    site = "https://{{ $externalLabels.site }}/ops"
    return {
        "alert": one.data["alert"],
        "expr": "\nor\n".join(terms),
        "for": WAIT[severity],
        "keep_firing_for": STAY[severity],
        "labels": {"severity": severity, "component": one.data["component"]},
        "annotations": {
            "summary": f"{one.data['summary']}: {{{{ $value | humanizePercentage }}}}",
            "description": (
                f"{{{{ $value | humanizePercentage }}}} of the {one.data['events']} (in the last {shorts}). "
                f"Promised are at most {number(one.budget * 100)} % in 30 days; over {longs} at least {floor} of them "
                f"have used up that budget {factors} times too fast."
            ),
            "impact": one.data["impact"][severity],
            "runbook_url": f"{site}/runbooks/{one.data['alert']}",
            "dashboard_url": f"{site}/grafana/d/matchpoint-slo/slo",
        },
    }


def rule(record: str, expr: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"record": record, "expr": expr, "labels": labels}


def render(text: str) -> str:
    """rules/slo.yml. Fault."""
    slos, windows, period = read(text)
    groups = []
    for one in slos:
        name = one.name.replace("-", "_")
        # Alerts in the same group: in one of their own they would see a ratio of the evaluation before
        rules = recorded(one, windows, period) + metadata(one, period) + alerts(one, windows)
        groups.append({"name": f"slo_{name}", "interval": f"{INTERVAL}s", "rules": rules})
    return HEADER + yaml.dump({"groups": groups}, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=118)


class Dumper(yaml.SafeDumper):
    """Several lines as a block, and lists indented under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """What occurs twice is written twice: the rules are for people to read, too."""
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _block)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something would change")
    args = parser.parse_args()
    try:
        text = render(SOURCE.read_text())
    except Fault as fault:
        sys.stderr.write(f"{SOURCE.name}: {fault}\n")
        return 2
    if args.check:
        return 0 if TARGET.exists() and TARGET.read_text() == text else 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
