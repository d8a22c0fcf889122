"""Rules and dashboards ask for nothing that no exporter promises (monitoring/metrics.yml)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rules.contract import NEEDS, TARGET, TYPES, Series, breaches, contract
from tests.rules.model import MONITORING, ROOT, rules
from tests.rules.promql import selectors


def expressions(part: Any) -> Iterator[str]:
    """Every PromQL of a dashboard, however deep."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "expr" and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from expressions(value)


def used() -> list[tuple[str, str]]:
    """(where, PromQL) of all rules and dashboards."""
    found = [(str(rule.get("alert") or rule["record"]), str(rule["expr"])) for rule in rules()]
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        found += [(path.name, expr) for expr in expressions(json.loads(path.read_text()))]
    return found


def test_rules_and_dashboards_use_what_the_contract_has() -> None:
    found = {
        f"{where}: {breach}"
        for where, expr in used()
        for selector in selectors(expr)
        for breach in breaches(selector.name, selector.matchers)
    }
    assert not found, "\n".join(sorted(found))


def test_every_selector_names_its_metric() -> None:
    assert not [(where, expr) for where, expr in used() for selector in selectors(expr) if not selector.name]


def faults(series: Series) -> list[str]:
    found = []
    if series.type not in TYPES:
        found.append(f"has no type {series.type}")
    if series.needs not in NEEDS | {""}:
        found.append(f"cannot need {series.needs}")
    if series.labels != sorted(set(series.labels) - TARGET):
        found.append("does not name its own labels in order")
    if series.type == "counter" and series.job in {"live", "nginxlog", "web"} and not series.name.endswith("_total"):
        found.append("is named by ourselves, and not by the book")
    return [f"{series} {fault}" for fault in found]


def test_the_contract_is_well_formed() -> None:
    assert contract()
    assert not [fault for series in contract() for fault in faults(series)]


def test_the_contract_has_the_jobs_that_are_scraped() -> None:
    published = {
        line.split("job:")[1].strip(" {").split(",")[0].strip()
        for path in (ROOT / "roles").glob("*/meta/publish.yml")
        for line in path.read_text().splitlines()
        if "job:" in line
    }
    assert {"web", "live", "nginxlog"} <= published
    assert {series.job for series in contract()} - {"any", "rules", "probe"} <= published
    assert published - {series.job for series in contract()} <= {"grafana"}


@pytest.mark.parametrize(
    ("name", "matchers", "breach"),
    [
        ("nginx_log_requests_total", {"job": '="nginxlog"', "location": '="page"'}, []),
        ("nginx_log_request_seconds_bucket", {"le": '="0.5"'}, []),
        ("nginx_log_request_seconds", {}, ["nginx_log_request_seconds is not in the contract"]),
        ("nginx_up", {"status": '="500"'}, ["nginx_up has no label status in the contract"]),
        ("pg_replication_lag", {}, ["pg_replication_lag is not in the contract"]),
        ("matchpoint_build_info", {"job": '=~"web|live"'}, []),
        ("pg_up", {"job": '="valkey"'}, ["pg_up is not in the contract of job valkey"]),
    ],
)
def test_a_renamed_series_is_named(name: str, matchers: dict[str, str], breach: list[str]) -> None:
    assert breaches(name, matchers) == breach
