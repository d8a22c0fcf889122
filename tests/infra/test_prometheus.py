"""Prometheus scrapes all that the inventory has, its rules compute, and every query of the repository has an answer."""

import json
from urllib.parse import urlencode

import pytest

from tests.infra.promql import ask, metric_names
from tests.rules.model import RULES, alerts, dashboards, panels, queries, rules

testinfra_hosts = ["ansible://monitor"]
UNITS = ["prometheus.service"]

JOBS = {"node", "postgres", "valkey", "nginx", "web", "live", "prometheus", "alertmanager", "blackbox", "probe"}


def query(expr: str) -> str:
    return f"query?{urlencode({'query': expr})}"


def test_every_target_is_up(host) -> None:
    (targets,) = ask(host, "targets?state=active")
    down = [f"{one['scrapeUrl']}: {one['lastError']}" for one in targets["activeTargets"] if one["health"] != "up"]
    assert not down
    assert {one["labels"]["job"] for one in targets["activeTargets"]} == JOBS


def test_targets_are_those_of_the_inventory(host) -> None:
    (targets,) = ask(host, "targets?state=active")
    listed = 0
    for path in host.check_output("ls /etc/prometheus/targets/*.json").split():
        listed += sum(len(entry["targets"]) for entry in json.loads(host.file(path).content_string))
    assert listed == len(targets["activeTargets"])
    static = host.file("/etc/prometheus/prometheus.yml").content_string.split("scrape_configs:")[1]
    assert "static_configs" not in static


def test_every_target_names_its_host_without_a_port(host) -> None:
    (targets,) = ask(host, "targets?state=active")
    for target in targets["activeTargets"]:
        assert target["labels"]["host"], target["labels"]
        assert ":" not in target["labels"]["host"]


def test_every_probe_through_the_public_name_succeeds(host) -> None:
    (probes,) = ask(host, query("probe_success"))
    found = {(one["metric"]["probe"], one["value"][1]) for one in probes["result"]}
    assert found == {("https_home", "1"), ("https_cert", "1"), ("wss", "1")}


def test_all_rules_of_the_repository_are_loaded_and_compute(host) -> None:
    (groups,) = ask(host, "rules")
    loaded = [rule for group in groups["groups"] for rule in group["rules"]]
    assert sorted(rule["name"] for rule in loaded) == sorted(rule.get("alert") or rule["record"] for rule in rules())
    assert RULES
    assert not [f"{rule['name']}: {rule['lastError']}" for rule in loaded if rule["health"] != "ok"]


def test_every_metric_that_a_rule_or_a_panel_reads_exists(host) -> None:
    wanted = set().union(*(metric_names(rule["expr"]) for rule in rules()))
    for board in dashboards().values():
        wanted |= set().union(*(metric_names(expr) for expr in queries(board)))
    (known,) = ask(host, "label/__name__/values")
    assert not wanted - set(known), "renamed or missing metrics"


@pytest.mark.parametrize("uid", dashboards())
def test_every_panel_has_an_answer_and_the_labels_of_its_legend(host, uid: str) -> None:
    board = dashboards()[uid]
    targets = [(panel["title"], target) for panel in panels(board) for target in panel["targets"]]
    exprs = [t["expr"].replace("$__rate_interval", "1m").replace("$host", ".+") for _, t in targets]
    for (title, target), answer in zip(targets, ask(host, *(query(expr) for expr in exprs)), strict=True):
        assert answer["result"], f"{title}: {target['expr']} returns nothing"
        if "ALERTS" in target["expr"]:
            continue  # on a good day only Watchdog fires, and that is about no host
        for label in legend_labels(target["legendFormat"]):
            assert any(label in series["metric"] for series in answer["result"]), f"{title}: no label {label}"


def legend_labels(legend: str) -> list[str]:
    return [part.split("}}")[0] for part in legend.split("{{")[1:]]


def test_firing_alerts_read_well(host) -> None:
    (firing,) = ask(host, "alerts")
    assert "Watchdog" in {alert["labels"]["alertname"] for alert in firing["alerts"]}
    for alert in firing["alerts"]:
        assert "error" not in " ".join(alert["annotations"].values()).lower().split()
        assert "{{" not in str(alert["annotations"])
    assert {alert["labels"]["alertname"] for alert in firing["alerts"]} <= {alert.name for alert in alerts()}


def test_prometheus_knows_its_alertmanager(host) -> None:
    """That alerts arrive there is seen on its side: Watchdog is active in it."""
    (managers,) = ask(host, "alertmanagers")
    assert managers["activeAlertmanagers"]


def test_prometheus_listens_on_no_public_address(host) -> None:
    assert not host.socket("tcp://0.0.0.0:9090").is_listening
    assert not host.socket("tcp://:::9090").is_listening


def test_prometheus_runs_in_its_sandbox(host) -> None:
    with host.sudo():
        line = host.check_output("systemd-analyze security --no-pager prometheus.service | tail -n 1")
    assert float(line.split(":")[1].split()[0]) <= 1.2, line
