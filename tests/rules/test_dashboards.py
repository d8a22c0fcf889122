"""Dashboards are what the code makes, and Grafana will take them as they are."""

import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from monitoring.dashboards import build

from tests.rules.model import MONITORING, dashboards, panels, queries, rules, run

BOARDS = pytest.mark.parametrize("board", dashboards().values(), ids=dashboards())


@pytest.mark.parametrize("name", build.DASHBOARDS)
def test_committed_json_is_what_the_code_makes(name: str) -> None:
    assert build.render(name) == build.render(name)
    assert (MONITORING / "dashboards" / f"{name}.json").read_text() == build.render(name), (
        "run: python -m monitoring.dashboards.build"
    )


def test_no_dashboard_is_left_over() -> None:
    assert {path.stem for path in (MONITORING / "dashboards").glob("*.json")} == set(build.DASHBOARDS)


@BOARDS
def test_grafana_knows_every_key(board) -> None:
    """What the SDK's model of a dashboard does not know, it drops on reading: a typo, or another version's option."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    register_default_plugins()
    again = JSONEncoder().encode(Dashboard.from_json(board))

    def keys(node: object, path: str = "") -> set[str]:
        if isinstance(node, dict):
            return {f"{path}.{key}" for key in node} | {
                k for key, value in node.items() for k in keys(value, f"{path}.{key}")
            }
        if isinstance(node, list):
            return {key for index, value in enumerate(node) for key in keys(value, f"{path}[{index}]")}
        return set()

    assert keys(board) <= keys(yaml.safe_load(again))


@BOARDS
def test_panels_have_names_ids_and_places_of_their_own(board) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert re.fullmatch(r"[a-z0-9-]{1,40}", board["uid"])
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
def test_panels_say_what_is_bad_and_ask_the_chosen_source(board) -> None:
    known_units = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
        assert "" not in letters
        assert all(target.get("range") != target.get("instant") for target in panel["targets"])
        assert panel["fieldConfig"]["defaults"].get("unit", "none") in known_units
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["datasource", "host"]
    assert variables["host"]["allValue"] == ".+"
    assert "$host" in str(panels(board))
    assert not board["editable"]


@BOARDS
def test_every_query_is_promql(board, tmp_path: Path) -> None:
    recorded = [{"record": f"query_{index}", "expr": expr} for index, expr in enumerate(queries(board))]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    done = run("promtool", "check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@BOARDS
def test_counters_are_shown_as_rates_and_recorded_names_exist(board) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for expr in queries(board):
        bare = re.sub(r"\b(rate|increase|irate|changes)\([^()]*(\{[^}]*\})?\[[^\]]*\]\)", "", expr)
        assert not re.search(r"\b(?<!:)[a-z_]+_(total|bucket)\b(?!:)", bare), expr
        assert set(re.findall(r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+\b", expr)) <= recorded, expr
