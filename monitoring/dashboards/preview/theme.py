"""Colours and numbers as Grafana shows them in the dark."""

import math
import zlib
from collections.abc import Collection, Sequence
from typing import Any

CANVAS, PANEL, EDGE = "#111217", "#181b1f", "#2b2e36"
TEXT, WEAK, GRID = "#d5d6de", "#8f919c", "#25282e"
COLORS = {
    "green": "#73bf69",
    "yellow": "#f2cc0c",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "text": TEXT,
}
# of series without a colour of their own; red is what is bad
PALETTE = (
    "#5794f2", "#73bf69", "#ff9830", "#b877d9", "#f2cc0c", "#4dc4c4", "#8ab8ff", "#96d98d", "#ffb357",
    "#ca95e5", "#e0b400", "#37a2a2", "#1f60c4", "#56a64b", "#e0752d", "#8f3bb8", "#705da0", "#d683ce",
)  # fmt: skip

SECONDS = ((1e-6, "ns", 1e-9), (1e-3, "µs", 1e-6), (1, "ms", 1e-3), (60, "s", 1), (3600, "min", 60))
LONG_SECONDS = (
    (86400, "h", 3600),
    (14 * 86400, "days", 86400),
    (365 * 86400, "weeks", 7 * 86400),
    (float("inf"), "years", 365 * 86400),
)
ROUND_SECONDS = (30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 7 * 86400)
A_SECOND = {"reqps": "req/s", "ops": "ops/s", "mps": "msg/s", "eps": "evt/s", "pps": "p/s"}


def color(name: str) -> str:
    """A colour by Grafana's name for it."""
    return COLORS.get(name, name)


def color_by_name(name: str, taken: Collection[str]) -> str:
    """One colour for a name wherever it is, unless another series of the panel has it."""
    start = zlib.crc32(name.encode()) % len(PALETTE)
    turned = PALETTE[start:] + PALETTE[:start]
    return next((one for one in turned if one not in taken), turned[0])


def mix(one: str, other: str, share: float) -> str:
    """``share`` of the first colour, and the rest of the second."""
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


def _channels(hexadecimal: str) -> list[int]:
    return [int(hexadecimal[index : index + 2], 16) for index in (1, 3, 5)]


def step_color(steps: Sequence[dict[str, Any]], value: float | None) -> str:
    """The colour of the highest threshold that is not above the value."""
    reached = [step for step in steps if step["value"] is None or (value is not None and value >= step["value"])]
    return color(reached[-1]["color"]) if reached else TEXT


def digits(value: float, decimals: int | None) -> str:
    """Three significant digits, or as many behind the point as are asked for."""
    if decimals is None:
        size = abs(value)
        if 0 < size < 0.1:
            return f"{value:.2g}"
        decimals = 0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{decimals}f}"


def show(value: float, unit: str, decimals: int | None = None) -> str:
    """A number with its unit."""
    if unit == "percentunit":
        return f"{digits(value * 100, decimals)}%"
    if unit == "s":
        if value == 0:
            return "0 s"
        for below, name, factor in SECONDS + LONG_SECONDS:
            if abs(value) < below:
                return f"{digits(value / factor, decimals)} {name}"
    if unit in {"bytes", "binBps", "Bps"}:
        base, infix = (1000, "") if unit == "Bps" else (1024, "i")
        power = 0
        while abs(value) >= base and power < 4:
            value, power = value / base, power + 1
        prefix = ("", "K", "M", "G", "T")[power]
        return f"{digits(value, decimals)} {prefix}{infix if prefix else ''}B{'' if unit == 'bytes' else '/s'}"
    suffix = f" {A_SECOND[unit]}" if unit in A_SECOND else ""
    for factor, name in ((1e9, "G"), (1e6, "M"), (1e4, "K")):
        if abs(value) >= factor:
            return f"{digits(value / (1e3 if name == 'K' else factor), decimals)} {name}{suffix}"
    return digits(value, decimals) + suffix


def tick(unit: str, span: float) -> float | None:
    """A distance of the axis' lines that is round in a unit which does not count in tens; None for the others."""
    if unit == "bytes" or unit == "binBps":
        return float(2 ** math.ceil(math.log2(span / 5))) if span > 0 else None
    if unit == "s" and span > 90:
        return next((one for one in ROUND_SECONDS if one >= span / 5), None)
    return None
