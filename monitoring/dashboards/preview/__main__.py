"""Draws every dashboard from the answers of a live Prometheus, in Grafana's layout, one picture each.

The pictures are for people who have no Grafana at hand, and for the documentation: the same JSON, the same queries.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from monitoring.dashboards.build import DASHBOARDS, FOLDER
from monitoring.dashboards.preview.panels import KINDS, Panel, ground
from monitoring.dashboards.preview.source import Prometheus, Window
from monitoring.dashboards.preview.theme import CANVAS, EDGE, TEXT, WEAK, color
from PIL import Image

DPI = 100
WIDTH, CELL, GAP, HEAD = 1440, 34, 6, 52  # pixels: of the picture, a cell's height, between panels, the title
POINTS = 72 / DPI
# Around the drawing within a panel, in pixels: left, right, top, bottom
MARGINS = {
    "stat": (6, 6, 24, 4),
    "gauge": (6, 6, 24, 2),
    "timeseries": (58, 12, 30, 56),
    "heatmap": (58, 12, 30, 24),
    "state-timeline": (10, 12, 30, 24),
    "table": (12, 8, 28, 8),
    "bargauge": (12, 12, 32, 10),
}


def draw(board: dict[str, Any], prometheus: Prometheus) -> Figure:
    """The whole dashboard."""
    window = prometheus.window(board["time"]["from"])
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    height = HEAD + rows * CELL + GAP
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=CANVAS)
    figure.text(14 / WIDTH, 1 - 20 / height, board["title"], color=TEXT, size=15, weight="bold", va="center")
    figure.text(14 / WIDTH, 1 - 40 / height, board["description"], color=WEAK, size=9.5, va="center")
    times = " to ".join(datetime.fromtimestamp(when, UTC).strftime("%H:%M") for when in (window.start, window.end))
    figure.text(1 - 14 / WIDTH, 1 - 40 / height, f"{times} UTC", color=WEAK, size=9.5, va="center", ha="right")
    marks = annotations(board, prometheus, window)
    for settings in board["panels"]:
        place = settings["gridPos"]
        left = GAP + place["x"] * (WIDTH - GAP) / 24
        top = HEAD + place["y"] * CELL
        wide, high = place["w"] * (WIDTH - GAP) / 24 - GAP, place["h"] * CELL - GAP
        if settings["type"] == "row":
            figure.text(
                (left + 8) / WIDTH, 1 - (top + high / 2) / height, f"▾ {settings['title']}", color=TEXT, size=11,
                weight="bold", va="center",
            )  # fmt: skip
            continue
        answers = {target["refId"]: prometheus.series(target, window) for target in settings["targets"]}
        panel = Panel(settings, answers, window)
        box = FancyBboxPatch(
            (left / WIDTH, 1 - (top + high) / height), wide / WIDTH, high / height,
            boxstyle="square,pad=0", facecolor=ground(panel), edgecolor=EDGE, linewidth=0.8,
            transform=figure.transFigure, zorder=-1,
        )  # fmt: skip
        figure.patches.append(box)
        figure.text(
            (left + 10) / WIDTH,
            1 - (top + 13) / height,
            settings["title"],
            color=TEXT,
            size=9,
            weight="bold",
            va="center",
        )
        inset = MARGINS[settings["type"]]
        inner = (wide - inset[0] - inset[1], high - inset[2] - inset[3])
        axes = figure.add_axes(
            ((left + inset[0]) / WIDTH, 1 - (top + high - inset[3]) / height, inner[0] / WIDTH, inner[1] / height)
        )
        panel.width, panel.height = inner[0] * POINTS, inner[1] * POINTS
        axes.patch.set_alpha(0)
        KINDS[settings["type"]](axes, panel)
        if settings["type"] == "timeseries" and panel.series:
            for when, tint in marks:
                axes.axvline(when, color=tint, linewidth=0.9, linestyle=(0, (2, 2)))
    return figure


def annotations(board: dict[str, Any], prometheus: Prometheus, window: Window) -> list[tuple[float, str]]:
    """When what the dashboard marks began, and the colour of the mark."""
    found = []
    for one in board["annotations"]["list"]:
        for series in prometheus.series({"expr": one["expr"]}, window):
            times = [when for when, _ in series.points]
            begins = [
                when for before, when in zip([0.0, *times], times, strict=False) if when - before > 2 * window.step
            ]
            found += [(when, color(one["iconColor"])) for when in begins]
    return found


def save(figure: Figure, path: Path) -> None:
    """As PNG of few colours, which is a third of the size."""
    figure.savefig(path, dpi=DPI, facecolor=CANVAS)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
            path, optimize=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m monitoring.dashboards.preview", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="URL (default: %(default)s)")
    parser.add_argument("--only", choices=DASHBOARDS, help="one dashboard instead of all")
    args = parser.parse_args()
    mpl.use("agg")
    args.folder.mkdir(parents=True, exist_ok=True)
    prometheus = Prometheus(args.prometheus)
    prometheus.wait(20)
    for name in [args.only] if args.only else DASHBOARDS:
        board = json.loads((FOLDER / f"{name}.json").read_text())
        path = args.folder / f"{name}.png"
        save(draw(board, prometheus), path)
        sys.stdout.write(f"{path}: {path.stat().st_size // 1024} KiB\n")


if __name__ == "__main__":
    main()
