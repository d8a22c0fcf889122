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
    kind = KINDS[work]
    return {"work": work, "token": token, "hosts": list(hosts), "why": "make deploy", "author": "ada", **kind}


def active(manager: Alertmanager) -> list[dict[str, Any]]:
    return [one for one in manager.get("silences") if one["status"]["state"] == "active"]


def silenced(manager: Alertmanager, **labels: str) -> bool:
    """Whether nobody would be told of an alert with these labels."""
    manager.send({"labels": labels, "endsAt": (datetime.now(UTC) + timedelta(minutes=5)).isoformat()})
    (found,) = [one for one in manager.get("alerts") if one["labels"] == labels]
    return bool(found["status"]["silencedBy"])


@KIND
def test_what_is_silenced_exists_and_is_nothing_that_players_notice_everywhere(work: str) -> None:
    names = {alert.name for alert in alerts()}
    kind = KINDS[work]
    assert set(kind["alerts"]) <= names
    assert not [name for name in kind["alerts"] if re.search(r"^(SiteDown|Watchdog|AlertDeliveryFailing)$|Burn$", name)]
    assert kind["minutes"] <= 15
    severities = {alert.labels["severity"] for alert in alerts() if alert.name in kind["alerts"]}
    assert set(kind["severities"]) & severities


def test_a_deploy_silences_no_page() -> None:
    assert KINDS["deploy"]["severities"] == ["ticket"]


@KIND
def test_only_those_alerts_are_silent_and_only_on_those_hosts(work: str, manager: Alertmanager) -> None:
    silence.present(client(manager), settings(work))
    ticket = {"alertname": "TargetDown", "severity": "ticket"}
    assert silenced(manager, **ticket, host="app-1")
    assert not silenced(manager, **ticket, host="app-2")
    assert not silenced(manager, **ticket, host="xapp-1"), "a part of a name is no name"
    assert silenced(manager, alertname="EdgeDown", severity="page", host="app-1") is (work == "host")
    for name in ("SiteDown", "PageAvailabilityBurn", "Watchdog", "HostDiskAlmostFull"):
        assert not silenced(manager, alertname=name, severity="page", host="app-1")


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
    for work in KINDS:
        silence.present(client(manager), settings(work))
    silence.present(client(manager), settings(token="t12"))
    assert len(active(manager)) == 3
    assert len(silence.absent(client(manager), {"token": "t1"})["ended"]) == 2
    (left,) = active(manager)
    assert "t12" in left["comment"]
    assert silence.absent(client(manager), {"token": "t1"}) == {"ended": []}


def test_it_has_an_end_of_its_own_and_says_whose_it_is(manager: Alertmanager) -> None:
    silence.present(client(manager), settings())
    (one,) = active(manager)
    left = datetime.fromisoformat(one["endsAt"]) - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(minutes=15)
    assert one["createdBy"] == "ada"
    assert one["comment"].startswith("make deploy ")
