"""Is it OK? The dashboard that every page links to."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import GREEN, ONE_IS_GOOD, RED, YELLOW, Column, lines, number, states, table, up_now
from monitoring.dashboards.queries import Query
from monitoring.dashboards.shared import (
    FULL,
    alerts,
    budget_left,
    certificate,
    cpu,
    last_deploys,
    last_good_match,
    matches_live,
    memory,
    pages_firing,
    players_connected,
    request_durations,
    requests_by_status,
    tickets_firing,
)

NOW = [
    up_now(
        "Site",
        'max(probe_success{job="probe",probe="https_home"})',
        "Whether the front page opens through at least one edge. Bad: down. Watched by SiteDown.",
    ),
    number(
        "WebSockets",
        'avg(probe_success{job="probe",probe="wss"})',
        "Share of the ways from an edge to a live worker that accept a WebSocket. Bad: below 100 %. "
        "Watched by WebsocketProbeFailing.",
        unit=units.PercentUnit,
        decimals=0,
        steps=ONE_IS_GOOD,
    ),
    last_good_match(
        "How long ago two bots last played a whole match through the public name; they do every minute. "
        "Bad: more than 5 minutes. Watched by CanaryFailing."
    ),
    pages_firing(),
    tickets_firing(),
    players_connected(),
    matches_live(),
    certificate("TlsCertExpiringSoon"),
]

PROMISES = [
    budget_left(
        'sloth_service="matchpoint"',
        "The dashboard of the objectives says how fast it goes.",
        missing="not yet recorded",
        width=12,
        height=7,
    ),
    table(
        "Firing now",
        {"alertname": "Alert", "host": "Host", "severity": "Severity"},
        [
            Column(
                "For",
                "max by (alertname, host, severity) (time() - ALERTS_FOR_STATE)"
                ' and on (alertname, host, severity) ALERTS{alertstate="firing"}',
                units.Seconds,
            )
        ],
        "What fires now, and for how long. Watchdog always does: without it nothing would be delivered.",
        missing="not even Watchdog",
        width=12,
        height=7,
    ),
]

SERVICES = [
    states(
        "Services",
        [
            Query(
                'min by (host) (nginx_up{job="nginx",host=~"$host"}) or min by (host) (up{job="nginx",host=~"$host"})',
                "nginx {{host}}",
            ),
            Query('max by (host) (up{job="web",host=~"$host"})', "web {{host}}"),
            Query('max by (host) (up{job="live",host=~"$host"})', "live {{host}}"),
            Query(
                'min by (host) (pg_up{job="postgres",host=~"$host"})'
                ' or min by (host) (up{job="postgres",host=~"$host"})',
                "PostgreSQL {{host}}",
            ),
            Query(
                'min by (host) (redis_up{job="valkey",host=~"$host"})'
                ' or min by (host) (up{job="valkey",host=~"$host"})',
                "Valkey {{host}}",
            ),
            Query('max by (host) (up{job!="probe",host=~"$host"})', "host {{host}}"),
        ],
        "What ran when, on the chosen hosts; a service whose host does not answer counts as down. Bad: red. "
        "Watched by NginxDown, AppDown, LiveDown, PostgresDown, ValkeyDown, StoreUnreachable and HostDown.",
        height=9,
    ),
    alerts(
        "Alerts that fired. Watchdog always does: without it nothing would be delivered. "
        "Bad: red, which has called somebody; yellow waits for working hours.",
        height=9,
    ),
]

TRAFFIC = [
    requests_by_status("Requests", "Requests a second by class of status, as the edges answered. Bad: red."),
    request_durations(
        "Duration of requests", "How long the edges took to answer, sockets left out. Bad: p99 above half a second."
    ),
    lines(
        "Players and matches",
        [
            Query("site:matchpoint_ws_connections:sum", "players"),
            Query("site:matchpoint_matches_active:sum", "matches"),
        ],
        "Open match sockets, and matches that are being played. Bad: a cliff that no deploy explains.",
    ),
]

HOSTS = [
    cpu(),
    memory(),
    lines(
        "Fullest file system",
        [Query('host:node_filesystem_utilisation:ratio_max{host=~"$host"}', "{{host}}")],
        "Use of the fullest writable file system. Bad: above 90 %. Watched by HostDiskAlmostFull and HostDiskWillFill.",
        unit=units.PercentUnit,
        maximum=1,
        steps=FULL,
    ),
]

CHANGES = [
    table(
        "Releases",
        {"host": "Host", "release": "Release"},
        [
            Column(
                "In use for",
                'time() - max by (host, release) (matchpoint_deploy_timestamp_seconds{host=~"$host"})',
                units.Seconds,
            )
        ],
        "Which release runs where, and since when. Bad: different ones, but for the minutes of a deploy.",
        missing="never deployed",
        height=6,
    ),
    last_deploys("Last deploys", width=9, height=6),
    number(
        "Last backup",
        'time() - max(matchpoint_backup_last_success_timestamp_seconds{job="node"})',
        "How old the newest backup of the database is. Bad: above 26 hours. Watched by BackupTooOld.",
        unit=units.Seconds,
        decimals=0,
        steps=((None, GREEN), (26 * 3600, YELLOW), (50 * 3600, RED)),
        missing="none",
        height=6,
    ),
]


def dashboard() -> build.Dashboard:
    """Everything on one screen: what players see, what was promised, what runs, what changed."""
    return board(
        "overview",
        "Overview",
        "Is it OK? What players see first, then what it stands on.",
        [
            ("Is it OK?", NOW),
            ("What was promised, and what fires", PROMISES),
            ("What runs", SERVICES),
            ("Traffic", TRAFFIC),
            ("Hosts", HOSTS),
            ("Changes", CHANGES),
        ],
    )
