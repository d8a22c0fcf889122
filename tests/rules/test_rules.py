"""Rules are correct, tested, and say everything that on-call needs."""

import re

import pytest
import yaml

from tests.rules.model import RULE_TESTS, RULES, Alert, alerts, rules, run


def test_promtool_accepts_all_rules_and_finds_nothing_to_complain_about() -> None:
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_fire_and_keep_quiet_when_they_should(path) -> None:
    done = run("promtool", "test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_rules_has_its_file_of_tests() -> None:
    assert [path.name for path in RULES] == [path.name for path in RULE_TESTS]


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_alert_is_tested_firing_with_all_that_it_says_or_by_its_series(alert: Alert) -> None:
    tests = [test for path in RULE_TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    text = yaml.safe_dump(tests)
    fires = re.search(rf'ALERTS\{{alertname="{alert.name}"[^}}]*firing', text) or any(
        case["alertname"] == alert.name and case.get("exp_alerts")
        for test in tests
        for case in test.get("alert_rule_test", [])
    )
    assert fires, f"no promtool test makes {alert.name} fire"


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_alert_says_what_on_call_needs(alert: Alert) -> None:
    assert alert.labels["severity"] in {"page", "ticket", "none"}
    assert alert.labels["component"]
    assert set(alert.annotations) == {"summary", "description", "impact", "runbook_url", "dashboard_url"}
    assert len(alert.annotations["summary"]) <= 90
    assert not re.search(r"\$value", str(alert.labels)), "a value in a label makes a new alert of every change"


@pytest.mark.parametrize("alert", [alert for alert in alerts() if alert.name != "Watchdog"], ids=str)
def test_alert_waits_for_a_second_scrape_and_names_a_host(alert: Alert) -> None:
    assert alert.wait, "one failed scrape must not call anybody"
    aggregations = re.findall(r"\bby \(([^)]*)\)", alert.expr)
    assert not aggregations or any("host" in by for by in aggregations), "inhibition and links need the label `host`"


def test_recorded_names_say_level_metric_and_operation() -> None:
    for rule in rules():
        if "record" in rule and rule["record"] != "sloth_slo_info":  # sloth's names for objectives are others' to choose
            assert re.fullmatch(r"[a-z_]+:[a-zA-Z0-9_]+:[a-z0-9_]+", rule["record"]), rule["record"]


def test_names_are_not_recorded_twice_and_alerts_read_raw_series() -> None:
    recorded = [(rule["record"], str(rule.get("labels"))) for rule in rules() if "record" in rule]
    assert len(recorded) == len(set(recorded))
    # Those about objectives read what their own group has recorded just before
    names = {name for name, _ in recorded if not name.startswith("slo:")}
    for alert in alerts():
        assert not [name for name in names if name in alert.expr], f"{alert} would lag behind a recording rule"
