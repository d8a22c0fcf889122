"""Asks one Prometheus, with one deadline for everything together. Blocks: for threads, not for the event loop."""

import json
import math
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

ANSWER_BYTES: Final = 4_000_000
CHUNK_BYTES: Final = 64 * 1024


class Unavailable(Exception):
    """No answer, a late one, or none that can be read; the text is for the log."""


class Point(NamedTuple):
    """`at` in seconds since 1970; `value` is None where Prometheus says NaN or an infinity."""

    at: float
    value: float | None


class Series(NamedTuple):
    labels: dict[str, str]
    points: list[Point]


class Prometheus:
    """One connection to the HTTP API at `url`; after `seconds` every call raises Unavailable. A context manager."""

    def __init__(self, url: str, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._clock = clock
        self._deadline = clock() + seconds
        self._path = parts.path.rstrip("/")
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)

    def __enter__(self) -> "Prometheus":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def now(self, query: str) -> list[Series]:
        """The vector of an instant query, one point a series."""
        return self._series("query", {"query": query}, "vector")

    def over(self, query: str, *, start: float, end: float, step: float) -> list[Series]:
        """The matrix of a range query; points that do not exist are left out."""
        return self._series("query_range", {"query": query, "start": start, "end": end, "step": step}, "matrix")

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts: labels, annotations, state, activeAt."""
        alerts = self._get("alerts", {}).get("alerts")
        if not isinstance(alerts, list) or not all(isinstance(alert, dict) for alert in alerts):
            raise Unavailable("no list of alerts")
        return alerts

    def _series(self, call: str, parameters: dict[str, Any], kind: str) -> list[Series]:
        data = self._get(call, parameters)
        try:
            if data["resultType"] != kind:
                raise Unavailable(f"a {data['resultType']} where a {kind} was expected")
            return [
                Series(one["metric"], [_point(*point) for point in one.get("values") or [one["value"]]])
                for one in data["result"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"an answer of another shape: {error!r}") from error

    def _get(self, call: str, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            self._connection.timeout = self._remaining()
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._remaining())
            self._connection.request(
                "GET", f"{self._path}/api/v1/{call}?{urlencode(parameters)}", headers={"Accept": "application/json"}
            )
            response = self._connection.getresponse()
            body = bytearray()
            while chunk := response.read1(CHUNK_BYTES):
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise Unavailable("an answer without end")
                if self._connection.sock is not None:
                    self._connection.sock.settimeout(self._remaining())
            response.read()  # nothing is left, but only this notices the end, or that it came too early
            answer = json.loads(body)
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        if response.status != 200 or not isinstance(answer, dict) or answer.get("status") != "success":
            raise Unavailable(f"status {response.status}")
        data = answer.get("data")
        if not isinstance(data, dict):
            raise Unavailable("an answer without data")
        return data

    def _remaining(self) -> float:
        remaining = self._deadline - self._clock()
        if remaining <= 0:
            raise Unavailable("out of time")
        return remaining


def _point(at: float, value: str) -> Point:
    number = float(value)
    return Point(float(at), number if math.isfinite(number) else None)
