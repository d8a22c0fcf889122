"""What a site changes in the alerts, and adds, reaches Prometheus or is refused before anything is changed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rules.model import ROOT, RULES, run
from tests.rules.promql import tree

SPEC = importlib.util.spec_from_file_location("site_rules", ROOT / "roles/prometheus/filter_plugins/site_rules.py")
assert SPEC
assert SPEC.loader
PLUGIN = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PLUGIN)

SHIPPED: list[dict[str, Any]] = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
OWN = {
    "groups": [
        {
            "name": "own",
            "rules": [
                {
                    "alert": "TooFewMatches",
                    "expr": "sum(matchpoint_matches_active) < 3",
                    "labels": {"severity": "ticket"},
                    "annotations": {"summary": "Nobody plays"},
                }
            ],
        }
    ]
}


def site_rules(changes: dict[str, Any] | None = None, own: dict[str, Any] | None = None) -> dict[str, Any]:
    return PLUGIN.site_rules(SHIPPED, changes or {}, own or {})


def alerts(groups: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (rule["alert"], rule["labels"]["severity"]): rule
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }


def test_without_a_change_the_rules_are_those_that_are_shipped() -> None:
    assert site_rules() == {"groups": SHIPPED, "faults": []}


def test_each_limit_can_be_moved_and_prometheus_reads_the_rules(tmp_path: Path) -> None:
    before = alerts(SHIPPED)
    movable = {key for key, rule in before.items() if len(PLUGIN.limits(rule["expr"])) == 1}
    assert len(movable) > 20
    done = site_rules({f"{name}/{severity}": {"limit": 0.123, "for": "7m"} for name, severity in movable})
    assert done["faults"] == []
    for key, rule in alerts(done["groups"]).items():
        if key in movable:
            assert set(PLUGIN.limits(rule["expr"])) == {"0.123"}
            assert str(tree(rule["expr"])) != str(tree(before[key]["expr"]))
            assert rule["for"] == "7m"
            told = rule["annotations"]["description"]
            assert "is due" not in told
            assert told.endswith("This site has its own limit 0.123 and for 7m.")
        else:
            assert rule == before[key]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": done["groups"]}))
    checked = run("promtool", "check", "rules", file)
    assert checked.returncode == 0, checked.stderr


def test_alerts_are_left_out_made_pages_and_added() -> None:
    changes = {
        "HostDiskAlmostFull": {"enabled": False},
        "StoreRestarted": {"severity": "page"},
        "HostDown": {"enabled": True, "for": "10m"},
    }
    done = site_rules(changes, {"/inventory/rules/own.yml": OWN})
    assert done["faults"] == []
    found, before = alerts(done["groups"]), alerts(SHIPPED)
    assert before.keys() - found.keys() == {
        ("HostDiskAlmostFull", "page"), ("HostDiskAlmostFull", "ticket"), ("StoreRestarted", "ticket"),
    }  # fmt: skip
    assert found.keys() - before.keys() == {("StoreRestarted", "page"), ("TooFewMatches", "ticket")}
    assert found["HostDown", "ticket"]["for"] == "10m"
    names = [rule["alert"] for group in SHIPPED if group["name"] == "upkeep" for rule in group["rules"]]
    emptied = site_rules({name: {"enabled": False} for name in names})
    assert "upkeep" not in {group["name"] for group in emptied["groups"]}, "a group of nothing is none"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"HostDiskFull": {"limit": 1}}, "no alert HostDiskFull; the nearest is HostDisk"),
        ({"Watchdog": {"enabled": False}}, "Watchdog is the heartbeat"),
        ({"HostDown": {"treshold": 1}}, "HostDown has treshold, and may have enabled, for, limit, severity"),
        ({"HostDown": {"severity": "critical"}}, "severity is 'critical', and must be page or ticket"),
        ({"HostDown": {"enabled": "yes"}}, "enabled is 'yes', and must be true or false"),
        ({"HostDown": {"for": "soon"}}, "for is 'soon', and must be a time"),
        ({"HostDown": {"for": ""}}, "for is '', and must be a time"),
        ({"HostDown": {"limit": "5%"}}, "limit is '5%', and must be a number"),
        ({"HostDown": {"limit": True}}, "limit is True, and must be a number"),
        ({"HostDown": {"limit": 1}}, "where an alert has one, and this has none"),
        ({"CanaryFailing/page": {"limit": 9}}, "this has 2 of them (300, 300)"),
        ({"HostDown": None}, "HostDown must have some of"),
        ({"HostDown/page": {"for": "1m"}}, "HostDown is no page"),
        ({"HostDiskAlmostFull": {"limit": 0.2}}, "HostDiskAlmostFull/ticket and HostDiskAlmostFull/page: say of which"),
    ],
)
def test_what_cannot_be_changed_is_refused(changes: dict[str, Any], told: str) -> None:
    (fault,) = site_rules(changes)["faults"]
    assert told in fault


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "has no list `groups`"),
        ([], "has no list `groups`"),
        ({"groups": [{"rules": []}]}, "must have `name` and a list `rules`"),
        ({"groups": [{"name": "x", "rules": [None]}]}, "must have `name` and a list `rules`"),
        ({"groups": [{"name": "x", "rules": [{"alert": "X", "labels": "page"}]}]}, "with pairs as labels"),
        ({"groups": [{"name": "host", "rules": []}]}, "a group host is there already"),
        ({"groups": [{"name": "x", "rules": [{"alert": "HostDown", "labels": {"severity": "page"},
                                              "annotations": {"summary": "x"}}]}]}, "HostDown is there already"),
        ({"groups": [{"name": "x", "rules": [{"alert": "X", "annotations": {"summary": "x"}}]}]},
         "X needs a label severity"),
        ({"groups": [{"name": "x", "rules": [{"alert": "X", "labels": {"severity": "page"}}]}]},
         "X needs an annotation summary"),
    ],
)  # fmt: skip
def test_rules_of_the_site_that_nobody_would_hear_are_refused(content: Any, told: str) -> None:
    (fault,) = site_rules(own={"own.yml": content})["faults"]
    assert fault.startswith("own.yml")
    assert told in fault


def test_all_faults_are_told_at_once() -> None:
    told = site_rules({"Nothing": {}, "HostDown": {"x": 1, "for": 5}}, {"own.yml": None})["faults"]
    assert len(told) == 4
