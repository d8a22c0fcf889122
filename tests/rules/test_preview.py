"""The pictures of the dashboards show what Grafana would: numbers, colours, joined tables, every kind of panel."""

import json
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from monitoring.dashboards.preview.__main__ import draw, save
from monitoring.dashboards.preview.panels import KINDS, Panel, ground
from monitoring.dashboards.preview.source import Prometheus, Series, Window, fill_in
from monitoring.dashboards.preview.theme import CANVAS, COLORS, color_by_name, mix, show, step_color, tick
from PIL import Image

from tests.rules.model import dashboards, panels

mpl.use("agg")
NOW = 1_700_000_000.0
WINDOW = Window(NOW - 3600, NOW)


class Fake(Prometheus):
    """A Prometheus that has one answer to everything, or none."""

    def __init__(self, value: float | None) -> None:
        super().__init__("http://127.0.0.1:1")
        self.value = value

    def ask(self, path: str, **parameters: object) -> Any:
        if self.value is None:
            return {"result": []}
        metric = {"host": "mp1", "le": "0.05", "sloth_slo": "match-availability"}
        if path == "query":
            return {"result": [{"metric": metric, "value": [NOW, str(self.value)]}]}
        start, end, step = (float(str(parameters[name])) for name in ("start", "end", "step"))
        times = [start + index * step for index in range(int((end - start) / step))]
        return {"result": [{"metric": metric, "values": [[when, str(self.value)] for when in times]}]}


def panel(kind: str, answers: dict[str, list[Series]], **defaults: Any) -> Panel:
    """A panel of a committed dashboard, with other settings and answers."""
    found = next(one for board in dashboards().values() for one in panels(board) if one["type"] == kind)
    settings = json.loads(json.dumps(found))
    settings["fieldConfig"]["defaults"] |= defaults
    return Panel(settings, answers, WINDOW)


def texts(kind: str, shown: Panel) -> list[str]:
    figure = Figure(figsize=(6, 4))
    axes = figure.add_axes((0, 0, 1, 1))
    shown.width, shown.height = 432, 288
    KINDS[kind](axes, shown)
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("value", [0.42, None], ids=["alive", "silent"])
@pytest.mark.parametrize("uid", dashboards())
def test_every_dashboard_can_be_drawn(uid: str, value: float | None) -> None:
    board = dashboards()[uid]
    written = {text.get_text() for text in draw(board, Fake(value)).texts}
    assert {one["title"] for one in panels(board)} - written == set(), "a title was cut"


def test_pictures_are_small_and_keep_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "board.png"
    save(draw(dashboards()["matchpoint-overview"], Fake(1.0)), path)
    with Image.open(path) as picture:
        assert picture.width == 1440
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((2, 2)) == tuple(bytes.fromhex(CANVAS[1:]))
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.1234, "percentunit", 1, "12.3%"),
        (0.00004, "percentunit", None, "0.004%"),
        (0.0123, "s", None, "12.3 ms"),
        (90, "s", None, "1.5 min"),
        (5 * 365 * 86400, "s", None, "5 years"),
        (0, "s", None, "0 s"),
        (3 * 2**30, "bytes", None, "3 GiB"),
        (1500, "Bps", None, "1.5 KB/s"),
        (12_345_678, "none", None, "12.3 M"),
        (0.25, "reqps", None, "0.25 req/s"),
        (-1.5, "none", None, "-1.5"),
    ],
)
def test_numbers_have_their_units(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert show(value, unit, decimals) == text


def test_axes_have_round_lines() -> None:
    assert tick("bytes", 5 * 2**30) == 2**30
    assert tick("s", 3600) == 1800
    assert tick("none", 7) is None


def test_colours_come_from_thresholds_mappings_and_names() -> None:
    steps = [{"value": None, "color": "green"}, {"value": 1, "color": "red"}]
    assert (step_color(steps, 0.9), step_color(steps, 1)) == (COLORS["green"], COLORS["red"])
    assert step_color(steps, None) == COLORS["green"]
    assert color_by_name("mp1", []) == color_by_name("mp1", ["#000000"])
    assert color_by_name("mp1", []) != color_by_name("mp1", [color_by_name("mp1", [])])
    mapping = {"type": "value", "options": {"0": {"text": "down", "color": "red"}}}
    down = panel("stat", {"A": [Series("", {}, [(NOW, 0.0)])]}, mappings=[mapping])
    assert texts("stat", down) == ["down"]
    assert ground(down) == mix(COLORS["red"], CANVAS, 0.72)


def test_nothing_is_said_in_the_panels_words() -> None:
    for kind in KINDS:
        assert texts(kind, panel(kind, {"A": []}, noValue="nobody")) == ["nobody"], kind


def test_tables_join_their_queries_by_labels() -> None:
    shown = panel("table", {})
    shown.settings = next(one for one in panels(dashboards()["matchpoint-slo"]) if one["title"] == "Objectives")
    shown.answers = {
        "A": [Series("", {"sloth_slo": "one"}, [(NOW, 0.995)]), Series("", {"sloth_slo": "two"}, [(NOW, 0.99)])],
        "C": [Series("", {"sloth_slo": "two"}, [(NOW, -0.5)])],
    }
    found = texts("table", shown)
    assert found[:5] == ["Objective", "Promised", "Good in 30 days", "Budget left", "Burns now"]
    assert found[5:] == ["one", "99.5%", "", "", "", "two", "99.0%", "", "-50.0%", ""]


def test_variables_are_filled_in_as_grafana_does() -> None:
    assert fill_in('rate(a{host=~"$host"}[$__rate_interval]) / b[$__range]', WINDOW) == (
        'rate(a{host=~".+"}[60s]) / b[3600s]'
    )
    assert Window(NOW - 86400, NOW).step == math.ceil(86400 / 220 / 15) * 15
