"""Is it OK? The dashboard that every page links to."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    ALERTS_BY_SEVERITY,
    DOWN_UP,
    FAILED_OK,
    GREEN,
    ONE_IS_GOOD,
    PERCENTILE_COLORS,
    RED,
    SEVERITIES,
    STATUS_COLORS,
    YELLOW,
    ZERO_IS_GOOD,
    Column,
    Query,
    bars,
    lines,
    number,
    percentiles,
    states,
    table,
)

NOW = [
    number(
        "Site",
        'max(probe_success{job="probe",probe="https_home"})',
        "Whether the front page opens through at least one edge. Bad: down. Watched by SiteDown.",
        mapping=DOWN_UP,
        steps=ONE_IS_GOOD,
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
    number(
        "Last good match",
        "time() - max(matchpoint_canary_last_success_timestamp_seconds)",
        "How long ago two bots last played a whole match through the public name; they do every minute. "
        "Bad: more than 5 minutes. Watched by CanaryFailing.",
        unit=units.Seconds,
        decimals=0,
        steps=((None, GREEN), (150, YELLOW), (300, RED)),
        missing="never",
    ),
    number(
        "Pages firing",
        'count(ALERTS{alertstate="firing",severity="page"}) or vector(0)',
        "Alerts that have called somebody. Bad: more than 0.",
        steps=ZERO_IS_GOOD,
    ),
    number(
        "Tickets firing",
        'count(ALERTS{alertstate="firing",severity="ticket"}) or vector(0)',
        "Alerts that wait for working hours. Bad: more than a few, for days.",
        steps=((None, GREEN), (1, YELLOW)),
    ),
    number(
        "Players connected",
        "site:matchpoint_ws_connections:sum",
        "Open match sockets, spectators included. Nothing alerts on it: nights are quiet.",
    ),
    number(
        "Matches live",
        "site:matchpoint_matches_active:sum",
        "Matches that are being played. Nothing alerts on it: nights are quiet.",
    ),
    number(
        "Certificate",
        'min(probe_ssl_earliest_cert_expiry{job="probe",probe="https_cert"}) - time()',
        "How long the certificate that the edges serve is still good, the worst of them. Bad: below 10 days. "
        "Watched by TlsCertExpiringSoon.",
        unit=units.Seconds,
        steps=((None, RED), (2 * 86400, YELLOW), (10 * 86400, GREEN)),
    ),
]

PROMISES = [
    bars(
        "Error budget left",
        [Query('slo:period_error_budget_remaining:ratio{sloth_service="matchpoint"}', "{{sloth_slo}}")],
        "How much of what each objective allows to go wrong in 30 days is left. "
        "Bad: below 0, which breaks the promise. The dashboard of the objectives says how fast it goes.",
        unit=units.PercentUnit,
        high=1,
        steps=((None, RED), (0, YELLOW), (0.25, GREEN)),
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
        "Watched by NginxDown, AppDown, LiveDown, PostgresDown, ValkeyDown and HostDown.",
        height=9,
    ),
    states(
        "Alerts",
        [ALERTS_BY_SEVERITY],
        "Alerts that fired. Watchdog always does: without it nothing would be delivered. "
        "Bad: red, which has called somebody; yellow waits for working hours.",
        mapping=SEVERITIES,
        missing="not even Watchdog",
        height=9,
    ),
]

TRAFFIC = [
    lines(
        "Requests",
        [
            Query(
                "sum by (status_class) "
                '(rate(nginx_log_requests_total{job="nginxlog",host=~"$host"}[$__rate_interval]))',
                "{{status_class}}",
            )
        ],
        "Requests a second by class of status, as the edges answered. Bad: red.",
        unit=units.RequestsPerSecond,
        stacked=True,
        colors=STATUS_COLORS,
        missing="no edge",
    ),
    lines(
        "Duration of requests",
        percentiles(
            'sum by (le) (rate(nginx_log_request_seconds_bucket{job="nginxlog",host=~"$host"}[$__rate_interval]))'
        ),
        "How long the edges took to answer, sockets left out. Bad: p99 above half a second.",
        unit=units.Seconds,
        steps=((None, GREEN), (0.5, RED)),
        colors=PERCENTILE_COLORS,
        missing="no edge",
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
    lines(
        "CPU",
        [Query('host:node_cpu_utilisation:ratio_rate5m{host=~"$host"}', "{{host}}")],
        "Share of all cores that is busy. Bad: above 90 % for long, then lag rises.",
        unit=units.PercentUnit,
        maximum=1,
    ),
    lines(
        "Memory",
        [Query('host:node_memory_utilisation:ratio{host=~"$host"}', "{{host}}")],
        "Share of the memory that cannot be given to anybody. Bad: above 90 %.",
        unit=units.PercentUnit,
        maximum=1,
    ),
    lines(
        "Fullest file system",
        [Query('host:node_filesystem_utilisation:ratio_max{host=~"$host"}', "{{host}}")],
        "Use of the fullest writable file system. Bad: above 90 %. Watched by HostDiskAlmostFull and HostDiskWillFill.",
        unit=units.PercentUnit,
        maximum=1,
        steps=((None, GREEN), (0.9, YELLOW), (0.95, RED)),
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
    states(
        "Last deploys",
        [Query('min by (host) (matchpoint_deploy_last_result{host=~"$host"})', "{{host}}")],
        "Whether the last deploy of each host ended well. Bad: red; the host still runs the release before. "
        "Watched by DeployFailed.",
        mapping=FAILED_OK,
        missing="never deployed",
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
