"""Prometheus scrapes all that the inventory has, and its rules compute."""

from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from tests.conftest import left
from tests.infra.promql import ask, is_broken
from tests.rules.model import RULES, alerts, rules

testinfra_hosts = ["ansible://monitor"]
UNITS = ["prometheus.service"]

SCRAPES_SECONDS = 45  # one that went wrong on a busy machine is followed by two more


def query(expr: str) -> str:
    return f"query?{urlencode({'query': expr})}"


def test_every_target_is_up(host) -> None:
    def down() -> list[str]:
        (targets,) = ask(host, "targets?state=active")
        return [f"{one['scrapeUrl']}: {one['lastError']}" for one in targets["activeTargets"] if one["health"] != "up"]

    assert not left(down, within_s=SCRAPES_SECONDS, every_s=2)


def test_targets_are_those_of_the_inventory_whichever_prometheus_is_asked(host, facts) -> None:
    (targets,) = ask(host, "targets?state=active")
    found = [one["labels"] for one in targets["activeTargets"]]
    services = sorted((one["job"], one["instance"]) for one in found if one["job"] != "probe")
    assert services == sorted(
        (target["job"], f"{target['host']}:{port}") for target in facts["scrape_targets"] for port in target["ports"]
    )
    edges = facts["tiers"]["edge"]
    wanted = {
        (probe["probe"], probe["host"], probe.get("worker"), edge)
        for probe in facts["site_probes"]
        for edge in (
            edges if probe["probe"] == "wss" else [None] if probe["probe"] == "https_name" else [probe["host"]]
        )
    }
    probes = [one for one in found if one["job"] == "probe"]
    assert {(one["probe"], one["host"], one.get("worker"), one.get("edge")) for one in probes} == wanted
    assert len(probes) == len(wanted)


def test_every_target_names_its_host_without_a_port(host) -> None:
    (targets,) = ask(host, "targets?state=active")
    for target in targets["activeTargets"]:
        assert target["labels"]["host"], target["labels"]
        assert ":" not in target["labels"]["host"]


def test_every_probe_succeeds(host, facts) -> None:
    (probes,) = ask(host, query("probe_success"))
    kinds = {"https_home", "https_name", "https_status", "https_cert", "wss"}
    assert {one["metric"]["probe"] for one in probes["result"]} == kinds
    assert [one["metric"] for one in probes["result"] if one["value"][1] != "1"] == []


def test_all_rules_of_the_repository_are_loaded_and_compute(host) -> None:
    groups, runtime = ask(host, "rules", "status/runtimeinfo")
    own = [group for group in groups["groups"] if group["name"] != "expected"]  # the inventory's, by the role
    assert len(own) == len(groups["groups"]) - 1
    loaded = [rule | {"interval": group["interval"]} for group in own for rule in group["rules"]]
    assert sorted(rule["name"] for rule in loaded) == sorted(rule.get("alert") or rule["record"] for rule in rules())
    assert RULES
    # A group's first evaluation comes somewhere within its interval, which is minutes for some
    runs_s = (datetime.now(UTC) - datetime.fromisoformat(runtime["startTime"])).total_seconds()
    due = [rule for rule in loaded if rule["health"] != "unknown" or runs_s > 2 * rule["interval"]]
    assert not [f"{rule['name']}: {rule.get('lastError')}" for rule in due if rule["health"] != "ok"]
    assert "ok" in {rule["health"] for rule in due}


def test_firing_alerts_read_well(host) -> None:
    (firing,) = ask(host, "alerts")
    assert "Watchdog" in {alert["labels"]["alertname"] for alert in firing["alerts"]}
    for alert in firing["alerts"]:
        assert not [text for text in alert["annotations"].values() if is_broken(text)]
    assert {alert["labels"]["alertname"] for alert in firing["alerts"]} <= {alert.name for alert in alerts()}


def test_prometheus_sends_to_every_alertmanager(host, facts, public) -> None:
    """That alerts arrive there is seen on their side: Watchdog is active in each."""
    (managers,) = ask(host, "alertmanagers")
    asked = {urlsplit(one["url"]).netloc for one in managers["activeAlertmanagers"]}
    assert asked == {public.hosts[name]["alertmanager_listen"] for name in facts["tiers"]["monitor"]}


def test_prometheus_is_a_replica_where_there_are_two(host, facts) -> None:
    (config,) = ask(host, "status/config")
    several = len(facts["tiers"]["monitor"]) > 1
    assert (f"replica: {facts['host_links']['name']}" in config["yaml"]) == several


def test_prometheus_listens_on_loopback_only(host, facts) -> None:
    assert host.socket(f"tcp://{facts['prometheus_listen']}").is_listening
    lines = host.check_output("ss -Hltn 'sport = :9090'").splitlines()
    assert all(line.split()[3].startswith(("127.", facts["host_private_address"])) for line in lines)


def test_the_command_of_the_runbooks_asks_it(host) -> None:
    assert "=> 1" in host.check_output("matchpoint-query 'max(up)'")
