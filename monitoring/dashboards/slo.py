"""What was promised: how much may still go wrong, and how fast it does."""

from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import GREEN, ORANGE, RED, YELLOW, Column, Tile, lines, table
from monitoring.dashboards.queries import Query
from monitoring.dashboards.shared import BUDGET_LEFT, budget_left

DATA: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "slos.yml").read_text())
ALL = 'sloth_service="matchpoint",sloth_slo=~"$slo"'
BURNING = ((None, GREEN), (1, YELLOW), (6, ORANGE), (14.4, RED))
WINDOWS = {"1h": RED, "6h": ORANGE, "1d": YELLOW, "3d": GREEN}
WATCHED = " and ".join(slo["alert"] for slo in DATA["slos"])
QUIET = "nothing happened yet"

BUDGETS = [
    budget_left(ALL, f"Watched by {WATCHED}.", missing=QUIET, width=10),
    table(
        "Objectives",
        {"sloth_slo": "Objective"},
        [
            Column("Promised", f"max by (sloth_slo) (slo:objective:ratio{{{ALL}}})", units.PercentUnit, decimals=1),
            Column(
                "Good in 30 days",
                f"1 - max by (sloth_slo) (slo:sli_error:ratio_rate30d{{{ALL}}})",
                units.PercentUnit,
                decimals=3,
            ),
            Column(
                "Budget left",
                f"min by (sloth_slo) (slo:period_error_budget_remaining:ratio{{{ALL}}})",
                units.PercentUnit,
                BUDGET_LEFT,
                decimals=1,
            ),
            Column(
                "Burns now",
                f"max by (sloth_slo) (slo:current_burn_rate:ratio{{{ALL}}})",
                steps=BURNING,
                decimals=1,
            ),
        ],
        "What was promised, what was kept, what may still go wrong, and the speed at which it does: "
        "1 uses the budget up in exactly 30 days. Bad: above 6 for hours.",
        missing=QUIET,
        width=14,
    ),
    lines(
        "Budgets over time",
        [Query(f"slo:period_error_budget_remaining:ratio{{{ALL}}}", "{{sloth_slo}}")],
        "The error budgets as they were left. Bad: a cliff; the marks say whether a deploy was at its edge.",
        unit=units.PercentUnit,
        below_zero=True,
        missing=QUIET,
        width=24,
        height=7,
    ),
]


def one(slo: dict[str, Any]) -> list[Tile]:
    """The panels of one objective."""
    name, budget = slo["name"], f'slo:error_budget:ratio{{sloth_slo="{slo["name"]}"}}'
    kind = " and ".join({"page": "a page", "ticket": "a ticket"}[severity] for severity in slo["severities"])
    return [
        lines(
            f"Burn of {name}",
            [
                Query(
                    f'slo:sli_error:ratio_rate{window}{{sloth_slo="{name}"}} / on (sloth_slo) group_left () {budget}',
                    f"over {window}",
                )
                for window in WINDOWS
            ],
            "Speed at which the budget goes, over four windows. Bad: 14 for an hour or 6 for six hours, "
            f"3 for a day or 1 for three days ({kind}). Watched by {slo['alert']}.",
            steps=BURNING,
            colors={f"over {window}": color for window, color in WINDOWS.items()},
            missing=QUIET,
            width=12,
            height=7,
        ),
        lines(
            f"Good share of {name}",
            [
                Query(f'1 - slo:sli_error:ratio_rate5m{{sloth_slo="{name}"}}', "good"),
                Query(f'slo:objective:ratio{{sloth_slo="{name}"}}', "promised"),
            ],
            "Share of good events in 5 minutes, against the promise. "
            "Bad: below it for long. A gap is a time without events.",
            unit=units.PercentUnit,
            minimum=round(1 - 10 * (1 - slo["objective"] / 100), 4),
            maximum=1,
            colors={"good": GREEN, "promised": YELLOW},
            missing=QUIET,
            width=6,
            height=7,
        ),
        lines(
            f"Events of {name}",
            [
                Query(f'slo:sli_events:rate5m{{sloth_slo="{name}"}} * 60', "all"),
                Query(f'slo:sli_error_events:rate5m{{sloth_slo="{name}"}} * 60', "bad"),
            ],
            f"Events a minute, and how many of them were bad. Bad: when {slo['events']}.",
            colors={"all": GREEN, "bad": RED},
            missing=QUIET,
            width=6,
            height=7,
        ),
    ]


def dashboard() -> build.Dashboard:
    """All budgets first, then each objective."""
    return board(
        "slo",
        "Objectives",
        "What was promised to players, and how much of it is left?",
        [
            ("Budgets", BUDGETS),
            *((f"{slo['name']}: {slo['objective']} %", one(slo)) for slo in DATA["slos"]),
        ],
        variable=("slo", "Objective", "label_values(slo:objective:ratio, sloth_slo)"),
        start="now-24h",
    )
