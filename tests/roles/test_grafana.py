"""Grafana's files, as the role writes them: under its path, with both data sources, every dashboard where it looks."""

import configparser
from pathlib import Path

import yaml
from monitoring.dashboards.build import DASHBOARDS, FOLDER

from tests.plays import ansible_play
from tests.rules.model import ROOT, role_template, role_value, role_vars

SETTINGS = {
    "grafana_external_url": "https://pong.example.com/ops/grafana/",
    "grafana_listen": "127.0.0.1:3000",
    "grafana_prometheus_url": "http://127.0.0.1:9090",
    "grafana_alertmanager_url": "http://127.0.0.1:9093",
}


def settings(**other: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(role_template("grafana", "etc/grafana/grafana.ini", **SETTINGS | other))
    return found


def test_grafana_answers_under_its_path_and_to_its_own_cookies() -> None:
    found = settings()
    assert found["server"]["root_url"] == SETTINGS["grafana_external_url"]
    assert found["server"]["serve_from_sub_path"] == "true"
    assert found["server"]["http_addr"] == "127.0.0.1"
    assert found["security"]["cookie_secure"] == "true"
    assert found["auth.anonymous"]["enabled"] == "false"


def test_without_a_path_it_serves_none() -> None:
    found = settings(grafana_external_url="http://127.0.0.1:3000/")
    assert found["server"]["serve_from_sub_path"] == "false"
    assert found["security"]["cookie_secure"] == "false"


def test_both_sources_are_there_and_know_each_other() -> None:
    text = role_template("grafana", "etc/grafana/provisioning/datasources/matchpoint.yml", **SETTINGS)
    prometheus, alertmanager = yaml.safe_load(text)["datasources"]
    assert (prometheus["type"], prometheus["url"]) == ("prometheus", SETTINGS["grafana_prometheus_url"])
    assert prometheus["isDefault"], "what the variable `datasource` of the dashboards begins with"
    assert (alertmanager["type"], alertmanager["url"]) == ("alertmanager", SETTINGS["grafana_alertmanager_url"])
    assert alertmanager["jsonData"]["implementation"] == "prometheus"
    assert prometheus["jsonData"]["alertmanagerUid"] == alertmanager["uid"]
    scrape = yaml.safe_load(role_template("prometheus", "etc/prometheus/prometheus.yml"))["global"]["scrape_interval"]
    assert prometheus["jsonData"]["timeInterval"] == scrape, "$__rate_interval is made of it"


def test_every_dashboard_is_shipped_to_where_grafana_looks() -> None:
    text = role_template("grafana", "etc/grafana/provisioning/dashboards/matchpoint.yml", **SETTINGS)
    (provider,) = yaml.safe_load(text)["providers"]
    assert provider["options"]["path"] == role_vars("grafana")["__grafana_dashboards_path"]
    assert not provider["allowUiUpdates"]
    tasks = yaml.safe_load((ROOT / "roles/grafana/tasks/configure.yml").read_text())
    (install,) = [task for task in tasks if task["name"].endswith("Install the dashboards")]
    assert "__grafana_dashboards)" in install["loop"]
    for own, added in (("", []), ("/inventory/own", ["/inventory/own/*.json"])):
        folders = {"grafana_dashboards_dir": str(FOLDER), "grafana_own_dashboards_dir": own}
        assert role_value("grafana", "__grafana_dashboards", **folders) == [f"{FOLDER}/*.json", *added]
    assert {path.stem for path in FOLDER.glob("*.json")} == set(DASHBOARDS)


def test_a_site_that_cannot_reach_the_repository_gets_all_but_grafana_and_is_told(tmp_path: Path) -> None:
    """In check mode, which must come to its end as well and leaves this machine alone."""
    extra = {"__grafana_repository": "http://127.0.0.1:1", "grafana_dashboards_dir": str(FOLDER)}
    roles = [{"import_role": {"name": "grafana"}}, {"import_role": {"name": "grafana", "tasks_from": "left_out"}}]
    told = ansible_play(tmp_path, *roles, check=True, **extra)
    assert "failed=0" in told
    assert "http://127.0.0.1:1 cannot be reached from localhost" in told
    assert "everything else is deployed. There is no Grafana yet" in told
    for name in FOLDER.glob("*.json"):
        assert f"changed: [localhost] => (item={name})" in told
