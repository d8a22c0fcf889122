"""Rules are correct, tested, and say everything that on-call needs."""

import re
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from tests.every import every
from tests.infra.promql import is_broken
from tests.rules.contract import known
from tests.rules.model import RULE_TESTS, RULES, Alert, alerts, rules, run
from tests.rules.mutants import mutants, passes, survivors
from tests.rules.promql import nodes, selectors
from tests.rules.rule_tests import cases

SCRAPE_SECONDS = 15
OVER_COUNTERS = {"rate", "increase", "irate"}
OVER_GAUGES = {"delta", "deriv", "idelta", "predict_linear"}
COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}

ALL = every(alerts())
# Those about what is; Watchdog is about nothing, and budgets belong to the site and have tests of their own
STATES = every(alert for alert in alerts() if alert.name != "Watchdog" and "slo:" not in alert.expr)


def metrics(alert: Alert) -> set[str]:
    return {selector.name for selector in selectors(alert.expr)}


def seconds(duration: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


def test_promtool_accepts_all_rules_and_finds_nothing_to_complain_about() -> None:
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(400)  # a computation of 40 s, on a machine that may do other things
def test_rules_fire_and_keep_quiet_when_they_should() -> None:
    # Go looks for memory to free when there is five times as much, 280 MB, and not twice: a sixth less to compute
    done = run("promtool", "test", "rules", *RULE_TESTS, timeout_s=380, GOGC="400")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_rules_has_its_file_of_tests() -> None:
    others = {"limits.yml", "limits-hours.yml"}
    assert {path.name for path in RULES} == {path.name for path in RULE_TESTS} - others


@pytest.mark.timeout(400)
def test_a_limit_that_is_moved_by_a_tenth_fails_a_test() -> None:
    """A sample, one mutant an alert; `make mutants-rules` moves all."""
    sample = passes([one for one in mutants() if one.path.name == "alerts-valkey.yml"])[0]
    assert len(sample) > 4
    assert not [str(one) for one in survivors(sample)]


def test_a_limit_that_no_test_knows_is_found(tmp_path: Path) -> None:
    """Of two in one pass; a value far above says little about a limit."""
    rules = [
        {"alert": name, "expr": f"{name} > 10", "for": "30s", "labels": {"severity": "page"}}
        for name in ("Loose", "Held")
    ]
    test = {
        "interval": "15s",
        "input_series": [{"series": "Loose", "values": "50x9"}, {"series": "Held", "values": "10.5x9"}],
        "promql_expr_test": [
            {
                "expr": "sum by (alertname) (ALERTS)",
                "eval_time": "2m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in ("Loose", "Held")],
            }
        ],
    }
    for folder in ("rules", "rule_tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "rules/a.yml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": rules}]}))
    (tmp_path / "rule_tests/a.yml").write_text(
        yaml.safe_dump({"rule_files": ["../rules/a.yml"], "evaluation_interval": "15s", "tests": [test]})
    )
    found = mutants([tmp_path / "rules/a.yml"])
    up = [one for one in found if one.what.endswith("* 1.1")]
    assert [one.alert for one in up] == ["Loose", "Held"]
    assert [one.alert for one in survivors(up, tmp_path)] == ["Loose"]


# What promtool was asked


@ALL
def test_alert_fires_in_a_test(alert: Alert) -> None:
    shown = [labels for case in cases() for labels in case.shows(alert.name)]
    assert shown, f"no promtool test makes {alert.name} fire"
    several = len([other for other in alerts() if other.name == alert.name]) > 1 and "slo:" not in alert.expr
    wanted = f'severity="{alert.labels["severity"]}"'
    assert not several or any(wanted in labels for labels in shown), (
        f"no promtool test tells this from the others: {alert}"
    )


@STATES
def test_alert_says_its_words_in_a_test(alert: Alert) -> None:
    """Templates fail when they are rendered, and not before."""
    assert any((alert.name, alert.labels["severity"]) in case.spoken for case in cases()), (
        f"nobody reads what {alert} says"
    )


@STATES
def test_alert_keeps_quiet_in_a_test_that_has_its_series(alert: Alert) -> None:
    """Just below its limit, or before its time has come."""
    assert any(case.is_quiet_about(alert.name) and case.hosts(metrics(alert)) for case in cases())


@STATES
def test_alert_keeps_quiet_in_a_test_where_nothing_happens_or_nothing_is_known(alert: Alert) -> None:
    own = metrics(alert) - {"up"}
    assert any(case.is_quiet_about(alert.name) and case.series and not case.knows(own) for case in cases())


@STATES
def test_alert_fires_in_a_test_of_two_hosts_and_names_the_one(alert: Alert) -> None:
    shown = [case for case in cases() if case.shows(alert.name)]
    assert any(len(case.hosts(metrics(alert))) > 1 for case in shown), "many hosts are where joins go wrong"
    hosts = {
        host for case in shown for labels in case.shows(alert.name) for host in re.findall(r'\bhost="([^"]+)"', labels)
    }
    assert hosts, "inhibition and links need the label `host`"
    assert not [host for host in hosts if ":" in host], "a host has no port"


# What it says


@ALL
def test_alert_says_what_on_call_needs(alert: Alert) -> None:
    assert alert.labels["severity"] in {"page", "ticket", "none"}
    assert alert.labels["component"]
    assert set(alert.annotations) == {"summary", "description", "impact", "runbook_url", "dashboard_url"}
    assert len(alert.annotations["summary"]) <= 105, "in places where there is one line"
    assert not re.search(r"\$value", str(alert.labels)), "a value in a label makes a new alert of every change"


@every(alert for alert in alerts() if alert.labels["severity"] == "page")
def test_impact_of_a_page_is_for_players(alert: Alert) -> None:
    """It stands on the public status page, which leaves out those that name the inside."""
    impact = alert.annotations["impact"]
    inside = r"postgres\w*|valkey|nginx|prometheus|alertmanager|grafana|dns|edges?|workers?|hosts?"
    assert impact.startswith("None") or not re.search(rf"\b({inside})\b|\$labels", impact, re.IGNORECASE)


@ALL
def test_figures_are_said_in_units(alert: Alert) -> None:
    """A ratio says per cent, a time its unit; a bare number is a count."""
    bare = re.findall(r"\{\{ *\$value *\}\}", " ".join(alert.annotations.values()))
    is_ratio = any(isinstance(node, promql.BinaryExpr) and str(node.op) == "/" for node in nodes(alert.expr))
    assert not bare or not (is_ratio or "seconds" in alert.expr)


@ALL
def test_words_of_an_alert_are_not_taken_for_a_template_that_failed(alert: Alert) -> None:
    """`make verify` reads what fires: while a budget burns that speaks of errors, and nothing is wrong with it."""
    said = [re.sub(r"\{\{.*?\}\}", "1", text) for text in alert.annotations.values()]
    assert not [text for text in said if is_broken(text)]


def test_a_template_that_failed_is_found_in_what_prometheus_says(tmp_path: Path) -> None:
    rule = {"alert": "New", "expr": "vector(1)", "annotations": {"summary": '{{ humanize "x" }}'}}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "new", "rules": [rule]}]}))
    claim = {"alertname": "New", "eval_time": "1m", "exp_alerts": [{"exp_annotations": {"summary": "x"}}]}
    test = {"rule_files": ["rules.yml"], "tests": [{"interval": "1m", "alert_rule_test": [claim]}]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = run("promtool", "test", "rules", tmp_path / "test.yml")
    assert done.returncode != 0
    assert is_broken(done.stdout + done.stderr), done.stdout + done.stderr


# How it asks


@STATES
def test_alert_waits_for_a_second_scrape(alert: Alert) -> None:
    assert seconds(alert.wait) >= 2 * SCRAPE_SECONDS, "one failed scrape must not call anybody"
    assert alert.labels["severity"] != "page" or seconds(alert.wait) <= 1200, "what can wait that long is a ticket"


@ALL
def test_alert_compares(alert: Alert) -> None:
    """Without a comparison every series would be an alert, whatever its value."""
    operators = {str(node.op) for node in nodes(alert.expr) if isinstance(node, promql.BinaryExpr)}
    assert alert.name == "Watchdog" or operators & COMPARISONS


@ALL
def test_windows_have_four_scrapes(alert: Alert) -> None:
    short = [str(one) for one in selectors(alert.expr) if one.seconds and one.seconds < 4 * SCRAPE_SECONDS]
    assert not short


@every(rules(), name=lambda rule: str(rule.get("alert") or rule["record"]))
def test_rates_are_of_counters_and_trends_of_gauges(rule) -> None:
    for selector in selectors(str(rule["expr"])):
        types = {series.type for series in known().get(selector.name, [])}
        if set(selector.inside) & OVER_COUNTERS:
            assert types <= {"counter", "histogram", "summary", "untyped"}, f"{selector} falls as well"
        elif set(selector.inside) & OVER_GAUGES:
            assert types <= {"gauge"}, f"{selector} starts at 0 with each process"
        elif types == {"counter"}:
            assert set(selector.inside) & {"changes", "resets", "count", "group", "absent"}, (
                f"{selector} only ever grows"
            )


@STATES
def test_alert_keeps_the_host(alert: Alert) -> None:
    """What is summed over hosts may only be compared with, and says so by `on`."""
    aggregations = [node for node in nodes(alert.expr) if isinstance(node, promql.AggregateExpr)]
    kept = [node.modifier.labels if node.modifier is not None else [] for node in aggregations]
    assert all("host" in labels or " on (" in alert.expr for labels in kept)
    assert not kept or any("host" in labels for labels in kept)


@ALL
def test_alert_that_misses_something_waits_for_it(alert: Alert) -> None:
    """After its start Prometheus knows of nothing for a while."""
    asks = [node for node in nodes(alert.expr) if isinstance(node, promql.Call) and "absent" in node.func.name]
    assert not asks or seconds(alert.wait) >= 8 * SCRAPE_SECONDS


def test_recorded_names_say_level_metric_and_operation() -> None:
    others = {"sloth_slo_info"}  # sloth's names for objectives are others' to choose
    for rule in rules():
        if "record" in rule and rule["record"] not in others:
            assert re.fullmatch(r"[a-z_]+:[a-zA-Z0-9_]+:[a-z0-9_]+", rule["record"]), rule["record"]


def test_names_are_not_recorded_twice_and_alerts_read_raw_series() -> None:
    recorded = [(rule["record"], str(rule.get("labels"))) for rule in rules() if "record" in rule]
    assert len(recorded) == len(set(recorded))
    # Those about objectives read what their own group has recorded just before
    names = {name for name, _ in recorded if not name.startswith("slo:")}
    for alert in alerts():
        assert not [name for name in names if name in alert.expr], f"{alert} would lag behind a recording rule"
