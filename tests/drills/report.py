"""Results: a file that machines read, and docs/drills.md that people do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

from tests.conftest import ROOT
from tests.drills.drill import Outcome
from tests.drills.model import Fault, Kind, basis, due, faults, kinds, named, noise, unproven

RESULTS: Final = Path(__file__).parent / "results.json"
PAGE: Final = ROOT / "docs" / "drills.md"
_keeping: Final = Lock()  # labs are drilled side by side
BEGIN: Final = "<!-- what follows is written by `make drills` -->\n"


def load() -> dict[str, dict[str, Any]]:
    """The latest result of each fault, by name."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def result(outcome: Outcome) -> dict[str, Any]:
    """What is kept of an outcome."""
    return {
        "on": datetime.fromtimestamp(outcome.began, UTC).strftime("%Y-%m-%d"),
        "basis": basis(outcome.fault),
        "profile": "true" if outcome.fault.is_true else "test",
        "alerts": [
            {
                "alert": kind.alert,
                "severity": kind.severity,
                "notified_s": round(outcome.notified[kind]),
                "resolved_s": round(outcome.resolved[kind]),
            }
            for kind in outcome.notified
        ],
        "company": [str(kind) for kind in sorted(outcome.heard)],
    }


def save(passed: list[Outcome]) -> None:
    """Keeps the results of faults that passed."""
    _keep({outcome.fault.name: result(outcome) for outcome in passed})


def save_quiet(result: dict[str, Any]) -> None:
    _keep({"quiet": result})


def _keep(new: dict[str, dict[str, Any]]) -> None:
    """Adds to the results, in the order of the faults, and forgets faults that are no more."""
    with _keeping:
        results = load() | new
        known = [*(fault.name for fault in faults()), "quiet"]
        RESULTS.write_text(json.dumps({name: results[name] for name in known if name in results}, indent=1) + "\n")


COLUMNS: Final = ("alert", "", "fault", "seconds to hear", "seconds to resolve", "also heard", "timings", "run on")


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def table(results: dict[str, dict[str, Any]]) -> str:
    """The matrix, pages first."""
    rows = []
    for name, kept in results.items():
        others = ", ".join(kept["company"]) or "nothing"
        for one in kept["alerts"]:
            cells = (one["alert"], one["severity"], named(name).fault, one["notified_s"], one["resolved_s"])
            rows.append((one["severity"] != "page", row(*cells, others, kept["profile"], kept["on"])))
    return "\n".join([row(*COLUMNS), "|---" * len(COLUMNS) + "|", *(text for _, text in sorted(rows))])


def proven(results: dict[str, dict[str, Any]]) -> set[Kind]:
    return {Kind(alert["alert"], alert["severity"]) for kept in results.values() for alert in kept.get("alerts", [])}


def stale(results: dict[str, dict[str, Any]]) -> list[str]:
    """Faults whose latest result is about another fault or other rules than there are now."""
    return [fault.name for fault in faults() if results.get(fault.name, {}).get("basis") != basis(fault)]


def missing(results: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each alert that was not proven."""
    left = sorted(str(kind) for kind in set(kinds()) - proven(results))
    return [f"{kind}: {unproven().get(kind, 'its drill has not passed')}" for kind in left]


def measured(results: dict[str, dict[str, Any]]) -> str:
    """The part of docs/drills.md that is written by machine."""
    drills = {name: kept for name, kept in results.items() if name != "quiet"}
    company = [row("fault", "alert", "why"), "|---|---|---|"]
    company += [row(fault.fault, name, why) for fault in faults() for name, why in fault.company.items()]
    company += [row("any", kind, why) for kind, why in noise().items()]
    parts = ["## The matrix", "", table(drills), "", "## What may come along", "", *company]
    parts += ["", "## Tickets without a drill", "", *(f"* {kind}: {why}" for kind, why in unproven().items())]
    parts += ["", "## Due", "", "Not run as they are now; what the matrix says of them is older, or not there.", ""]
    parts += [f"* {named(name).fault} (`{name}`): {why}" for name, why in due().items()] or ["None."]
    if "quiet" in results:
        quiet = results["quiet"]
        parts += ["", f"## The quiet run ({quiet['on']}, true timings)", "", row("what", "seconds", "pages", "tickets")]
        parts += ["|---|---|---|---|"]
        parts += [row(*(step[key] for key in ("what", "seconds", "pages", "tickets"))) for step in quiet["steps"]]
    return "\n".join(parts) + "\n"


def render(text: str, results: dict[str, dict[str, Any]]) -> str:
    """docs/drills.md with the results in it."""
    return text.partition(BEGIN)[0] + BEGIN + "\n" + measured(results)


def write() -> None:
    PAGE.write_text(render(PAGE.read_text(), load()))


def describe(fault: Fault) -> str:
    heard = ", ".join(str(kind) for kind in fault.kinds) or "the dead man's switch"
    where = "" if fault.topology == "single" else f" [TOPOLOGY={fault.topology}]"
    return f"{fault.name:28} {fault.fault}: {heard}{where}"
