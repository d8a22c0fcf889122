"""What Prometheus answers to a dashboard, with Grafana's variables filled in."""

import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

import requests

SCRAPE_SECONDS = 15
POINTS = 220  # of a line, at most
RETRY_S = 0.2  # while a tunnel opens
FACTORS = {"h": 3600, "m": 60, "d": 86400}


@dataclass(frozen=True)
class Series:
    """One line of an answer: its legend, its labels, and points of (Unix time, value). NaN is left out."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]] = field(default_factory=list)

    @property
    def last(self) -> float | None:
        return self.points[-1][1] if self.points else None


@dataclass(frozen=True)
class Window:
    """The time that is shown."""

    start: float
    end: float

    @property
    def step(self) -> int:
        return max(SCRAPE_SECONDS, math.ceil((self.end - self.start) / POINTS / SCRAPE_SECONDS) * SCRAPE_SECONDS)


class Prometheus:
    """The HTTP interface of one."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def wait(self, seconds: float) -> None:
        """Until it answers: a tunnel takes a moment. Raises OSError when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("query", query="vector(1)")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_S)

    def ask(self, path: str, **parameters: object) -> Any:
        answer = requests.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=60)
        if not answer.ok:
            raise ValueError(f"{parameters.get('query')}: {answer.text}")
        return answer.json()["data"]

    def window(self, start: str) -> Window:
        """The time of a dashboard, ``now-3h``, as far as there is anything to see."""
        now = time.time()
        found = re.fullmatch(r"now-(\d+)([hmd])", start)
        if found is None:
            raise ValueError(f"{start} is no time that this understands")
        span = int(found[1]) * FACTORS[found[2]]
        seen = self.ask("query_range", query="count(up)", start=now - span, end=now, step=max(15, span // 500))
        first = min((float(series["values"][0][0]) for series in seen["result"]), default=now - span)
        return Window(max(now - span, min(first, now - 600)), now)

    def series(self, target: dict[str, Any], window: Window) -> list[Series]:
        """The answer to one query of a panel."""
        expr = fill_in(target["expr"], window)
        if target.get("instant"):
            found = self.ask("query", query=expr, time=window.end)["result"]
        else:
            found = self.ask("query_range", query=expr, start=window.start, end=window.end, step=window.step)["result"]
        return [_series(one, target.get("legendFormat", "")) for one in found]


def fill_in(expr: str, window: Window) -> str:
    values = {
        "$__rate_interval": f"{max(window.step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)}s",
        "$__range": f"{round(window.end - window.start)}s",
    }
    for variable, value in values.items():
        expr = expr.replace(variable, value)
    return re.sub(r"\$\w+", ".+", expr)  # all values of the others


def _series(one: dict[str, Any], legend: str) -> Series:
    labels = one["metric"]
    name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda label: labels.get(label[1], ""), legend)
    pairs = one.get("values") or [one["value"]]
    points = [(float(when), float(value)) for when, value in pairs]
    return Series(name or str(labels), labels, [point for point in points if math.isfinite(point[1])])
