"""Every alert reaches whom it concerns and nobody else, and what explains others holds them back."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.every import every
from tests.rules.alertmanager import Alertmanager, deployed, running, wait_for
from tests.rules.model import Alert, alerts, role_template, role_vars, run

# Who is told of each alert, by severity. A new alert needs its line.
EXPECTED: dict[str, dict[str, str]] = yaml.safe_load((Path(__file__).parent / "routes.yml").read_text())
URL = "http://world.example.com:8080/"
SETTINGS = {
    "alertmanager_site": "pong.example.com",
    "alertmanager_smtp_url": "smtp://ops:secret@mail.example.com:587",
    "alertmanager_receivers": [
        {"type": "email", "to": "ops@example.com"},
        {"type": "webhook", "url": f"{URL}pager", "for": ["page"]},
    ],
    "alertmanager_deadman_url": f"{URL}deadman",
}


def rendered(**settings: Any) -> dict[str, Any]:
    return yaml.safe_load(role_template("alertmanager", "etc/prometheus/alertmanager.yml", **settings))


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return rendered(**SETTINGS)


@pytest.fixture(scope="module")
def config_path(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alertmanager") / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config | {"templates": []}))
    return path


def routed(config_path: Path, **labels: str) -> list[str]:
    """The receivers of an alert with these labels, as Alertmanager's own tool says."""
    pairs = [f"{key}={value}" for key, value in labels.items()]
    done = run("amtool", "config", "routes", "test", f"--config.file={config_path}", *pairs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().split(",")


def test_amtool_accepts_the_configuration(config_path: Path) -> None:
    done = run("amtool", "check-config", config_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_expected_somewhere() -> None:
    written: dict[str, set[str]] = {}
    for alert in alerts():
        written.setdefault(alert.name, set()).add(alert.labels["severity"])
    assert {name: set(lines) for name, lines in EXPECTED.items()} == written, (
        "tests/rules/routes.yml has a line an alert"
    )


@every(alerts())
def test_alert_reaches_its_receiver_and_no_other(alert: Alert, config_path: Path) -> None:
    wanted = EXPECTED.get(alert.name, {}).get(alert.labels["severity"], "nobody: add a line to tests/rules/routes.yml")
    labels = {"alertname": alert.name, "host": "mp1", "integration": "webhook", "receiver_name": "page"} | alert.labels
    assert routed(config_path, **labels) == [wanted]


def test_nothing_but_the_heartbeat_goes_to_the_dead_man(config_path: Path) -> None:
    assert [name for name, lines in EXPECTED.items() if "deadman" in lines.values()] == ["Watchdog"]
    assert routed(config_path, alertname="Watchdog", severity="none") == ["deadman"]


def test_an_alert_that_nobody_thought_of_becomes_a_ticket(config_path: Path) -> None:
    assert routed(config_path, alertname="New", severity="odd") == ["ticket"]


@pytest.mark.parametrize("integration", ["email", "webhook"])
def test_failing_deliveries_are_told_of_by_another_way(integration: str, config: dict, config_path: Path) -> None:
    labels = {
        "alertname": "AlertDeliveryFailing",
        "severity": "page",
        "integration": integration,
        "receiver_name": "page",
    }
    (name,) = routed(config_path, **labels)
    receiver = next(receiver for receiver in config["receivers"] if receiver["name"] == name)
    ways = {key for key in receiver if key.endswith("_configs")}
    assert ways == {"email_configs", "webhook_configs"} - {f"{integration}_configs"}


def test_a_heartbeat_that_does_not_get_out_is_told_of_by_the_pager(config_path: Path) -> None:
    labels = {"alertname": "AlertDeliveryFailing", "severity": "page", "integration": "webhook"}
    assert routed(config_path, **labels, receiver_name="deadman") == ["page"]


def test_pages_go_to_the_pager_and_by_mail_and_resolve(config: dict) -> None:
    page = next(receiver for receiver in config["receivers"] if receiver["name"] == "page")
    assert page["email_configs"][0]["send_resolved"]
    assert page["webhook_configs"][0]["send_resolved"]


def test_without_a_pager_pages_still_come_by_mail() -> None:
    receivers = {receiver["name"]: receiver for receiver in rendered()["receivers"]}
    assert "webhook_configs" not in receivers["page"]
    assert receivers["page"]["email_configs"]
    assert receivers["without-email"]["email_configs"], "the only way is better than none"
    assert list(receivers["deadman"]) == ["name"], "a heartbeat to nowhere is dropped"


def test_only_a_page_that_nobody_notices_waits_for_the_morning(config: dict, tmp_path: Path) -> None:
    waiting = [route["matchers"] for route in config["route"]["routes"] if "mute_time_intervals" in route]
    assert waiting == [["severity = page", "alertname = BackupTooOld"]]
    (night,) = config["time_intervals"]
    hours = [(times["start_time"], times["end_time"]) for one in night["time_intervals"] for times in one["times"]]
    assert hours == [("00:00", "07:00"), ("21:00", "24:00")]
    about = next(alert for alert in alerts() if alert.name == "BackupTooOld" and alert.labels["severity"] == "page")
    assert about.annotations["impact"].startswith("None yet")
    always = rendered(alertmanager_nights=[])
    assert "time_intervals" not in always
    assert not [route for route in always["route"]["routes"] if "mute_time_intervals" in route]


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
    told = rendered(alertmanager_smtp_url=url)["global"]
    assert (told["smtp_smarthost"], told["smtp_require_tls"]) == (smarthost, starttls)
    assert told.get("smtp_auth_username") == user


# Timing


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


def test_tickets_can_be_given_another_pace_and_pages_cannot() -> None:
    usual, quick = rendered(), rendered(alertmanager_ticket_pace={"group_wait": "5s"})
    assert quick["route"].pop("group_wait") == "5s"
    assert usual["route"].pop("group_wait") == "2m"
    assert quick == usual


def test_a_webhook_is_given_up_before_another_alertmanager_sends_as_well(config: dict) -> None:
    webhooks = [webhook for receiver in config["receivers"] for webhook in receiver.get("webhook_configs", [])]
    assert webhooks
    for webhook in webhooks:
        assert seconds(webhook["timeout"]) <= seconds(role_vars("alertmanager")["__alertmanager_peer_timeout"])


# Inhibition


def kept_labels() -> dict[str, set[str]]:
    """The labels that alerts have, by name: their own, and those that their expressions keep."""
    found: dict[str, set[str]] = {}
    for alert in alerts():
        result = re.split(r"\b(?:unless|and on)\b", alert.expr)[0]
        by = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"by \(([^)]*)\)", result))))
        kept = by or {"host", "job", "instance", "target", "name", "worker"}  # a bare series keeps its target's labels
        if "sloth_id" in alert.expr:
            kept |= {"sloth_id", "alertname"}
        found.setdefault(alert.name, set()).update(alert.labels, kept, {"alertname"})
    return found


def names(matchers: list[str]) -> set[str]:
    return {
        name for matcher in matchers if re.match(r"alertname =", matcher) for name in re.findall(r"[A-Z]\w+", matcher)
    }


def rules() -> list[dict[str, Any]]:
    return rendered(**SETTINGS)["inhibit_rules"]


def title(rule: dict[str, Any]) -> str:
    return "-".join(min(names(rule[side]), default="any") for side in ("source_matchers", "target_matchers"))


@every(rules(), name=title)
def test_inhibition_is_between_alerts_that_exist_and_compares_labels_of_both(rule: dict) -> None:
    by_name = kept_labels()
    for side in ("source_matchers", "target_matchers"):
        for name in names(rule[side]):
            assert name in by_name, f"{name} in inhibition is no alert"
            assert set(rule.get("equal", [])) <= by_name[name], f"{name} lacks a label of {rule['equal']}"


@every(rules(), name=title)
def test_no_ticket_holds_a_page_back(rule: dict) -> None:
    severities: dict[str, set[str]] = {}
    for alert in alerts():
        severities.setdefault(alert.name, set()).add(alert.labels["severity"])
    sources, targets = names(rule["source_matchers"]), names(rule["target_matchers"])
    if "severity = page" not in rule["source_matchers"] and any("ticket" in severities[name] for name in sources):
        only_tickets = "severity = ticket" in rule["target_matchers"]
        assert only_tickets or all(severities[name] == {"ticket"} for name in targets), rule


def matching(matchers: list[str]) -> dict[str, str]:
    """Labels that these matchers take."""
    labels = {}
    for matcher in matchers:
        found = re.fullmatch(r'(\w+) (=~|=|!=) "?([^"]*)"?', matcher)
        assert found, matcher
        name, kind, value = found.groups()
        labels[name] = {"=": value, "=~": value.split("|")[0].replace(".*", "-1"), "!=": "Other"}[kind]
    return labels


def firing(labels: dict[str, str], *, ended: bool = False) -> dict[str, Any]:
    now = datetime.now(UTC)
    ends = now - timedelta(seconds=1) if ended else now + timedelta(hours=1)
    return {"labels": labels, "startsAt": (now - timedelta(minutes=1)).isoformat(), "endsAt": ends.isoformat()}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """With the real inhibitions, and nobody to tell."""
    folder = tmp_path_factory.mktemp("inhibition")
    config = deployed(folder, **SETTINGS)
    config |= {"receivers": [{"name": "nobody"}], "route": {"receiver": "nobody"}}
    with running(config, folder) as one:
        yield one


def held_back(manager: Alertmanager, labels: dict[str, str]) -> bool | None:
    """None when there is no such alert."""
    for alert in manager.get("alerts"):
        if alert["labels"] == labels:
            return bool(alert["status"]["inhibitedBy"])
    return None


@pytest.mark.parametrize("rule", rules(), ids=title)
def test_a_cause_holds_back_what_it_explains_and_gives_it_free_again(rule: dict, manager: Alertmanager) -> None:
    source, target = ({"alertname": "Any", **matching(rule[side])} for side in ("source_matchers", "target_matchers"))
    for label in rule.get("equal", []):
        source.setdefault(label, "same")
        target[label] = source[label]
    manager.send(firing(target))
    wait_for(lambda: held_back(manager, target) is False, f"{target} alone")
    manager.send(firing(source))
    wait_for(lambda: held_back(manager, target), f"{source} to hold back {target}")
    for label in set(rule.get("equal", [])) - {"alertname"}:
        stranger = target | {label: "another"}
        manager.send(firing(stranger))
        wait_for(lambda stranger=stranger: held_back(manager, stranger) is not None, "the stranger")
        assert held_back(manager, stranger) is False, f"{source} holds back {stranger}"
        manager.send(firing(stranger, ended=True))
    manager.send(firing(source, ended=True))
    wait_for(lambda: held_back(manager, target) is False, f"{target} to come free")
    manager.send(firing(target, ended=True))
    wait_for(lambda: held_back(manager, target) is None, f"{target} to end")


def test_matches_that_fail_are_told_of_whatever_happens_to_one_edge_or_one_disk(manager: Alertmanager) -> None:
    page = {"alertname": "CanaryFailing", "severity": "page", "host": "app1"}
    elsewhere = [
        {"alertname": "NginxDown", "severity": "page", "host": "edge1"},
        {"alertname": "HostFilesystemReadOnly", "severity": "page", "host": "mon2"},
    ]
    manager.send(*map(firing, [page, *elsewhere]))
    wait_for(lambda: all(held_back(manager, one) is not None for one in [page, *elsewhere]), "all of them")
    assert held_back(manager, page) is False
    manager.send(*(firing(one, ended=True) for one in [page, *elsewhere]))
    wait_for(lambda: held_back(manager, page) is None, "their end")


def test_nothing_holds_back_what_players_notice(manager: Alertmanager) -> None:
    causes = [{"job": "node", "host": "mp1", "mountpoint": "/"} | {"alertname": name, "severity": severity}
              for name, lines in EXPECTED.items() for severity in lines]  # fmt: skip
    manager.send(*map(firing, causes))
    wait_for(lambda: held_back(manager, causes[-1]) is not None, "everything at once")
    for labels in causes:
        if labels["severity"] == "page" and re.search(
            r"Burn$|^SiteDown$|^(Postgres|Valkey|Nginx|App|Live)Down$", labels["alertname"]
        ):
            assert held_back(manager, labels) is False, labels
    heartbeat = next(labels for labels in causes if labels["alertname"] == "Watchdog")
    assert held_back(manager, heartbeat) is False
    manager.send(*(firing(labels, ended=True) for labels in causes))


@pytest.mark.parametrize("dashboards", [True, False])
def test_a_dashboard_is_offered_where_there_is_one(dashboards: bool) -> None:
    template = "etc/prometheus/alertmanager_templates/site.tmpl"
    text = role_template("alertmanager", template, alertmanager_link_dashboards=dashboards)
    assert ("dashboard_url" in text) is dashboards
    assert ("Grafana is off" in text) is not dashboards
    paged = SETTINGS | {"alertmanager_receivers": [{"type": "pagerduty", "key": "0" * 32}]}
    (page,) = (
        one for one in rendered(**paged, alertmanager_link_dashboards=dashboards)["receivers"] if one["name"] == "page"
    )
    assert ("Dashboard" in str(page["pagerduty_configs"][0]["links"])) is dashboards
