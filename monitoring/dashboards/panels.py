"""Panels with the house's habits, so that a dashboard reads as a list of questions and queries.

Grafana's Foundation SDK leaves four things to its caller that every panel needs here: ids that do not change, a letter
for each query, whether a query asks for a range or for now, and places on the grid that do not overlap.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

GRID_COLUMNS = 24
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED = "green", "yellow", "red"

DOWN_UP = models.ValueMap(
    options={
        "0": models.ValueMappingResult(text="down", color=RED, index=0),
        "1": models.ValueMappingResult(text="up", color=GREEN, index=1),
    }
)
STANDBY_PRIMARY = models.ValueMap(
    options={
        "0": models.ValueMappingResult(text="standby", color=YELLOW, index=0),
        "1": models.ValueMappingResult(text="primary", color=GREEN, index=1),
    }
)


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of its series in Grafana's ``{{label}}`` form."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Tile:
    """A panel's builder and its size in cells of the grid."""

    panel: Any
    width: int
    height: int


def panel_id(title: str) -> int:
    """A number that follows from the title, so that links to a panel survive changes around it."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1


def thresholds(*steps: tuple[float | None, str]) -> build.ThresholdsConfig:
    """Colours from a value upwards; the first step has no value and holds below all others."""
    return (
        build.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _tile(
    panel: Any, title: str, description: str, queries: Sequence[Query], *, now: bool, size: tuple[int, int]
) -> Tile:
    panel.id(panel_id(title)).title(title).description(description).datasource(SOURCE)
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend).datasource(SOURCE)
        panel.with_target(target.instant() if now else target.range())
    return Tile(panel, *size)


def number(
    title: str,
    expr: str,
    description: str,
    *,
    unit: str = units.NoUnit,
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),),
    mapping: models.ValueMap | None = None,
    width: int = 4,
) -> Tile:
    """One number, now. ``No data`` is shown as such: a missing series is news as well."""
    panel = stat.Panel().unit(unit).thresholds(thresholds(*steps))
    panel.color_mode(common_models.BigValueColorMode.BACKGROUND)
    panel.graph_mode(common_models.BigValueGraphMode.NONE).reduce_options(
        common.ReduceDataOptions().calcs(["lastNotNull"])
    )
    if mapping is not None:
        panel.mappings([mapping])
    return _tile(panel, title, description, [Query(expr)], now=True, size=(width, 4))


def lines(
    title: str,
    queries: Sequence[Query],
    description: str,
    *,
    unit: str = units.NoUnit,
    maximum: float | None = None,
    width: int = 8,
) -> Tile:
    """Series over time, from zero."""
    panel = timeseries.Panel().unit(unit).min(0).fill_opacity(8).line_width(1)
    panel.show_points(common_models.VisibilityMode.NEVER)
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    if maximum is not None:
        panel.max(maximum)
    return _tile(panel, title, description, queries, now=False, size=(width, 8))


def states(
    title: str,
    queries: Sequence[Query],
    description: str,
    *,
    mapping: models.ValueMap | None = None,
    width: int = 12,
    height: int = 8,
) -> Tile:
    """What was up, down or firing, and when."""
    panel = statetimeline.Panel().thresholds(thresholds((None, RED), (1, GREEN))).merge_values(True).row_height(0.8)
    panel.show_value(common_models.VisibilityMode.NEVER)
    if mapping is not None:
        panel.mappings([mapping])
    return _tile(panel, title, description, queries, now=False, size=(width, height))


def place(board: build.Dashboard, rows: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Put titled rows of tiles on the grid, left to right, wrapping at its edge."""
    y = 0
    for title, tiles in rows:
        position = models.GridPos(h=1, w=GRID_COLUMNS, x=0, y=y)
        board.with_row(build.Row(title).id(panel_id(f"row {title}")).grid_pos(position))
        y, x, line = y + 1, 0, 0
        for tile in tiles:
            if x + tile.width > GRID_COLUMNS:
                y, x, line = y + line, 0, 0
            board.with_panel(tile.panel.grid_pos(models.GridPos(h=tile.height, w=tile.width, x=x, y=y)))
            x, line = x + tile.width, max(line, tile.height)
        y += line
