"""One drawing for each kind of panel. They get a panel as Grafana would, and what its queries returned."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.patches import Rectangle, Wedge
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from monitoring.dashboards.preview.source import Series, Window
from monitoring.dashboards.preview.theme import (
    CANVAS,
    EDGE,
    GRID,
    PANEL,
    TEXT,
    WEAK,
    color,
    color_by_name,
    mix,
    show,
    step_color,
    tick,
)

SMALL, NORMAL = 7.5, 8.5
CHARACTER, BOLD_CHARACTER = 0.62, 0.76  # width of one, in font sizes
HEAT = LinearSegmentedColormap.from_list("heat", [PANEL, "#7f2704", "#d94801", "#fd8d3c", "#fdd0a2"])


class Panel:
    """A panel's settings, its answers by letter of the query, and the size of its drawing in points."""

    def __init__(self, settings: dict[str, Any], answers: dict[str, list[Series]], window: Window) -> None:
        self.settings, self.answers, self.window = settings, answers, window
        self.defaults: dict[str, Any] = settings["fieldConfig"]["defaults"]
        self.unit: str = self.defaults.get("unit", "none")
        self.decimals: int | None = self.defaults.get("decimals")
        self.steps: list[dict[str, Any]] = self.defaults.get("thresholds", {}).get("steps", [])
        self.width, self.height = 100.0, 100.0

    @property
    def series(self) -> list[Series]:
        return [one for found in self.answers.values() for one in found if one.points]

    def text(self, value: float | None) -> str:
        if value is None:
            return str(self.defaults["noValue"])
        return mapped(self.defaults, value)[0] or show(value, self.unit, self.decimals)

    def color(self, value: float | None) -> str:
        return (mapped(self.defaults, value)[1] if value is not None else "") or step_color(self.steps, value)

    def look(self, one: Series) -> dict[str, Any]:
        """What the panel fixes for a series."""
        for override in self.settings["fieldConfig"]["overrides"]:
            if re.search(override["matcher"]["options"].strip("/"), one.name):
                return {what["id"]: what["value"] for what in override["properties"]}
        return {}

    def line_colors(self) -> list[str]:
        """One for each series: what the panel fixes, or what the name always has."""
        found: list[str] = []
        for one in self.series:
            fixed = self.look(one).get("color", {}).get("fixedColor", "")
            found.append(color(fixed) if fixed else color_by_name(one.name, found))
        return found


def mapped(field: dict[str, Any], value: float) -> tuple[str, str]:
    """Text and colour that a field's value mappings give to a value."""
    for mapping in field.get("mappings", []):
        if (result := mapping["options"].get(f"{value:g}")) is not None:
            return result["text"], color(result["color"])
    return "", ""


def fit(text: str, points: float, size: float) -> str:
    """As much of a text as there is room for."""
    room = int(points / (size * CHARACTER))
    return text if len(text) <= room else text[: max(room - 1, 1)] + "…"


def nothing(axes: Axes, panel: Panel) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, panel.text(None), color=WEAK, size=11, ha="center", va="center", transform=axes.transAxes)


def stat(axes: Axes, panel: Panel) -> None:
    """A number on a ground of its colour; the ground is the panel's own."""
    axes.set_axis_off()
    text = panel.text(panel.series[0].last if panel.series else None)
    size = min(24, panel.width / max(len(text), 3) / BOLD_CHARACTER, panel.height * 0.62)
    axes.text(0.5, 0.48, text, color="white", size=size, weight="bold", ha="center", va="center")


def gauge(axes: Axes, panel: Panel) -> None:
    """An arc from none to all, with the thresholds around it."""
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set(xlim=(-1.25, 1.25), ylim=(-0.45, 1.15))
    value = panel.series[0].last if panel.series else None
    low, high = panel.defaults["min"], panel.defaults["max"]

    def angle(at: float) -> float:
        return 200 - 220 * min(max((at - low) / (high - low), 0), 1)

    ends = [step["value"] for step in panel.steps[1:]] + [high]
    start = low
    for step, end in zip(panel.steps, ends, strict=True):
        axes.add_patch(Wedge((0, 0), 1.1, angle(end), angle(start), width=0.06, color=color(step["color"])))
        start = end
    axes.add_patch(Wedge((0, 0), 1.0, angle(high), angle(low), width=0.24, color=EDGE))
    if value is not None:
        axes.add_patch(Wedge((0, 0), 1.0, angle(value), angle(low), width=0.24, color=panel.color(value)))
    size = 16 if value is not None else 10
    axes.text(0, 0.02, panel.text(value), color=panel.color(value), size=size, weight="bold", ha="center", va="center")


def bargauge(axes: Axes, panel: Panel) -> None:
    """A bar for each series, with its name before and its value behind."""
    if not panel.series:
        return nothing(axes, panel)
    axes.set_axis_off()
    rows = panel.series
    values = [one.last or 0.0 for one in rows]
    low, high = panel.defaults.get("min", 0.0), panel.defaults.get("max", max([*values, 1e-9]))
    axes.set(xlim=(0, 1), ylim=(len(rows), 0))
    for row, (one, value) in enumerate(zip(rows, values, strict=True)):
        share = min(max((value - low) / (high - low), 0.004), 1)
        axes.text(0, row + 0.5, fit(one.name, panel.width * 0.3, NORMAL), color=TEXT, size=NORMAL, va="center")
        axes.add_patch(Rectangle((0.3, row + 0.18), 0.56, 0.64, color=EDGE))
        axes.add_patch(Rectangle((0.3, row + 0.18), 0.56 * share, 0.64, color=panel.color(value)))
        axes.text(
            1, row + 0.5, panel.text(value), color=panel.color(value), size=10.5, weight="bold", ha="right", va="center"
        )
    return None


def timeseries(axes: Axes, panel: Panel) -> None:
    """Lines, or areas on top of each other."""
    if not panel.series:
        return nothing(axes, panel)
    colors = panel.line_colors()
    custom = panel.defaults.get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    gap = panel.window.step * 3.5
    top: dict[float, float] = {}
    for one, tint in zip(panel.series, colors, strict=True):
        look = panel.look(one)
        fill = look.get("custom.fillOpacity", custom.get("fillOpacity", 0)) / 100
        dashes = (0, (4, 3)) if "custom.lineStyle" in look else "-"
        for part in _unbroken(one.points, gap):
            times = [when for when, _ in part]
            floor = [top.get(when, 0.0) if stacked else 0.0 for when in times]
            roof = [base + value for base, (_, value) in zip(floor, part, strict=True)]
            axes.fill_between(times, floor, roof, color=tint, alpha=fill, linewidth=0)
            if not stacked:
                dot = "." if len(part) == 1 else None
                axes.plot(times, roof, color=tint, linewidth=1.1, linestyle=dashes, marker=dot, markersize=3)
            if stacked:
                top.update(zip(times, roof, strict=True))
    _limits(axes, panel)
    if custom.get("thresholdsStyle", {}).get("mode", "off") != "off":
        low, high = axes.get_ylim()
        for step in panel.steps[1:]:
            if low <= step["value"] <= high:
                axes.axhline(step["value"], color=color(step["color"]), linewidth=0.9, linestyle=(0, (5, 3)), alpha=0.8)
    low, high = axes.get_ylim()
    every = tick(panel.unit, high - low)
    axes.yaxis.set_major_locator(MultipleLocator(every) if every else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value, panel.unit)))
    time_axis(axes, panel.window, panel.width)
    legend(axes, panel, list(zip([one.name for one in panel.series], colors, strict=True)))
    return None


def _unbroken(points: list[tuple[float, float]], gap: float) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = []
    for point in points:
        if parts and point[0] - parts[-1][-1][0] <= gap:
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts


def _limits(axes: Axes, panel: Panel) -> None:
    """From zero, or what the panel says, to what there is."""
    if "min" not in panel.defaults:
        return
    low, high = panel.defaults["min"], axes.get_ylim()[1]
    if "max" in panel.defaults:
        high = panel.defaults["max"] + (panel.defaults["max"] - low) * 0.02
    high = max(high, panel.defaults.get("custom", {}).get("axisSoftMax", high))
    peak = max(value for one in panel.series for _, value in one.points)
    axes.set_ylim(low, high if peak > low else max(high, low + 1))


def time_axis(axes: Axes, window: Window, width: float) -> None:
    axes.set_facecolor(PANEL)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=WEAK, labelsize=SMALL, length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(window.start, window.end)
    span = window.end - window.start
    wanted = span / max(width / 60, 2)
    every = next((one for one in (120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600) if one >= wanted), 43200)
    first = (int(window.start) // every + 1) * every
    ticks = list(range(first, int(window.end) + 1, every))
    axes.set_xticks(ticks, [datetime.fromtimestamp(when, UTC).strftime("%H:%M") for when in ticks])


def legend(axes: Axes, panel: Panel, names: list[tuple[str, str]]) -> None:
    """Names under the drawing, as many as fit into two lines."""
    lines, x = 0, 0.0
    for index, (name, tint) in enumerate(names):
        short = fit(name, panel.width * 0.6, SMALL)
        width = (len(short) * CHARACTER + 3.2) * SMALL
        if x and x + width > panel.width:
            lines, x = lines + 1, 0.0
        at = (x / panel.width, -(24 + lines * 12) / panel.height)
        if lines > 1:
            more = {"color": WEAK, "size": SMALL, "ha": "right", "va": "center", "transform": axes.transAxes}
            axes.text(1, -(24 + 12) / panel.height, f"+{len(names) - index}", backgroundcolor=PANEL, **more)
            return
        mark = Rectangle(
            (at[0], at[1] - 1.2 / panel.height), 9 / panel.width, 2.6 / panel.height,
            color=tint, transform=axes.transAxes, clip_on=False,
        )  # fmt: skip
        axes.add_patch(mark)
        axes.text(at[0] + 12 / panel.width, at[1], short, color=TEXT, size=SMALL, va="center", transform=axes.transAxes)
        x += width


def heatmap(axes: Axes, panel: Panel) -> None:
    """Buckets over time; what Prometheus counts up to each bound is made what is between two."""
    rows = sorted(panel.series, key=lambda one: float(one.labels["le"]))
    times = sorted({when for one in rows for when, _ in one.points})
    if not rows or len(times) < 2:
        return nothing(axes, panel)
    below = dict.fromkeys(times, 0.0)
    grid = []
    for one in rows:
        values = dict(one.points)
        grid.append([max(values.get(when, below[when]) - below[when], 0.0) for when in times])
        below = {when: values.get(when, below[when]) for when in times}
    peak = max(max(row) for row in grid) or 1
    axes.pcolormesh(times, range(len(rows)), grid, cmap=HEAT, norm=PowerNorm(0.5, 0, peak), shading="nearest")
    axes.set_yticks(range(len(rows)), [_bound(one.labels["le"]) for one in rows])
    time_axis(axes, panel.window, panel.width)
    axes.grid(False)
    return None


def _bound(le: str) -> str:
    return "more" if le == "+Inf" else show(float(le), "s")


def timeline(axes: Axes, panel: Panel) -> None:
    """A line for each series, in the colours of its states."""
    rows = panel.series
    if not rows:
        return nothing(axes, panel)
    room = int(panel.height / 11)
    shown = rows[: room if len(rows) <= room else room - 1]
    room = min(room, max(len(shown), int(panel.height / 26)))
    names = max(len(one.name) for one in shown)
    left = min(names * SMALL * CHARACTER + 8, panel.width * 0.45) / panel.width
    inner = axes.inset_axes((left, 0, 1 - left, 1))
    axes.set_axis_off()
    step = panel.window.step
    for row, one in enumerate(shown):
        label = fit(one.name, left * panel.width, SMALL)
        axes.text(
            left - 6 / panel.width, 1 - (row + 0.5) / room, label, color=TEXT, size=SMALL, ha="right", va="center"
        )
        for part in _unbroken(one.points, step * 2.5):
            begin, state = part[0]
            for when, value in [*part[1:], (part[-1][0] + step, None)]:
                if value != state:
                    inner.add_patch(
                        Rectangle((begin, row + 0.12), when - begin, 0.76, color=panel.color(state), linewidth=0)
                    )
                    begin, state = when, value if value is not None else state
    if len(shown) < len(rows):
        left_out = f"and {len(rows) - len(shown)} more"
        axes.text(left, 0.5 / room, left_out, color=WEAK, size=SMALL, va="center", zorder=10)
    time_axis(inner, panel.window, panel.width * (1 - left))
    inner.set(ylim=(room, 0), yticks=[])
    return None


def table(axes: Axes, panel: Panel) -> None:
    """Rows of labels and values, joined as Grafana's transformation does."""
    options = panel.settings["transformations"][-1]["options"]
    organize = {
        name: options["renameByName"][name] for name in sorted(options["indexByName"], key=options["indexByName"].get)
    }
    labels = [name for name in organize if not name.startswith("Value")]
    columns = {
        override["matcher"]["options"]: override["properties"]
        for override in panel.settings["fieldConfig"]["overrides"]
    }
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for letter, found in panel.answers.items():
        heading = organize.get(f"Value #{letter}") or organize["Value"]
        for one in found:
            if one.last is not None:
                rows.setdefault(tuple(one.labels.get(label, "") for label in labels), {})[heading] = one.last
    if not rows:
        return nothing(axes, panel)
    axes.set_axis_off()
    order = sorted(rows.items())
    for sort in panel.settings["options"].get("sortBy", []):
        order.sort(key=lambda row: -row[1].get(sort["displayName"], 0.0))
    headings = list(organize.values())
    widest = [
        max([len(name) * 1.1, *(len(key[index]) for key, _ in order)])
        for index, name in enumerate(headings[: len(labels)])
    ]
    widest += [max(len(name) * 1.1, 9) for name in headings[len(labels) :]]
    edges = [sum(widest[:index]) / sum(widest) for index in range(len(widest) + 1)]
    room = int(panel.height / 16)
    axes.set(xlim=(0, 1), ylim=(room, 0))

    def cell(row: float, index: int, text: str, tint: str, weight: str = "normal") -> None:
        number = index >= len(labels)
        at = edges[index + 1] - 6 / panel.width if number else edges[index]
        fitted = fit(text, (edges[index + 1] - edges[index]) * panel.width, SMALL)
        axes.text(
            at,
            row + 0.5,
            fitted,
            color=tint,
            size=NORMAL - 0.5,
            va="center",
            ha="right" if number else "left",
            weight=weight,
        )

    for index, heading in enumerate(headings):
        cell(0, index, heading, color("blue"), "bold")
    for row, (key, values) in enumerate(order[: room - 1], start=1):
        axes.axhline(row, color=EDGE, linewidth=0.7)
        for index, text in enumerate(key):
            cell(row, index, text, TEXT)
        for index, heading in enumerate(headings[len(labels) :], start=len(labels)):
            cell(row, index, *_shown(columns.get(heading, []), values.get(heading)))
    return None


def _shown(properties: list[dict[str, Any]], value: float | None) -> tuple[str, str]:
    """Text and colour of a cell."""
    field = {one["id"]: one["value"] for one in properties}
    if value is None:
        return "", TEXT
    text, tint = mapped(field, value)
    steps = field.get("thresholds", {}).get("steps", [])
    return text or show(value, field.get("unit", "none"), field.get("decimals")), tint or step_color(steps, value)


KINDS: dict[str, Callable[[Axes, Panel], None]] = {
    "stat": stat,
    "gauge": gauge,
    "bargauge": bargauge,
    "timeseries": timeseries,
    "heatmap": heatmap,
    "state-timeline": timeline,
    "table": table,
}


def ground(panel: Panel) -> str:
    """The colour behind a panel: of a number, its own."""
    if panel.settings["type"] != "stat":
        return PANEL
    return mix(panel.color(panel.series[0].last if panel.series else None), CANVAS, 0.72)
