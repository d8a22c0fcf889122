"""What playbooks silence is narrow and ends; a real Alertmanager keeps the silences."""

import importlib.util
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.rules.alertmanager import Alertmanager, running
from tests.rules.model import MONITORING, ROOT, alerts

KINDS: dict[str, dict[str, Any]] = yaml.safe_load((MONITORING / "silences.yml").read_text())
KIND = pytest.mark.parametrize("work", KINDS)
PLANNED = ("deploy", "host")  # of which no player shall notice anything
PLAYERS_NOTICE = re.compile(r"SiteDown|\w+Burn")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("silence", ROOT / "ansible/plugins/modules/silence.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


silence = load()


@pytest.fixture
def manager(tmp_path) -> Iterator[Alertmanager]:
    with running({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}, tmp_path) as one:
        yield one


def client(manager: Alertmanager) -> Any:
    return silence.Alertmanager(manager.url.removeprefix("http://"))


def settings(work: str = "deploy", token: str = "t1", hosts: tuple[str, ...] = ("app-1",)) -> dict[str, Any]:
    own = {"work": work, "token": token, "hosts": list(hosts), "why": "make deploy", "author": "ada"}
    return own | KINDS[work]


def active(manager: Alertmanager) -> list[dict[str, Any]]:
    return [one for one in manager.get("silences") if one["status"]["state"] == "active"]


def silenced(manager: Alertmanager, **labels: str) -> bool:
    """Whether nobody would be told of an alert with these labels."""
    manager.send({"labels": labels, "endsAt": (datetime.now(UTC) + timedelta(minutes=5)).isoformat()})
    (found,) = [one for one in manager.get("alerts") if one["labels"] == labels]
    return bool(found["status"]["silencedBy"])


@KIND
def test_what_is_silenced_exists_and_the_way_to_on_call_is_not(work: str) -> None:
    kind = KINDS[work]
    assert not set(kind["alerts"]) & {"Watchdog", "AlertDeliveryFailing"}
    for name in kind["alerts"]:
        assert {alert.labels["severity"] for alert in alerts() if alert.name == name} & set(kind["severities"]), name


@pytest.mark.parametrize("work", PLANNED)
def test_what_players_notice_everywhere_is_told_although_somebody_works(work: str) -> None:
    assert not [name for name in KINDS[work]["alerts"] if PLAYERS_NOTICE.fullmatch(name)]


@KIND
def test_a_silence_ends_before_it_is_forgotten(work: str) -> None:
    looks_back = {"downtime-after": 30, "deploy-after": 15, "host-after": 15}
    assert KINDS[work]["minutes"] == looks_back.get(work, 0) + 15
    assert KINDS[work].get("stays", False) == (work in looks_back)
    assert work.removesuffix("-after") in KINDS


def test_what_is_still_seen_after_the_work_stays_silent() -> None:
    """An alert that looks back over minutes fires when the playbook that caused it has ended its silences."""
    names = {name for kind in KINDS.values() if not kind.get("stays") for name in kind["alerts"]}
    sees_long = re.compile(r"\b(?:changes|resets)\([^)]*\[\d+m\]\)+ > 0")
    assert [alert for alert in alerts() if sees_long.search(alert.expr)]
    assert not [alert.name for alert in alerts() if alert.name in names and sees_long.search(alert.expr)]


def test_a_deploy_silences_no_page() -> None:
    assert KINDS["deploy"]["severities"] == ["ticket"]


@pytest.mark.parametrize("work", PLANNED)
def test_only_those_alerts_are_silent_and_only_on_those_hosts(work: str, manager: Alertmanager) -> None:
    silence.present(client(manager), settings(work))
    ticket = {"alertname": "TargetDown", "severity": "ticket"}
    assert silenced(manager, **ticket, host="app-1")
    assert not silenced(manager, **ticket, host="app-2")
    assert not silenced(manager, **ticket, host="xapp-1"), "a part of a name is no name"
    assert silenced(manager, alertname="EdgeDown", severity="page", host="app-1") is (work == "host")
    for name in ("SiteDown", "PageAvailabilityBurn", "Watchdog", "HostDiskAlmostFull"):
        assert not silenced(manager, alertname=name, severity="page", host="app-1")


def test_a_downtime_that_was_agreed_to_is_silent_where_the_site_has_no_host(manager: Alertmanager) -> None:
    for work in ("downtime", "downtime-after"):
        silence.present(client(manager), settings(work, hosts=("", "monitor-1", "app-2")))
    assert silenced(manager, alertname="SiteDown", severity="page")
    assert silenced(manager, alertname="PageAvailabilityBurn", severity="page")
    assert silenced(manager, alertname="CanaryFailing", severity="page", host="monitor-1")
    assert silenced(manager, alertname="SiteDown", severity="page", host="app-2")
    assert not silenced(manager, alertname="SiteDown", severity="page", host="app-1")
    assert not silenced(manager, alertname="Watchdog", severity="none")


def test_a_second_time_it_is_the_same_silence_with_a_later_end(manager: Alertmanager) -> None:
    first = silence.present(client(manager), settings() | {"minutes": 5})
    (before,) = active(manager)
    second = silence.present(client(manager), settings())
    (after,) = active(manager)
    assert first["silence"] == second["silence"] == after["id"]
    assert after["endsAt"] > before["endsAt"]


def test_more_hosts_are_added_to_it(manager: Alertmanager) -> None:
    silence.present(client(manager), settings())
    assert silence.present(client(manager), settings(hosts=("app-2",)))["hosts"] == ["app-1", "app-2"]
    assert len(active(manager)) == 1
    assert silenced(manager, alertname="TargetDown", severity="ticket", host="app-1")
    assert silenced(manager, alertname="TargetDown", severity="ticket", host="app-2")


def test_it_ends_with_its_playbook_and_others_stay(manager: Alertmanager) -> None:
    for work in PLANNED:
        silence.present(client(manager), settings(work))
    silence.present(client(manager), settings(token="t1-stays"))
    assert len(active(manager)) == 3
    assert len(silence.absent(client(manager), {"token": "t1"})["ended"]) == 2
    (left,) = active(manager)
    assert "t1-stays" in left["comment"]
    assert silence.absent(client(manager), {"token": "t1"}) == {"ended": []}


def test_it_has_an_end_of_its_own_and_says_whose_it_is(manager: Alertmanager) -> None:
    silence.present(client(manager), settings())
    (one,) = active(manager)
    left = datetime.fromisoformat(one["endsAt"]) - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(minutes=15)
    assert one["createdBy"] == "ada"
    assert one["comment"].startswith("make deploy ")
