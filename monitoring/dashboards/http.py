"""HTTP, from the edges to the web processes and Django in them."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Column,
    dial,
    durations,
    lines,
    number,
    share_up,
    states,
    table,
)
from monitoring.dashboards.queries import Query, increases, rates, totals
from monitoring.dashboards.shared import (
    CERTIFICATE_LEFT,
    EDGE,
    SLOW,
    certificate,
    request_durations,
    requests_by_status,
)

WEB = 'job="web",host=~"$host"'
VIEW = "django_http_requests_latency_seconds_by_view_method"
REQUESTS_OF_VIEW = f"sum by (view) (increase({VIEW}_count{{{WEB}}}[1h]))"
MOST = f"topk(15, {REQUESTS_OF_VIEW} > 0)"

NOW = [
    number(
        "Requests a second",
        f"sum(rate(nginx_log_requests_total{{{EDGE}}}[5m]))",
        "What the edges answer, all locations. Nothing alerts on it: nights are quiet.",
        unit=units.RequestsPerSecond,
        decimals=1,
        missing="no edge",
    ),
    number(
        "Answers of 5xx",
        f'sum(rate(nginx_log_requests_total{{{EDGE},status_class="5xx"}}[5m]))'
        f" / (sum(rate(nginx_log_requests_total{{{EDGE}}}[5m])) > 0)",
        "Share of all answers of 5 minutes that are the service's fault. Bad: above 0.1 %. "
        "Watched by PageAvailabilityBurn.",
        unit=units.PercentUnit,
        decimals=2,
        steps=((None, GREEN), (0.001, YELLOW), (0.01, RED)),
        missing="no traffic",
    ),
    number(
        "Pages, p95",
        "histogram_quantile(0.95, "
        f'sum by (le) (rate(nginx_log_request_seconds_bucket{{{EDGE},location=~"page|api"}}[5m])))',
        "95th percentile of the time to answer a page or a call of the API, in 5 minutes. Bad: above half a second.",
        unit=units.Seconds,
        steps=SLOW,
        missing="no traffic",
    ),
    share_up(
        "Edges up",
        'avg(probe_success{job="probe",probe="https_home",host=~"$host"})',
        "Share of the edges through which the front page opens. Bad: below 100 %. Watched by EdgeDown and SiteDown.",
    ),
    share_up(
        "Web processes",
        f"avg(up{{{WEB}}})",
        "Share of the web processes that answer. Bad: below 100 %; below half is a page. Watched by AppDown.",
    ),
    dial(
        "Connections of nginx",
        'max(nginx_connections_active{job="nginx",host=~"$host"}'
        ' / on (host) matchpoint_nginx_connections_limit{host=~"$host"})',
        "Used share of the connections that nginx may have, the worst edge. A match socket counts twice. "
        "Bad: above 80 %. Watched by NginxConnectionsNearLimit.",
    ),
    number(
        "Exceptions, 1 h",
        f"sum(increase(django_http_exceptions_total_by_type_total{{{WEB}}}[1h])) or vector(0)",
        "Exceptions that views did not catch, in an hour. Bad: any; each is a page that did not come.",
        decimals=0,
        steps=((None, GREEN), (1, YELLOW), (10, RED)),
    ),
    certificate("TlsCertExpiringSoon and TlsRenewalFailing", edges=',host=~"$host"'),
]

ANSWERS = [
    requests_by_status(
        "Requests by status",
        "Requests a second by class of status, as the edges answered. Bad: red. 1xx are match sockets.",
    ),
    lines(
        "Requests by location",
        rates(EDGE, ("nginx_log_requests_total", "{{location}}"), by="location"),
        "Requests a second by what they were for. Bad: other, in quantity: somebody looks for holes.",
        unit=units.RequestsPerSecond,
        stacked=True,
        missing="no edge",
    ),
    lines(
        "5xx by location",
        rates(f'{EDGE},status_class="5xx"', ("nginx_log_requests_total", "{{location}}"), by="location"),
        "Answers a second that are the service's fault, by what was asked for. Bad: any for long. "
        "Watched by PageAvailabilityBurn and SocketConnectBurn.",
        unit=units.RequestsPerSecond,
        missing="no edge",
    ),
    request_durations(
        "Duration of pages and API",
        "How long the edges took to answer pages and calls of the API. Bad: p99 above half a second. "
        "Watched by PageLatencyBurn.",
        labels=f'{EDGE},location=~"page|api"',
        missing="no traffic",
    ),
    lines(
        "Duration by location",
        [
            Query(
                "histogram_quantile(0.95, "
                f"sum by (le, location) (rate(nginx_log_request_seconds_bucket{{{EDGE}}}[$__rate_interval])))",
                "{{location}}",
            )
        ],
        "95th percentile by what was asked for, sockets left out. Bad: static above a few milliseconds, pages above "
        "500.",
        unit=units.Seconds,
        missing="no traffic",
    ),
    lines(
        "Upstream errors",
        rates(EDGE, ("nginx_log_upstream_errors_total", "{{kind}}"), by="kind"),
        "Times a second that nginx got no answer from a process of the game. "
        "Bad: any, but for the seconds of a deploy. Watched by NginxUpstreamErrors.",
        unit=units.RequestsPerSecond,
        colors={"connect": RED, "timeout": ORANGE},
        missing="no edge",
    ),
]

EDGES = [
    states(
        "Edges",
        [Query('min by (host) (probe_success{job="probe",probe="https_home",host=~"$host"})', "{{host}}")],
        "Whether the front page opens through each edge, by the edge's own address. Bad: red. Watched by EdgeDown.",
        width=8,
    ),
    lines(
        "Connections",
        totals(
            'job="nginx",host=~"$host"',
            ("nginx_connections_active", "{{host}} open"),
            ("nginx_connections_waiting", "{{host}} idle"),
            by="host",
        ),
        "Open connections of nginx, and those that wait for a next request. "
        "A match socket counts twice, towards the player and towards the worker. Bad: near the limit.",
    ),
    lines(
        "Connections dropped",
        [
            Query(
                'sum by (host) (rate(nginx_connections_accepted{job="nginx",host=~"$host"}[$__rate_interval])'
                ' - rate(nginx_connections_handled{job="nginx",host=~"$host"}[$__rate_interval]))',
                "{{host}}",
            )
        ],
        "Connections a second that nginx accepted and could not serve. Bad: any; its limit is reached.",
        unit=units.RequestsPerSecond,
        below_zero=False,
    ),
    lines(
        "Probe of the front page",
        [Query('avg by (phase) (probe_http_duration_seconds{job="probe",probe="https_name"})', "{{phase}}")],
        "How long each step of opening the front page by its name took, from DNS to the last byte. Bad: any above 1 s.",
        unit=units.Seconds,
        stacked=True,
    ),
    lines(
        "Probes of WebSockets",
        [Query('max by (worker) (probe_duration_seconds{job="probe",probe="wss",host=~"$host"})', "{{worker}}")],
        "How long a handshake with each live worker took through the edges, the slowest. Bad: above 1 s. "
        "Watched by WebsocketProbeFailing.",
        unit=units.Seconds,
    ),
    table(
        "Certificate on disk and as served",
        {"host": "Edge"},
        [
            Column(
                "Served, left",
                'min by (host) (probe_ssl_earliest_cert_expiry{job="probe",probe="https_cert",host=~"$host"}) - time()',
                units.Seconds,
                CERTIFICATE_LEFT,
            ),
            Column(
                "On disk, left",
                'min by (host) (matchpoint_cert_not_after_seconds{host=~"$host"}) - time()',
                units.Seconds,
                CERTIFICATE_LEFT,
            ),
        ],
        "What each edge serves, and what it has on disk. Bad: they differ, then nginx was not reloaded. "
        "Watched by TlsCertNotReloaded and TlsCertExpiringSoon.",
        width=8,
    ),
]

DJANGO = [
    lines(
        "Responses of Django",
        rates(WEB, ("django_http_responses_total_by_status_total", "{{status}}"), by="status"),
        "Responses a second of the web processes by status, probes included. Bad: 5xx.",
        unit=units.RequestsPerSecond,
        stacked=True,
        colors={"2..": GREEN, "3..": BLUE, "4..": YELLOW, "5..": RED},
    ),
    durations(
        "Duration in Django",
        "sum by (le) (rate("
        f"django_http_requests_latency_including_middlewares_seconds_bucket{{{WEB}}}[$__rate_interval]))",
        "Time from the first to the last middleware. "
        "Bad: far below what the edges see: then requests wait for a process.",
        steps=SLOW,
        missing="no traffic",
    ),
    lines(
        "Exceptions by type",
        rates(WEB, ("django_http_exceptions_total_by_type_total", "{{type}}"), by="type"),
        "Exceptions a second that views did not catch. "
        "Bad: any. Empty when there was none since the processes started.",
        unit=units.RequestsPerSecond,
        missing="none since the start",
    ),
    table(
        "Views",
        {"view": "View"},
        [
            Column("Requests in 1 h", MOST, decimals=0),
            Column(
                "p95",
                f"histogram_quantile(0.95, sum by (view, le) (increase({VIEW}_bucket{{{WEB}}}[1h])))"
                f" and on (view) {MOST}",
                units.Seconds,
                ((None, GREEN), (0.25, YELLOW), (0.5, RED)),
            ),
            Column("Mean", f"sum by (view) (increase({VIEW}_sum{{{WEB}}}[1h])) / ({MOST})", units.Seconds),
        ],
        "The views that were asked for most in an hour, and how long they took. Bad: p95 above half a second.",
        sort="Requests in 1 h",
        missing="no traffic",
        width=12,
    ),
    lines(
        "Calls of the database",
        rates(
            WEB,
            ("django_db_execute_total", "queries"),
            ("django_db_errors_total", "errors"),
            ("django_db_new_connections_total", "connections"),
        ),
        "Queries, errors and new connections a second of the web processes. "
        "Bad: errors; IntegrityError is a name taken.",
        unit=units.RequestsPerSecond,
        colors={"errors": RED},
        width=12,
    ),
    lines(
        "Logins",
        increases(WEB, ("matchpoint_auth_attempts_total", "{{result}}"), over="5m", by="result"),
        "Attempts to log in, in 5 minutes. Bad: many failures: somebody guesses passwords; refused: slowed down. "
        "Watched by LoginsFailing; StaffChanged looks at whose.",
        colors={"success": GREEN, "failure": RED},
        width=12,
    ),
    lines(
        "Mails",
        [
            *increases(
                WEB,
                ("matchpoint_mails_sent_total", "sent"),
                ("matchpoint_mails_failed_total", "failed tries"),
                over="5m",
            ),
            Query(f"max(matchpoint_mail_oldest_seconds{{{WEB}}}) / 60", "minutes that the oldest waits"),
        ],
        "Mails to players that the relay took, tries that failed, in 5 minutes, and how long the oldest has waited. "
        "Bad: minutes that grow. Watched by MailsWaiting.",
        colors={"sent": GREEN, "failed tries": RED},
        width=12,
    ),
    lines(
        "CPU of web processes",
        [Query(f"rate(process_cpu_seconds_total{{{WEB}}}[$__rate_interval])", "{{host}}-{{process}}")],
        "Cores that each web process uses. Bad: near 100 % for long, then requests wait.",
        unit=units.PercentUnit,
        steps=((None, GREEN), (0.8, RED)),
        width=12,
    ),
    lines(
        "Memory of web processes",
        [Query(f"process_resident_memory_bytes{{{WEB}}}", "{{host}}-{{process}}")],
        "Resident memory of each web process. Bad: growth that does not end with the day.",
        unit=units.BytesIEC,
        width=12,
    ),
]


def dashboard() -> build.Dashboard:
    """Where a slow or failed request was lost."""
    return board(
        "http",
        "HTTP and Django",
        "Do pages and the API answer, quickly and without errors?",
        [("Now", NOW), ("What the edges answer", ANSWERS), ("The edges", EDGES), ("Django", DJANGO)],
    )
