"""Is it OK? The dashboard that every page links to."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units
from monitoring.dashboards.panels import (
    DOWN_UP,
    GREEN,
    RED,
    SOURCE,
    STANDBY_PRIMARY,
    YELLOW,
    Query,
    lines,
    number,
    place,
    states,
)

UID = "matchpoint-overview"


def percentiles(series: str) -> list[Query]:
    """The usual three, from a recorded rate of buckets."""
    return [Query(f"histogram_quantile({q}, {series})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)]


NOW = [
    number(
        "Site",
        'max(probe_success{job="probe",probe="https_home"})',
        "Whether the front page opens through at least one edge. Bad: down. Watched by SiteDown.",
        mapping=DOWN_UP,
        steps=((None, RED), (1, GREEN)),
    ),
    number(
        "WebSockets",
        'avg(probe_success{job="probe",probe="wss"})',
        "Share of the ways from an edge to a live worker that accept a WebSocket. Bad: below 100 %. "
        "Watched by WebsocketProbeFailing.",
        unit=units.PercentUnit,
        steps=((None, RED), (1, GREEN)),
    ),
    number(
        "Pages firing",
        'count(ALERTS{alertstate="firing",severity="page"}) or vector(0)',
        "Alerts that have called somebody. Bad: more than 0.",
        steps=((None, GREEN), (1, RED)),
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

SERVICES = [
    states(
        "Services",
        [
            Query('min by (host) (nginx_up{job="nginx",host=~"$host"})', "nginx {{host}}"),
            Query('max by (host) (up{job="web",host=~"$host"})', "web {{host}}"),
            Query('max by (host) (up{job="live",host=~"$host"})', "live {{host}}"),
            Query('min by (host) (pg_up{job="postgres",host=~"$host"})', "PostgreSQL {{host}}"),
            Query('min by (host) (redis_up{job="valkey",host=~"$host"})', "Valkey {{host}}"),
            Query('max by (host) (up{job!="probe",host=~"$host"})', "host {{host}}"),
        ],
        "What ran when, on the chosen hosts. Bad: red. "
        "Watched by NginxDown, AppDown, LiveDown, PostgresDown, ValkeyDown and HostDown.",
        mapping=DOWN_UP,
        height=12,
    ),
    states(
        "Alerts",
        [Query('max by (alertname, host, severity) (ALERTS{alertstate="firing"})', "{{alertname}} {{host}}")],
        "Alerts that fired. Watchdog always does: without it nothing would be delivered.",
        height=12,
    ),
]

GAME = [
    lines(
        "Matches started and finished",
        [
            Query("mode:matchpoint_matches_started:rate5m", "started, {{mode}}"),
            Query("mode_outcome:matchpoint_matches_finished:rate5m", "{{outcome}}, {{mode}}"),
        ],
        "Matches a second, by mode, and by how they ended. Bad: server_error.",
    ),
    lines(
        "Input to broadcast",
        percentiles("le:matchpoint_input_broadcast_seconds_bucket:rate5m"),
        "From the receipt of a paddle's input to its event at all players. Bad: p99 above 50 ms. "
        "Empty while nobody plays.",
        unit=units.Seconds,
    ),
    lines(
        "Crossings decided late",
        percentiles("le:matchpoint_crossing_lag_seconds_bucket:rate5m"),
        "How late hits and points were decided against their schedule. Bad: p99 above 50 ms. Empty while nobody plays.",
        unit=units.Seconds,
    ),
    lines(
        "Sockets by worker",
        [Query('sum by (worker) (matchpoint_ws_connections{job="live"})', "{{worker}}")],
        "Open match sockets of each live worker. Bad: one far above the others, which should share the load.",
    ),
    lines(
        "Event loop lag",
        [
            Query(
                "histogram_quantile(0.99, le_host_process:matchpoint_event_loop_lag_seconds_bucket:rate5m)",
                "p99 {{host}}-{{process}}",
            )
        ],
        "How late the loop of a live worker runs what is due. Bad: above 50 ms, then balls stutter.",
        unit=units.Seconds,
    ),
    lines(
        "Results waiting for the database",
        [Query('sum by (host, process) (matchpoint_results_spooled{job="live"})', "{{host}}-{{process}}")],
        "Finished matches on a worker's disk that PostgreSQL does not have yet. Bad: above 0 for long. "
        "Watched by ResultsSpooled.",
    ),
]

EDGE = [
    states(
        "Edges",
        [Query('min by (host) (probe_success{job="probe",probe="https_home",host=~"$host"})', "{{host}}")],
        "Whether the front page opens through each edge, by the edge's own address. Bad: red. Watched by EdgeDown.",
        mapping=DOWN_UP,
        width=24,
        height=6,
    ),
    lines(
        "Requests",
        [Query('host:nginx_http_requests:rate5m{host=~"$host"}', "{{host}}")],
        "Requests a second that nginx answered.",
        unit=units.RequestsPerSecond,
    ),
    lines(
        "Responses of the web processes",
        [Query("status:django_http_responses:rate5m", "{{status}}")],
        "Responses a second by status. Bad: 5xx.",
        unit=units.RequestsPerSecond,
    ),
    lines(
        "Connections",
        [Query('sum by (host) (nginx_connections_active{job="nginx",host=~"$host"})', "{{host}}")],
        "Open connections of nginx; a match socket counts twice, towards the player and towards the worker.",
    ),
]

DATABASE = [
    states(
        "Database",
        [Query('1 - max by (host) (pg_replication_is_replica{job="postgres",host=~"$host"})', "{{host}}")],
        "Which database took writes when; the others are standbys. Bad: none, or two. "
        "Watched by PostgresDown, PostgresTwoPrimaries, PostgresStandbyDown and PostgresSlotInactive.",
        mapping=STANDBY_PRIMARY,
        width=8,
    ),
    lines(
        "Replication lag",
        [
            Query(
                'max by (host) (pg_replication_lag_seconds{job="postgres",host=~"$host"}'
                ' and on (host) pg_replication_is_replica{job="postgres"} == 1)',
                "{{host}}",
            )
        ],
        "How far each standby is behind, in time. Bad: above a minute for long. Empty without a standby. "
        "Watched by PostgresReplicationLag.",
        unit=units.Seconds,
    ),
    lines(
        "Log not yet at a standby",
        [Query('max by (host) (pg_stat_replication_pg_wal_lsn_diff{job="postgres",host=~"$host"})', "{{host}}")],
        "Bytes of write-ahead log that the primary has and a standby has not applied. Bad: above 64 MiB for long. "
        "Empty without a standby. Watched by PostgresReplicationLag.",
        unit=units.BytesIEC,
    ),
]

HOSTS = [
    lines(
        "CPU",
        [Query('host:node_cpu_utilisation:ratio_rate5m{host=~"$host"}', "{{host}}")],
        "Share of all cores that is busy. Bad: above 90 % for long, then lag rises.",
        unit=units.PercentUnit,
        maximum=1,
        width=6,
    ),
    lines(
        "Memory",
        [Query('host:node_memory_utilisation:ratio{host=~"$host"}', "{{host}}")],
        "Share of the memory that cannot be given to anybody. Bad: above 90 %.",
        unit=units.PercentUnit,
        maximum=1,
        width=6,
    ),
    lines(
        "Fullest file system",
        [Query('host:node_filesystem_utilisation:ratio_max{host=~"$host"}', "{{host}}")],
        "Use of the fullest writable file system. Bad: above 90 %. Watched by HostDiskAlmostFull.",
        unit=units.PercentUnit,
        maximum=1,
        width=6,
    ),
    lines(
        "Network",
        [
            Query(
                'sum by (host) (rate(node_network_receive_bytes_total{job="node",host=~"$host"}[$__rate_interval]))',
                "in {{host}}",
            ),
            Query(
                'sum by (host) (rate(node_network_transmit_bytes_total{job="node",host=~"$host"}[$__rate_interval]))',
                "out {{host}}",
            ),
        ],
        "Bytes a second over all interfaces but loopback.",
        unit=units.BytesPerSecondSI,
        width=6,
    ),
]

MONITORING = [
    states(
        "Targets",
        [Query('min by (job, host) (up{host=~"$host"})', "{{job}} {{host}}")],
        "Whether each kind of target of the chosen hosts answers; red when one of several does not. "
        "Watched by TargetDown.",
        mapping=DOWN_UP,
        height=12,
    ),
    states(
        "Ways between hosts",
        [
            Query(
                '1 - max by (host, server) (haproxy_server_status{job="mesh",state="DOWN",host=~"$host"})',
                "{{host}} to {{server}}",
            )
        ],
        "Whether each of the chosen hosts reaches those whose services it needs. Bad: red. "
        "Empty on a site of one host. Watched by MeshPeerDown.",
        mapping=DOWN_UP,
        height=12,
    ),
    lines(
        "Alertmanagers",
        [
            Query('max by (host) (alertmanager_cluster_members{job="alertmanager"})', "known to {{host}}"),
            Query('count(up{job="alertmanager"} == 1)', "that answer"),
        ],
        "How many Alertmanagers know each other. Bad: fewer than answer. Watched by AlertmanagerClusterBroken.",
        width=12,
    ),
    lines(
        "Probe of the front page",
        [Query('avg by (phase) (probe_http_duration_seconds{job="probe",probe="https_name"})', "{{phase}}")],
        "How long each step of opening the front page by its name took, from DNS to the last byte.",
        unit=units.Seconds,
        width=12,
    ),
]


def dashboard() -> build.Dashboard:
    """Everything on one screen: what players see, what runs, what the game, the edge and the hosts do."""
    board = build.Dashboard("Overview").uid(UID).tags(["matchpoint"]).readonly()
    board.description("Is it OK? What players see first, then what it stands on.")
    board.time("now-3h", "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    board.with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    board.with_variable(
        build.QueryVariable("host")
        .label("Host")
        .datasource(SOURCE)
        .query("label_values(up, host)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )
    for name, color, expr in (
        ("Deploys", "blue", "time() - matchpoint_deploy_timestamp_seconds < 180"),
        ("Pages", "red", 'ALERTS{severity="page",alertstate="firing"}'),
    ):
        board.annotation(
            build.AnnotationQuery().name(name).icon_color(color).datasource(SOURCE).expr(expr).enable(True)
        )
    place(
        board,
        [
            ("Is it OK?", NOW),
            ("What runs", SERVICES),
            ("Game", GAME),
            ("Edge", EDGE),
            ("Database", DATABASE),
            ("Hosts", HOSTS),
            ("Monitoring", MONITORING),
        ],
    )
    return board
