"""Alertmanager sends each alert to whom it concerns, and says everything in the mail."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.rules.model import TEMPLATES, Alert, alerts, role_template, role_vars, run

RECEIVERS = {"page": "page", "ticket": "ticket", "none": "deadman"}
URL = "http://world.example.com:8080/"


@pytest.fixture(scope="module")
def config() -> dict:
    text = role_template(
        "alertmanager",
        "etc/prometheus/alertmanager.yml",
        alertmanager_site="pong.example.com",
        alertmanager_smtp_url="smtp://ops:secret@mail.example.com:587",
        alertmanager_pager_url=f"{URL}pager",
        alertmanager_deadman_url=f"{URL}deadman",
    )
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def config_path(config: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration for the amtool of the control machine, which may be older than the hosts': it knows webhooks by
    `url` only, without a `timeout`. On the hosts the role has their own amtool check it as it is."""
    older = json.loads(json.dumps(config))
    for receiver in older["receivers"]:
        for webhook in receiver.get("webhook_configs", []):
            assert webhook.pop("url_file")
            assert webhook.pop("timeout")
            webhook["url"] = URL
    older["templates"] = []
    path = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yml"
    path.write_text(yaml.safe_dump(older))
    return path


def test_amtool_accepts_the_configuration(config_path: Path) -> None:
    done = run("amtool", "check-config", config_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", alerts(), ids=str)
def test_alert_reaches_its_receiver_and_no_other(alert: Alert, config_path: Path) -> None:
    receiver = RECEIVERS[alert.labels["severity"]]
    labels = [f"{key}={value}" for key, value in alert.labels.items()]
    done = run(
        "amtool", "config", "routes", "test", f"--config.file={config_path}", f"--verify.receivers={receiver}",
        f"alertname={alert.name}", "host=mp1", *labels,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_that_nobody_thought_of_becomes_a_ticket(config_path: Path) -> None:
    done = run("amtool", "config", "routes", "test", f"--config.file={config_path}", "alertname=New", "severity=odd")
    assert done.stdout.strip() == "ticket"


def test_pages_go_to_the_pager_and_by_mail_and_resolve(config: dict) -> None:
    page = next(receiver for receiver in config["receivers"] if receiver["name"] == "page")
    assert page["email_configs"][0]["send_resolved"]
    assert page["webhook_configs"][0]["send_resolved"]


def test_without_a_pager_pages_still_come_by_mail() -> None:
    text = role_template("alertmanager", "etc/prometheus/alertmanager.yml")
    receivers = {receiver["name"]: receiver for receiver in yaml.safe_load(text)["receivers"]}
    assert "webhook_configs" not in receivers["page"]
    assert receivers["page"]["email_configs"]
    assert list(receivers["deadman"]) == ["name"], "a heartbeat to nowhere is dropped"


def test_no_secret_stands_in_the_configuration(config: dict) -> None:
    assert "secret" not in yaml.safe_dump(config).replace("/etc/prometheus/alertmanager-secrets/", "")
    assert URL not in yaml.safe_dump(config)
    assert config["global"]["smtp_require_tls"]
    assert config["global"]["smtp_auth_username"] == "ops"


@pytest.mark.parametrize(
    ("url", "smarthost", "starttls", "user"),
    [
        ("smtp://relay.example.com:25", "relay.example.com:25", False, None),
        ("smtp+tls://o%40x:s@relay.example.com:2525", "relay.example.com:2525", True, "o@x"),
        ("smtp+ssl://o+1:s@relay.example.com:465", "relay.example.com:465", False, "o+1"),
    ],
)
def test_mail_goes_to_the_relay_as_its_address_says(url: str, smarthost: str, starttls: bool, user: str | None) -> None:
    text = role_template("alertmanager", "etc/prometheus/alertmanager.yml", alertmanager_smtp_url=url)
    told = yaml.safe_load(text)["global"]
    assert (told["smtp_smarthost"], told["smtp_require_tls"]) == (smarthost, starttls)
    assert told.get("smtp_auth_username") == user


def seconds(duration: str) -> int:
    return sum(int(n) * {"s": 1, "m": 60, "h": 3600}[unit] for n, unit in re.findall(r"(\d+)([smh])", duration))


def test_a_down_service_pages_within_two_minutes_in_the_worst_case(config: dict) -> None:
    route = next(route for route in config["route"]["routes"] if route["receiver"] == "page")
    scrape_and_evaluation = 15 + 15
    # The last is what an Alertmanager waits for another one that has just died
    behind_a_dead_peer = seconds(role_vars("alertmanager")["__alertmanager_peer_timeout"])
    in_alertmanager = max(seconds(route["group_wait"]), seconds(route["group_interval"])) + behind_a_dead_peer
    for alert in alerts():
        if alert.name.endswith("Down") and alert.labels["severity"] == "page":
            assert scrape_and_evaluation + seconds(alert.wait) + in_alertmanager <= 120, alert.name


def test_heartbeat_repeats_before_its_group_comes_round_again(config: dict) -> None:
    route = next(route for route in config["route"]["routes"] if route["receiver"] == "deadman")
    assert seconds(route["repeat_interval"]) < seconds(route["group_interval"]) <= 60


def test_inhibition_compares_labels_that_both_sides_have(config: dict) -> None:
    by_name: dict[str, set[str]] = {}
    for alert in alerts():
        result = re.split(r"\b(?:unless|and on)\b", alert.expr)[0]
        in_expression = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"by \(([^)]*)\)", result))))
        kept = in_expression or {"host", "job", "instance", "target"}  # a bare series keeps its target's labels
        by_name[alert.name] = set(alert.labels) | kept
    for rule in config["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            named = next(matcher for matcher in rule[side] if matcher.startswith("alertname"))
            for name in set(re.findall(r"[A-Z][A-Za-z]+", named)):
                assert name in by_name, f"{name} in inhibition is no alert"
                if "!" not in named:
                    assert set(rule.get("equal", [])) <= by_name[name], f"{name} lacks a label of {rule['equal']}"


def test_no_ticket_holds_a_page_back(config: dict) -> None:
    severities: dict[str, set[str]] = {}
    for alert in alerts():
        severities.setdefault(alert.name, set()).add(alert.labels["severity"])
    for rule in config["inhibit_rules"]:
        sources, targets = (
            {name for matcher in rule[side] if "!" not in matcher for name in re.findall(r"[A-Z][A-Za-z]+", matcher)}
            for side in ("source_matchers", "target_matchers")
        )
        if "severity = page" not in rule["source_matchers"] and any("ticket" in severities[name] for name in sources):
            only_tickets = "severity = ticket" in rule["target_matchers"]
            assert only_tickets or all(severities[name] == {"ticket"} for name in targets), rule


def test_a_webhook_is_given_up_before_another_alertmanager_sends_as_well(config: dict) -> None:
    webhooks = [webhook for receiver in config["receivers"] for webhook in receiver.get("webhook_configs", [])]
    assert webhooks
    for webhook in webhooks:
        assert seconds(webhook["timeout"]) <= seconds(role_vars("alertmanager")["__alertmanager_peer_timeout"])


@pytest.mark.parametrize(("dashboards", "wanted"), [(True, "https://pong.example.com/d"), (False, "Grafana is off")])
def test_mail_leads_to_the_runbook_and_a_silence(dashboards: bool, wanted: str, tmp_path: Path) -> None:
    site = tmp_path / "site.tmpl"
    site.write_text(
        role_template(
            "alertmanager", "etc/prometheus/alertmanager_templates/site.tmpl", alertmanager_link_dashboards=dashboards
        )
    )
    ours = tmp_path / TEMPLATES[0].name
    ours.write_text(TEMPLATES[0].read_text())
    alert = {
        "status": "firing",
        "labels": {"alertname": "PostgresDown", "host": "db1", "severity": "page"},
        "annotations": {
            "summary": 'PostgreSQL is down on <db1> & "more" äöü',
            "description": "It refuses.",
            "impact": "Nobody can sign in.",
            "runbook_url": "https://pong.example.com/ops/runbooks/PostgresDown",
            "dashboard_url": "https://pong.example.com/d",
        },
        "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": "2026-01-02T03:14:05Z",
    }
    data = tmp_path / "data.json"
    data.write_text(
        json.dumps(
            {
                "receiver": "page",
                "status": "firing",
                "alerts": [alert] * 7,
                "commonLabels": {"severity": "page"},
                "externalURL": "https://pong.example.com/ops/alertmanager",
            }
        )
    )

    def render(text: str) -> str:
        done = run(
            "amtool", "template", "render", f"--template.glob={tmp_path}/*.tmpl", f"--template.data={data}",
            f"--template.text={text}",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert render('{{ template "matchpoint.subject" . }}').startswith("[PAGE] PostgreSQL is down on")
    assert "(and 6 more)" in render('{{ template "matchpoint.subject" . }}')
    text = render('{{ template "matchpoint.text" . }}')
    for part in (
        "Nobody can sign in.",
        "Since:      2026-01-02 03:04:05 UTC",
        "https://pong.example.com/ops/runbooks/PostgresDown",
        "silence add",
        "alertname=PostgresDown host=db1",
        "And more:",
        wanted,
    ):
        assert part in text, text
