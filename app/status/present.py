"""The state as the page and machines show it: words, dates, and charts as numbers for SVG attributes."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import floor
from typing import Any, Final

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from status.model import (
    DAYS,
    LATENCIES,
    PARTS,
    QUANTILE,
    Day,
    Incident,
    LatencyDay,
    Reading,
    State,
    availability,
)

Text = str | Promise

NAMES: Final[dict[str, Text]] = {
    "site": pgettext_lazy("part of the site", "Site"),
    "matches": pgettext_lazy("part of the site", "Matches"),
    "connections": _("Live connections"),
    "accounts": _("Accounts and history"),
}
WHAT: Final[dict[str, Text]] = {
    "site": _("The front page opens under the site's own name. It is tried four times a minute."),
    "matches": _(
        "Two programs play a match against each other, as players do, every minute, and its result is stored."
    ),
    "connections": _("A live connection to the game opens. It is tried four times a minute."),
    "accounts": _("The database takes writes: signing in, profiles and past matches. Matches are played without it."),
}
STATES: Final[dict[State, Text]] = {
    "operational": _("Works"),
    "degraded": _("Works in part"),
    "down": _("Does not work"),
    "unknown": _("Not known"),
}
VERDICTS: Final[dict[State, Text]] = {
    "operational": _("Everything works."),
    "degraded": _("Something does not work as it should."),
    "down": _("The game is down."),
    "unknown": _("How it is now is not known."),
}
MEASURED_WORKS: Final = _("What is measured works. The rest is not known.")
LATENCY_NAMES: Final[dict[str, Text]] = {"pages": _("Pages"), "moves": _("Moves in a match")}
LATENCY_WHAT: Final[dict[str, Text]] = {
    "pages": _("From a request for a page to its last byte, on our side of the network."),
    "moves": _("From a key that arrives to the news of it on its way to both players."),
}
SOMETHING: Final = _("Something is not as it should be. It is being looked into.")
# Said of a part where what the alert says is not for players
FALLBACKS: Final[dict[str, Text]] = {
    "site": _("Pages may open slowly or not at all."),
    "matches": _("Starting, joining or finishing a match may fail."),
    "connections": _("Coming into a match, or back into it, may fail."),
    "accounts": _("Signing in, profiles and past matches may not work."),
}

BAR: Final = 10  # width of a day in the charts
LEVEL_HEIGHT: Final = {"good": 32, "fair": 24, "bad": 14, "none": 3}
CHART_HEIGHT: Final = 64


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    y: float
    height: float
    level: str
    title: str


def as_context(reading: Reading, *, at: float) -> dict[str, Any]:
    """What the template shows, in the active language."""
    now, history = reading.now, reading.history
    state: State = now.state if now and reading.freshness == "current" else "unknown"
    parts = [_part(reading, part) for part in PARTS]
    latency = [_latency(kind, history.latency[kind]) for kind in LATENCIES] if history else []
    return {
        "freshness": reading.freshness,
        "state": state,
        "verdict": _verdict(reading, state),
        "made_at": _utc(at),
        "measured_at": _utc(now.at) if now else None,
        "history_at": _utc(history.at) if history else None,
        "incidents": [_incident(incident) for incident in (now.incidents if now else ())],
        "parts": parts,
        "latency": latency,
        "days": DAYS,
        "chart_width": DAYS * BAR,
        "chart_height": CHART_HEIGHT,
        "table": _table(reading) if history else [],
    }


def _verdict(reading: Reading, state: State) -> Text:
    is_measured = reading.freshness == "current" and reading.now is not None and reading.now.is_measured
    return MEASURED_WORKS if state == "unknown" and is_measured else VERDICTS[state]


def _part(reading: Reading, part: str) -> dict[str, Any]:
    state = reading.now.parts[part] if reading.now else "unknown"
    days = reading.history.days[part] if reading.history else ()
    ratio, measured = availability(days)
    return {
        "id": part,
        "name": NAMES[part],
        "what": WHAT[part],
        "state": state,
        "state_name": STATES[state],
        "measured": measured,
        "ratio": percent(ratio),
        "bars": [_bar(position, day) for position, day in enumerate(days)],
    }


def _bar(position: int, day: Day) -> Bar:
    level = level_of(day)
    height = LEVEL_HEIGHT[level]
    return Bar(position * BAR, LEVEL_HEIGHT["good"] - height, height, level, f"{day.date}: {_told(day)}")


def _told(day: Day) -> str:
    if day.available is None:
        return gettext("not measured")
    if day.coverage >= 0.95:
        return percent(day.available)
    return gettext("%(ratio)s, in the %(coverage)s of the day that were measured") % {
        "ratio": percent(day.available),
        "coverage": percent(day.coverage, decimals=0),
    }


def level_of(day: Day) -> str:
    """How a day is drawn. Height tells it as well as colour."""
    if day.available is None:
        return "none"
    return "good" if day.available >= 0.999 else "fair" if day.available >= 0.99 else "bad"


def percent(ratio: float | None, *, decimals: int = 2) -> str:
    """Cut, not rounded: 100 % means all of it. Empty for None."""
    if ratio is None:
        return ""
    cut = floor(ratio * 100 * 10**decimals + 1e-6) / 10**decimals
    return f"{number_format(100, 0) if cut >= 100 else number_format(cut, decimals)}\u00a0%"


def duration(seconds: float | None) -> str:
    """Milliseconds below a second. Empty for None."""
    if seconds is None:
        return ""
    milliseconds = seconds * 1000
    if milliseconds < 999.5:
        decimals = 1 if milliseconds < 9.95 else 0
        return f"{number_format(round(milliseconds, decimals), decimals)}\u00a0ms"
    return f"{number_format(round(seconds, 1), 1)}\u00a0s"


def _latency(kind: str, days: tuple[LatencyDay, ...]) -> dict[str, Any]:
    measured = [day.seconds for day in days if day.seconds is not None]
    top = ceiling(max(measured, default=0.0))
    bars = []
    for position, day in enumerate(days):
        height = CHART_HEIGHT * min(1.0, max(0.03, (day.seconds or 0.0) / top))
        told = gettext("not measured") if day.seconds is None else duration(day.seconds)
        level = "none" if day.seconds is None else "good"
        bars.append(
            Bar(position * BAR, round(CHART_HEIGHT - height, 1), round(height, 1), level, f"{day.date}: {told}")
        )
    last = next((day for day in reversed(days) if day.seconds is not None), None)
    return {
        "id": kind,
        "name": LATENCY_NAMES[kind],
        "what": LATENCY_WHAT[kind],
        "measured": len(measured),
        "top": duration(top),
        "worst": duration(max(measured, default=None)),
        "last": duration(last.seconds) if last else "",
        "last_date": date.fromisoformat(last.date) if last else None,
        "bars": bars,
    }


def ceiling(seconds: float) -> float:
    """The next of 1, 2, 5, 10, 20... ms: where the scale of a chart ends."""
    step = 0.001
    while True:
        for factor in (1, 2, 5):
            if step * factor >= seconds:
                return step * factor
        step *= 10


def _incident(incident: Incident) -> dict[str, Any]:
    """Impacts are written once, in English, beside the alert; those that are translated are told so."""
    language = get_language()
    told = [
        {"text": text, "is_english": language != "en" and text in incident.impacts}
        for text in dict.fromkeys(
            gettext(impact) if impact else str(_fallback(incident)) for impact in incident.impacts
        )
    ]
    return {"names": [NAMES[part] for part in incident.parts], "since": _utc(incident.since), "impacts": told}


def _fallback(incident: Incident) -> Text:
    return FALLBACKS[incident.parts[0]] if incident.parts else SOMETHING


def _table(reading: Reading) -> list[dict[str, Any]]:
    """A row a day, the newest first."""
    history = reading.history
    if history is None:
        return []
    columns = [[_told(day) for day in history.days[part]] for part in PARTS]
    columns += [
        [duration(day.seconds) or gettext("not measured") for day in history.latency[kind]] for kind in LATENCIES
    ]
    dates = [date.fromisoformat(day.date) for day in history.days[PARTS[0]]]
    return [{"date": day, "cells": cells} for day, *cells in reversed(list(zip(dates, *columns, strict=True)))]


def as_json(reading: Reading, *, at: float) -> dict[str, Any]:
    """docs/status.schema.json. Texts are in English; times are in UTC."""
    now, history = reading.now, reading.history
    is_current = reading.freshness == "current"
    components = []
    for part in PARTS:
        days = history.days[part] if history else ()
        ratio, measured = availability(days)
        known: State = now.parts[part] if now else "unknown"
        components.append(
            {
                "id": part,
                "state": known if is_current else "unknown",
                "last_known_state": known,
                "availability": ratio,
                "measured_days": measured,
                "days": [{"date": day.date, "availability": day.available, "coverage": day.coverage} for day in days],
            }
        )
    return {
        "schema": 1,
        "copy": "fresh",
        "made_at": _iso(at),
        "state": now.state if now and is_current else "unknown",
        "measurements": reading.freshness,
        "measured_at": _iso(now.at) if now else None,
        "components": components,
        "incidents": [
            {
                "components": list(incident.parts),
                "since": _iso(incident.since),
                "impacts": list(dict.fromkeys(impact or str(_fallback(incident)) for impact in incident.impacts)),
            }
            for incident in (now.incidents if now else ())
        ],
        "latency": [
            {
                "id": kind,
                "quantile": QUANTILE,
                "days": [
                    {"date": day.date, "seconds": day.seconds} for day in (history.latency[kind] if history else ())
                ],
            }
            for kind in LATENCIES
        ],
    }


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _iso(at: float) -> str:
    return _utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")
