"""Objectives are data; what is made of them is committed, and nonsense in them is refused with its place."""

import re

import pytest
import yaml
from monitoring import slos

from tests.rules.model import alerts

TEXT = slos.SOURCE.read_text()


def changed(name: str, **values: object) -> str:
    """slos.yml with one objective changed."""
    data = yaml.safe_load(TEXT)
    next(one for one in data["slos"] if one["name"] == name).update(values)
    return yaml.safe_dump(data)


def test_committed_rules_are_what_the_objectives_make() -> None:
    assert slos.TARGET.read_text() == slos.render(TEXT), "run: python -m monitoring.slos"


def test_every_objective_has_the_series_that_dashboards_of_sloth_read() -> None:
    groups = yaml.safe_load(slos.render(TEXT))["groups"]
    windows = {"5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"}
    for one, group in zip(yaml.safe_load(TEXT)["slos"], groups, strict=True):
        recorded = {rule["record"]: rule["labels"] for rule in group["rules"] if "record" in rule}
        assert {f"slo:sli_error:ratio_rate{window}" for window in windows} <= set(recorded)
        assert {
            "slo:objective:ratio",
            "slo:error_budget:ratio",
            "slo:time_period:days",
            "slo:current_burn_rate:ratio",
            "slo:period_burn_rate:ratio",
            "slo:period_error_budget_remaining:ratio",
            "sloth_slo_info",
        } <= set(recorded)
        for name, labels in recorded.items():
            assert labels["sloth_id"] == f"matchpoint-{one['name']}"
            assert labels["sloth_service"] == "matchpoint"
            assert labels["sloth_slo"] == one["name"]
            window = name.removeprefix("slo:sli_error:ratio_rate")
            assert (labels.get("sloth_window") == window) if window in windows else "sloth_window" not in labels


def test_numbers_are_written_as_people_write_them() -> None:
    assert not re.search(r"\d\.\d{6,}", slos.render(TEXT)), "the noise of a binary fraction"


def test_every_burn_is_told_of_as_the_objective_says() -> None:
    wanted = {(one["alert"], severity) for one in yaml.safe_load(TEXT)["slos"] for severity in one["severities"]}
    assert {(one.name, one.labels["severity"]) for one in alerts() if one.name.endswith("Burn")} == wanted
    for one in alerts():
        if one.name.endswith("Burn"):
            assert one.expr.count(">= ") == one.expr.count("\nor\n") + 1, "every pair of windows has its floor"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"objective": 90}, "objective page-latency: 14.4 times a budget of 0.1 is 1.44, and no more than 1"),
        ({"objective": 100}, "objective page-latency: objective is 100, it must be between 0 and 100 percent"),
        ({"error": "sum(rate(x[5m]))"}, r"objective page-latency: every range of `error` must be \[{window}\]"),
        ({"total": "sum(x)"}, r"objective page-latency: every range of `total` must be \[{window}\]"),
        ({"floor": {"page": 0, "ticket": 1}}, "objective page-latency: floor.page must be at least 1"),
        ({"severities": ["shout"]}, "objective page-latency: there is no severity shout; there are page, ticket"),
        ({"impact": {"ticket": "x"}}, "objective page-latency: impact.page is missing"),
        ({"alert": "PageAvailabilityBurn"}, "two objectives have the alert PageAvailabilityBurn"),
        ({"colour": "red"}, "objective page-latency: colour is missing or unknown"),
    ],
)
def test_nonsense_is_refused_with_its_place(values: dict, told: str) -> None:
    base = {"severities": ["page", "ticket"], "floor": {"page": 1, "ticket": 1}, "impact": {"page": "x", "ticket": "x"}}
    with pytest.raises(slos.Fault, match=told):
        slos.render(changed("page-latency", **(base | values)))


def test_windows_that_do_not_grow_are_refused() -> None:
    with pytest.raises(slos.Fault, match="1h, 30m and the period of 30d must get longer"):
        slos.render(TEXT.replace("{long: 6h, short: 30m", "{long: 30m, short: 1h"))
    with pytest.raises(slos.Fault, match="'90s' is no duration"):
        slos.render(TEXT.replace("short: 5m", "short: 90s"))
