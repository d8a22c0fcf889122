"""Dashboards are what the code makes, Grafana will take them as they are, and their queries mean what they should."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from monitoring.dashboards import build

from tests.every import every
from tests.rules.model import MONITORING, RUNBOOKS, alerts, dashboards, panels, queries, rules, run
from tests.rules.promql import children, fill_in, groups, nodes, quantiles, selectors, tree

BOARDS = every(dashboards().values(), name=lambda board: board["uid"])
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
KINDS = {"stat", "gauge", "bargauge", "timeseries", "heatmap", "state-timeline", "table"}

# Series that say by themselves where they are from: Prometheus' own, and those of the textfiles of hosts
NO_JOB = (
    r"ALERTS|ALERTS_FOR_STATE|up|scrape_\w+|node_reboot_required"
    r"|matchpoint_(canary|deploy|cert|nginx|expected|build)_\w+"
)
# Counters whose names do not show it; tests/infra asks Prometheus for the types of all
COUNTERS = (
    r"\w+_(total|bucket|sum)|pg_stat_database_(xact|blks|tup|temp|deadlocks|conflicts)\w*|node_vmstat_oom_kill"
    r"|node_netstat_Tcp(Ext)?_(RetransSegs|ListenOverflows)|nginx_connections_(accepted|handled)|django_\w+_count"
)
OVER_TIME = {"rate", "increase", "irate", "changes", "resets"}
SHORTEST_SECONDS = 300  # of a window that does not follow the panel's width


def variables_in(node: object) -> set[str]:
    """Names of Grafana's variables in any text of a dashboard."""
    return {name for one in re.findall(r"\$(?:\{(\w+)\}|(\w+))", str(node)) for name in one if name}


def targets(board: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(panel, target) for panel in panels(board) for target in panel["targets"]]


@every(build.DASHBOARDS)
def test_committed_json_is_what_the_code_makes(name: str) -> None:
    assert build.render(name) == build.render(name)
    assert (MONITORING / "dashboards" / f"{name}.json").read_text() == build.render(name), (
        "run: python -m monitoring.dashboards.build"
    )


def test_there_is_one_dashboard_for_each_name() -> None:
    assert {path.stem for path in (MONITORING / "dashboards").glob("*.json")} == set(build.DASHBOARDS)
    assert set(dashboards()) == {f"matchpoint-{name}" for name in build.DASHBOARDS}
    titles = [board["title"] for board in dashboards().values()]
    assert len(titles) == len(set(titles)), "two of one title in one folder: Grafana shows neither"


@BOARDS
def test_grafana_knows_every_key_and_value(board) -> None:
    """What the SDK's model of a dashboard does not know, it drops on reading: a typo, or another version's option."""
    register_default_plugins()
    again = yaml.safe_load(JSONEncoder().encode(Dashboard.from_json(board)))

    def lost(ours: object, theirs: object, path: str) -> list[str]:
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return [one for key in ours for one in lost(ours[key], theirs.get(key, "nothing"), f"{path}.{key}")]
        if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            pairs = enumerate(zip(ours, theirs, strict=True))
            return [one for index, (a, b) in pairs for one in lost(a, b, f"{path}[{index}]")]
        # the SDK reads a number of a heatmap as text
        return [] if str(ours) == str(theirs) else [f"{path}: {ours!r} became {theirs!r}"]

    assert lost(board, again, "") == []


@BOARDS
def test_panels_have_names_ids_and_places_of_their_own(board) -> None:
    ids, titles = [one["id"] for one in board["panels"]], [panel["title"] for panel in panels(board)]
    for found in (ids, titles):
        assert len(found) == len(set(found)), [one for one in found if found.count(one) > 1]
    assert re.fullmatch(r"matchpoint-[a-z]{1,29}", board["uid"])
    assert "id" not in board, "an id of another Grafana makes provisioning fail"
    cells = [panel["gridPos"] for panel in board["panels"]]
    assert all(cell["x"] + cell["w"] <= 24 for cell in cells)
    for one, two in combinations(cells, 2):
        apart = (
            one["x"] + one["w"] <= two["x"]
            or two["x"] + two["w"] <= one["x"]
            or one["y"] + one["h"] <= two["y"]
            or two["y"] + two["h"] <= one["y"]
        )
        assert apart, f"{one} and {two} overlap"


@BOARDS
def test_rows_have_no_holes(board) -> None:
    """Every line of the grid is full: a hole is a width that was changed in one place."""
    for line in {panel["gridPos"]["y"] for panel in board["panels"]}:
        here = [panel["gridPos"] for panel in board["panels"]]
        width = sum(cell["w"] for cell in here if cell["y"] <= line < cell["y"] + cell["h"])
        assert width == 24, f"line {line} is {width} wide"


@BOARDS
def test_panels_say_what_is_bad_and_what_nothing_means(board) -> None:
    for panel in panels(board):
        told = panel["description"]
        assert told.endswith("."), panel["title"]
        assert "Bad: " in told or "othing alerts on it" in told or "Watchdog always does" in told, panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


@BOARDS
def test_panels_have_units_and_thresholds_that_grafana_knows(board) -> None:
    for panel in panels(board):
        assert panel["type"] in KINDS
        config = panel["fieldConfig"]
        properties = [one for override in config["overrides"] for one in override["properties"]]
        shown = [one["value"] for one in properties if one["id"] == "unit"]
        assert {config["defaults"].get("unit", "none"), *shown} <= UNITS, panel["title"]
        scales = [one["value"] for one in properties if one["id"] == "thresholds"]
        scales += [config["defaults"]["thresholds"]] if "thresholds" in config["defaults"] else []
        for scale in scales:
            first, *others = [step["value"] for step in scale["steps"]]
            assert first is None
            assert others == sorted(others), panel["title"]


@BOARDS
def test_tables_name_their_columns(board) -> None:
    for panel in panels(board):
        if panel["type"] == "table":
            headings = set(panel["transformations"][-1]["options"]["renameByName"].values())
            wanted = [override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]]
            wanted += [sort["displayName"] for sort in panel["options"].get("sortBy", [])]
            assert set(wanted) <= headings, panel["title"]


@BOARDS
def test_queries_ask_the_chosen_source_for_a_range_or_for_now(board) -> None:
    for panel in panels(board):
        assert panel["datasource"] == SOURCE
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
        assert letters, panel["title"]
        assert "" not in letters
        over_time = panel["type"] in {"timeseries", "heatmap", "state-timeline"}
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE
            assert (target.get("range", False), target.get("instant", False)) == (over_time, not over_time)


@BOARDS
def test_variables_are_used_and_defined_once(board) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    asked = [target["expr"] for _, target in targets(board)] + [one["expr"] for one in board["annotations"]["list"]]
    assert variables_in(asked) - {"__rate_interval", "__range"} | {"datasource"} == set(variables)
    assert "${datasource}" in str(panels(board))
    chosen = list(variables.values())
    assert (chosen[0]["name"], chosen[0]["type"], chosen[0]["label"]) == ("datasource", "datasource", "Data source")
    for variable in chosen[1:]:
        assert variable["label"]
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["refresh"] == 2, "it does not follow the time range"
        assert variable["datasource"] == SOURCE
        for _, target in targets(board):
            for use in re.findall(rf".{{3}}\${variable['name']}", target["expr"]):
                assert use.startswith("=~"), f"several values need =~: {target['expr']}"


@BOARDS
def test_dashboards_look_alike(board) -> None:
    assert not board["editable"]
    assert board["tags"] == ["matchpoint"]
    assert (board["refresh"], board["timezone"], board["graphTooltip"]) == ("30s", "browser", 1)
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards", ["matchpoint"], True, True,
    )  # fmt: skip
    assert [one["name"] for one in board["annotations"]["list"]] == ["Deploys", "Pages"]
    assert all(one["datasource"] == SOURCE and one["enable"] for one in board["annotations"]["list"])


@BOARDS
def test_every_query_is_promql_to_both_parsers(board, tmp_path: Path) -> None:
    recorded = [{"record": f"query_{index}", "expr": expr} for index, expr in enumerate(queries(board))]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    done = run("promtool", "check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
    for expr in queries(board):
        assert tree(expr)
    for expr in queries(board):
        assert "$" not in fill_in(expr), "a variable that nobody fills in"


@BOARDS
def test_selectors_name_the_job_that_they_are_about(board) -> None:
    for expr in queries(board):
        for selector in selectors(expr):
            if ":" not in selector.name and not re.fullmatch(NO_JOB, selector.name):
                assert "job" in selector.matchers, f"{selector} in {expr}"


@BOARDS
def test_counters_are_shown_as_rates(board) -> None:
    for expr in queries(board):
        for selector in selectors(expr):
            if re.fullmatch(COUNTERS, selector.name):
                assert (OVER_TIME | {"count"}) & set(selector.inside), f"{selector} in {expr}"


@BOARDS
def test_rates_follow_the_width_of_the_panel_or_are_long(board) -> None:
    for _, target in targets(board):
        told = target["expr"].replace("[$__rate_interval]", "[1000d]")
        for selector in selectors(told):
            if OVER_TIME & set(selector.inside):
                assert selector.seconds is not None
                assert selector.seconds >= SHORTEST_SECONDS, f"{selector} in {target['expr']}"
        if target.get("instant"):
            assert "$__rate_interval" not in target["expr"], "of a range that is not shown"


@BOARDS
def test_quantiles_are_of_buckets_by_le(board) -> None:
    for expr in queries(board):
        for inside in quantiles(expr):
            names = [selector.name for selector in selectors(str(inside))]
            assert all("_bucket" in name for name in names), expr
            left = groups(inside)
            assert "le" in left if left is not None else all(re.match(r"le[_:]", name) for name in names), expr


@BOARDS
def test_legends_name_labels_that_the_query_leaves(board) -> None:
    for panel, target in targets(board):
        wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        left = groups(tree(target["expr"]))
        if left is not None and panel["type"] != "table":
            assert wanted <= left, target["expr"]
            assert left <= wanted, f"{panel['title']}: series that differ in {left - wanted} have one name"


@BOARDS
def test_recorded_names_exist(board) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expr in queries(board):
        assert {selector.name for selector in selectors(expr) if ":" in selector.name} <= recorded, expr


@every(RUNBOOKS, name=lambda path: path.stem)
def test_panel_that_a_runbook_names_tells_of_its_alert(path: Path) -> None:
    front = yaml.safe_load(path.read_text().split("---")[1])
    (panel,) = [one for one in panels(dashboards()[front["dashboard"]]) if one["title"] == front["panel"]]
    assert path.stem in panel["description"]


def test_every_alert_is_told_of_by_a_panel() -> None:
    told = " ".join(panel["description"] for board in dashboards().values() for panel in panels(board))
    assert {alert.name for alert in alerts()} - set(re.findall(r"\w+", told)) == set()


def test_the_reader_of_promql_sees_what_these_tests_look_for() -> None:
    expr = 'sum by (le) (rate(a_bucket{job="x",host=~"$host"}[$__rate_interval])) / on (le) (b_total > 0)'
    found = {selector.name: selector for selector in selectors(expr)}
    assert found["a_bucket"].inside == ("sum", "rate")
    assert found["a_bucket"].seconds == 60
    assert found["a_bucket"].matchers == {"job": '="x"', "host": '=~".+"'}
    assert found["b_total"].inside == ()
    assert str(found["b_total"]) == "b_total{}"
    assert groups(tree("sum by (a, b) (x)")) == {"a", "b"}
    assert groups(tree("topk(3, x)")) is None
    assert [str(one) for one in quantiles("histogram_quantile(0.9, sum by (le) (rate(x_bucket[1m]))) > 1")]
    assert len(list(nodes("a + b * c"))) == 5
    assert children(tree("1")) == []
    with pytest.raises(ValueError, match="unclosed"):
        tree("sum(")
