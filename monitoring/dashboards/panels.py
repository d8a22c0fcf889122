"""Panels with the house's habits, so that a dashboard reads as a list of questions and queries.

Grafana's Foundation SDK leaves four things to its caller that every panel needs here: ids that do not change, a letter
for each query, whether a query asks for a range or for now, and places on the grid that do not overlap.

Every kind takes ``missing``: what it says when there is no series at all. A service that is down takes most of its
series along, so the default is "down"; others say why nothing is normal.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    gauge,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import units
from monitoring.dashboards.queries import Query

GRID_COLUMNS = 24
LETTERS = "ABCDEFGHIJKL"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"
NEUTRAL = "text"

Steps = Sequence[tuple[float | None, str]]
INFORMATION: Steps = ((None, BLUE),)  # nothing about it is bad
ZERO_IS_GOOD: Steps = ((None, GREEN), (1, RED))
ZERO_IS_BETTER: Steps = ((None, GREEN), (1, YELLOW))  # but some can wait
ONE_IS_GOOD: Steps = ((None, RED), (1, GREEN))
# Colours that mean the same on every dashboard
STATUS_COLORS = {"1xx": PURPLE, "2xx": GREEN, "3xx": BLUE, "4xx": YELLOW, "5xx": RED}
PERCENTILE_COLORS = {"p50": GREEN, "p95": YELLOW, "p99": ORANGE}
LIMITS = {"limit", "aim", "promised"}  # series that others are compared with


def value_map(**texts: tuple[str, str]) -> models.ValueMap:
    """Texts and colours of values: ``value_map(v0=("down", RED))``."""
    return models.ValueMap(
        options={
            name.removeprefix("v"): models.ValueMappingResult(text=text, color=color, index=index)
            for index, (name, (text, color)) in enumerate(texts.items())
        }
    )


DOWN_UP = value_map(v0=("down", RED), v1=("up", GREEN))
FAILED_OK = value_map(v0=("failed", RED), v1=("ok", GREEN))
NO_YES = value_map(v0=("no", GREEN), v1=("yes", YELLOW))
STANDBY_PRIMARY = value_map(v0=("standby", YELLOW), v1=("primary", GREEN))


@dataclass(frozen=True)
class Column:
    """A column of values in a table: its heading and PromQL, of one series a row."""

    heading: str
    expr: str
    unit: str = units.NoUnit
    steps: Steps = ()
    mapping: models.ValueMap | None = None
    decimals: int | None = None


@dataclass(frozen=True)
class Tile:
    """A panel's builder and its size in cells of the grid."""

    panel: Any
    width: int
    height: int


def panel_id(title: str) -> int:
    """A number that follows from the title, so that links to a panel survive changes around it."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Colours from a value upwards; the first step has no value and holds below all others."""
    return (
        build.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _tile(
    panel: Any,
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    now: bool,
    size: tuple[int, int],
    missing: str,
    form: prometheus_models.PromQueryFormat = prometheus_models.PromQueryFormat.TIME_SERIES,
) -> Tile:
    panel.id(panel_id(title)).title(title).description(description).datasource(SOURCE).no_value(missing)
    for letter, query in zip(LETTERS, queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).legend_format(query.legend).datasource(SOURCE)
        panel.with_target((target.instant() if now else target.range()).format(form))
    return Tile(panel, *size)


def number(
    title: str,
    expr: str,
    description: str,
    *,
    unit: str = units.NoUnit,
    steps: Steps = INFORMATION,
    mapping: models.ValueMap | None = None,
    decimals: int | None = None,
    missing: str = "down",
    width: int = 3,
    height: int = 4,
) -> Tile:
    """One number, now, on a ground of its colour."""
    panel = stat.Panel().unit(unit).thresholds(thresholds(steps))
    panel.color_mode(common_models.BigValueColorMode.BACKGROUND)
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if decimals is not None:
        panel.decimals(decimals)
    if mapping is not None:
        panel.mappings([mapping])
    return _tile(panel, title, description, [Query(expr)], now=True, size=(width, height), missing=missing)


def up_now(title: str, expr: str, description: str) -> Tile:
    """Whether something is up."""
    return number(title, expr, description, mapping=DOWN_UP, steps=ONE_IS_GOOD)


def share_up(title: str, expr: str, description: str) -> Tile:
    """How many of several that do the same are up: all of them is good, and less than half is bad."""
    steps = ((None, RED), (0.5, YELLOW), (1, GREEN))
    return number(title, expr, description, unit=units.PercentUnit, decimals=0, steps=steps)


def mishaps(title: str, counter: str, description: str) -> Tile:
    """How often something happened in the last hour that never should."""
    return number(title, f"sum(increase({counter}[1h]))", description, decimals=0, steps=ZERO_IS_GOOD)


def dial(
    title: str,
    expr: str,
    description: str,
    *,
    steps: Steps = ((None, GREEN), (0.8, YELLOW), (0.95, RED)),
    missing: str = "down",
    width: int = 3,
    height: int = 4,
) -> Tile:
    """A share of what there is, now, from none to all."""
    panel = gauge.Panel().unit(units.PercentUnit).min(0).max(1).decimals(1).thresholds(thresholds(steps))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _tile(panel, title, description, [Query(expr)], now=True, size=(width, height), missing=missing)


def bars(
    title: str,
    queries: Sequence[Query],
    description: str,
    *,
    unit: str = units.NoUnit,
    low: float = 0,
    high: float | None = None,
    steps: Steps = INFORMATION,
    missing: str = "down",
    width: int = 8,
    height: int = 8,
) -> Tile:
    """Numbers, now, beside each other as bars."""
    panel = bargauge.Panel().unit(unit).min(low).thresholds(thresholds(steps))
    panel.orientation(common_models.VizOrientation.HORIZONTAL)
    panel.display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if high is not None:
        panel.max(high)
    return _tile(panel, title, description, queries, now=True, size=(width, height), missing=missing)


def lines(
    title: str,
    queries: Sequence[Query],
    description: str,
    *,
    unit: str = units.NoUnit,
    minimum: float = 0,
    maximum: float | None = None,
    reach: float | None = None,
    below_zero: bool = False,
    stacked: bool = False,
    steps: Steps = (),
    colors: Mapping[str, str] | None = None,
    missing: str = "down",
    width: int = 8,
    height: int = 8,
) -> Tile:
    """Series over time, from zero, and at least up to ``reach``; ``steps`` are dashed lines.

    A name has one colour wherever it is.
    """
    # no lines around areas: that of a series without a value would lie on the one below it
    panel = timeseries.Panel().unit(unit).line_width(0 if stacked else 1)
    panel.fill_opacity(70 if stacked else 0 if below_zero else 8)
    panel.show_points(common_models.VisibilityMode.NEVER)
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    panel.color_scheme(build.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.legend(
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    if not below_zero:
        panel.min(minimum)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if maximum is not None:
        panel.max(maximum)
    if reach is not None:
        panel.axis_soft_max(reach)
    if steps:
        panel.thresholds(thresholds(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED))
    for name, color in (colors or {}).items():
        look: dict[str, object] = {"color": {"mode": "fixed", "fixedColor": color}}
        if name in LIMITS:
            look |= {"custom.fillOpacity": 0, "custom.lineStyle": {"fill": "dash", "dash": [8, 6]}}
        panel.override_by_regexp(
            f"/^{name}( |$)/", [models.DynamicConfigValue(id_val=what, value=value) for what, value in look.items()]
        )
    return _tile(panel, title, description, queries, now=False, size=(width, height), missing=missing)


def durations(
    title: str, buckets: str, description: str, *, steps: Steps = (), missing: str = "down", width: int = 8
) -> Tile:
    """The usual three percentiles over time, from rates of buckets by ``le``."""
    return lines(
        title,
        [Query(f"histogram_quantile({q}, {buckets})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)],
        description,
        unit=units.Seconds,
        steps=steps,
        colors=PERCENTILE_COLORS,
        missing=missing,
        width=width,
    )


def heat(title: str, buckets: str, description: str, *, missing: str = "down", width: int = 8, height: int = 8) -> Tile:
    """How often something took how long, over time, from rates of buckets by ``le``."""
    panel = heatmap.Panel().calculate(False).show_legend()
    panel.y_axis(heatmap.YAxisConfig().unit(units.Seconds))
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(heatmap_models.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    return _tile(
        panel,
        title,
        description,
        [Query(buckets, "{{le}}")],
        now=False,
        size=(width, height),
        missing=missing,
        form=prometheus_models.PromQueryFormat.HEATMAP,
    )


def states(
    title: str,
    queries: Sequence[Query],
    description: str,
    *,
    mapping: models.ValueMap | None = DOWN_UP,
    missing: str = "down",
    width: int = 12,
    height: int = 8,
) -> Tile:
    """What was up, down or firing, and when."""
    panel = statetimeline.Panel().thresholds(thresholds(ONE_IS_GOOD)).merge_values(True).row_height(0.8)
    panel.show_value(common_models.VisibilityMode.NEVER)
    if mapping is not None:
        panel.mappings([mapping])
    return _tile(panel, title, description, queries, now=False, size=(width, height), missing=missing)


def _column_properties(column: Column) -> list[models.DynamicConfigValue]:
    """How a column is shown, as Grafana's overrides want it."""
    found: dict[str, object] = {"unit": column.unit}
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.mapping is not None:
        found["mappings"] = [column.mapping]
    if column.steps:
        steps = [{"value": value, "color": color} for value, color in column.steps]
        found["thresholds"] = {"mode": "absolute", "steps": steps}
    if column.steps or column.mapping is not None:
        found["custom.cellOptions"] = {"type": "color-text"}
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in found.items()]


def table(
    title: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    description: str,
    *,
    sort: str = "",
    missing: str = "down",
    width: int = 12,
    height: int = 8,
) -> Tile:
    """A row for each set of ``labels`` ({label: heading}), with a column for each value; ``sort``: greatest first."""
    panel = tables.Panel().thresholds(thresholds(((None, NEUTRAL),))).filterable(False)
    panel.cell_height(common_models.TableCellHeight.SM)
    names = [f"Value #{letter}" for letter in LETTERS[: len(columns)]] if len(columns) > 1 else ["Value"]
    headings = dict(labels) | {name: column.heading for name, column in zip(names, columns, strict=True)}
    if len(columns) > 1:
        panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "includeByName": {},
                "indexByName": {name: index for index, name in enumerate(headings)},
                "renameByName": headings,
            },
        )
    )
    for column in columns:
        panel.override_by_name(column.heading, _column_properties(column))
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return _tile(
        panel,
        title,
        description,
        [Query(column.expr) for column in columns],
        now=True,
        size=(width, height),
        missing=missing,
        form=prometheus_models.PromQueryFormat.TABLE,
    )


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
