"""Panels that stand on more than one dashboard.

Each is made anew for each dashboard, since a tile holds a builder, which learns its place there.
"""

from grafana_foundation_sdk.models import units
from monitoring.dashboards.panels import (
    FAILED_OK,
    GREEN,
    RED,
    STATUS_COLORS,
    YELLOW,
    ZERO_IS_BETTER,
    ZERO_IS_GOOD,
    Steps,
    Tile,
    bars,
    durations,
    lines,
    number,
    states,
    value_map,
)
from monitoring.dashboards.queries import Query, rates

EDGE = 'job="nginxlog",host=~"$host"'
SLOW: Steps = ((None, GREEN), (0.5, RED))
FULL: Steps = ((None, GREEN), (0.9, YELLOW), (0.95, RED))
CERTIFICATE_LEFT: Steps = ((None, RED), (2 * 86400, YELLOW), (10 * 86400, GREEN))
BUDGET_LEFT: Steps = ((None, RED), (0, YELLOW), (0.25, GREEN))
SEVERITIES = value_map(v1=("always", GREEN), v2=("ticket", YELLOW), v3=("page", RED))
ALERTS_BY_SEVERITY = " or ".join(
    f'{worth} * max by (alertname, host, severity) (ALERTS{{alertstate="firing",severity="{severity}"}})'
    for worth, severity in ((3, "page"), (2, "ticket"), (1, "none"))
)


def pages_firing() -> Tile:
    return number(
        "Pages firing",
        'count(ALERTS{alertstate="firing",severity="page"}) or vector(0)',
        "Alerts that have called somebody. Bad: more than 0.",
        steps=ZERO_IS_GOOD,
    )


def tickets_firing() -> Tile:
    return number(
        "Tickets firing",
        'count(ALERTS{alertstate="firing",severity="ticket"}) or vector(0)',
        "Alerts that wait for working hours. Bad: more than a few, for days.",
        steps=ZERO_IS_BETTER,
    )


def alerts(description: str, *, height: int = 8) -> Tile:
    """When which alert fired, coloured by its severity."""
    return states(
        "Alerts",
        [Query(ALERTS_BY_SEVERITY, "{{alertname}} {{host}}")],
        description,
        mapping=SEVERITIES,
        missing="not even Watchdog",
        height=height,
    )


def budget_left(labels: str, more: str, *, missing: str, width: int, height: int = 8) -> Tile:
    """The error budget of each objective that ``labels`` choose; ``more`` ends the description."""
    return bars(
        "Error budget left",
        [Query(f"slo:period_error_budget_remaining:ratio{{{labels}}}", "{{sloth_slo}}")],
        "How much of what each objective allows to go wrong in 30 days is left. "
        f"Bad: below 0, which breaks the promise. {more}",
        unit=units.PercentUnit,
        high=1,
        steps=BUDGET_LEFT,
        missing=missing,
        width=width,
        height=height,
    )


def players_connected() -> Tile:
    return number(
        "Players connected",
        "site:matchpoint_ws_connections:sum",
        "Open match sockets, spectators included. Nothing alerts on it: nights are quiet.",
    )


def matches_live() -> Tile:
    return number(
        "Matches live",
        "site:matchpoint_matches_active:sum",
        "Matches that are being played. Nothing alerts on it: nights are quiet.",
    )


def last_good_match(description: str) -> Tile:
    """How long ago the canary last succeeded, from any host."""
    return number(
        "Last good match",
        "time() - max(matchpoint_canary_last_success_timestamp_seconds)",
        description,
        unit=units.Seconds,
        decimals=0,
        steps=((None, GREEN), (150, YELLOW), (300, RED)),
        missing="never",
    )


def certificate(watched: str, *, edges: str = "") -> Tile:
    """What is left of the certificate as it is served; ``edges`` (PromQL labels) narrows down by whom."""
    return number(
        "Certificate",
        f'min(probe_ssl_earliest_cert_expiry{{job="probe",probe="https_cert"{edges}}}) - time()',
        "How long the certificate that the edges serve is still good, the worst of them. Bad: below 10 days. "
        f"Watched by {watched}.",
        unit=units.Seconds,
        steps=CERTIFICATE_LEFT,
    )


def requests_by_status(title: str, description: str) -> Tile:
    return lines(
        title,
        rates(EDGE, ("nginx_log_requests_total", "{{status_class}}"), by="status_class"),
        description,
        unit=units.RequestsPerSecond,
        stacked=True,
        colors=STATUS_COLORS,
        missing="no edge",
    )


def request_durations(title: str, description: str, *, labels: str = EDGE, missing: str = "no edge") -> Tile:
    """How long the edges took to answer requests that ``labels`` choose."""
    return durations(
        title,
        f"sum by (le) (rate(nginx_log_request_seconds_bucket{{{labels}}}[$__rate_interval]))",
        description,
        steps=SLOW,
        missing=missing,
    )


def cpu(steps: Steps = ()) -> Tile:
    return lines(
        "CPU",
        [Query('host:node_cpu_utilisation:ratio_rate5m{host=~"$host"}', "{{host}}")],
        "Share of all cores that is busy. Bad: above 90 % for long, then lag rises.",
        unit=units.PercentUnit,
        maximum=1,
        steps=steps,
    )


def memory(steps: Steps = (), *, more: str = "") -> Tile:
    """``more`` ends the description."""
    return lines(
        "Memory",
        [Query('host:node_memory_utilisation:ratio{host=~"$host"}', "{{host}}")],
        f"Share of the memory that cannot be given to anybody. Bad: above 90 %.{more}",
        unit=units.PercentUnit,
        maximum=1,
        steps=steps,
    )


def last_deploys(title: str, *, width: int, height: int) -> Tile:
    return states(
        title,
        [Query('min by (host) (matchpoint_deploy_last_result{host=~"$host"})', "{{host}}")],
        "Whether the last deploy of each host ended well. Bad: red; the host still runs the release before. "
        "Watched by DeployFailed.",
        mapping=FAILED_OK,
        missing="never deployed",
        width=width,
        height=height,
    )
