"""Monitoring itself: what fires and how often, whether it is delivered, what is unseen, and what changed."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    DOWN_UP,
    FAILED_OK,
    GREEN,
    RED,
    YELLOW,
    ZERO_IS_BETTER,
    ZERO_IS_GOOD,
    Column,
    lines,
    mishaps,
    number,
    states,
    table,
    up_now,
)
from monitoring.dashboards.queries import Query, increases
from monitoring.dashboards.shared import alerts, last_deploys, pages_firing, tickets_firing

PROMETHEUS = 'job="prometheus",host=~"$host"'
MANAGER = 'job="alertmanager",host=~"$host"'

NOW = [
    up_now(
        "Watchdog",
        'max(ALERTS{alertname="Watchdog",alertstate="firing"}) or vector(0)',
        "Watchdog always fires, and tells somebody outside that alerts are delivered. Bad: down. "
        "The dead man's switch hears it; nothing in here could say that it is gone.",
    ),
    pages_firing(),
    tickets_firing(),
    number(
        "Silences",
        'max(alertmanager_silences{job="alertmanager",state="active"})',
        "Silences in force. Bad: one that nobody remembers.",
        steps=ZERO_IS_BETTER,
    ),
    number(
        "Targets down",
        "count(up == 0) or vector(0)",
        "Targets that do not answer. Bad: any for long. Watched by TargetDown.",
        steps=ZERO_IS_GOOD,
    ),
    mishaps(
        "Undelivered, 1 h",
        'alertmanager_notifications_failed_total{job="alertmanager"}',
        "Messages that a receiver did not take, in an hour; they are tried again. Bad: any. "
        "Watched by AlertDeliveryFailing.",
    ),
    mishaps(
        "Rules failing, 1 h",
        'prometheus_rule_evaluation_failures_total{job="prometheus"}',
        "Evaluations of rules that failed, in an hour. Bad: any; that alert is blind. "
        "Watched by PrometheusRuleFailures.",
    ),
    number(
        "Deploy lock",
        "time() - min(matchpoint_deploy_lock_timestamp_seconds)",
        "How long somebody has held the lock of deploys. Bad: longer than a deploy takes; nobody else can deploy. "
        "Empty when nobody holds it. Watched by DeployLockHeld.",
        unit=units.Seconds,
        decimals=0,
        steps=((None, GREEN), (1800, YELLOW), (3600, RED)),
        missing="free",
    ),
]

ALERTS = [
    alerts(
        "Alerts that fired. Watchdog always does. Bad: red, which has called somebody; yellow waits for working hours."
    ),
    table(
        "Alerts of 7 days",
        {"alertname": "Alert", "severity": "Severity"},
        [
            Column(
                "Fired for",
                "sort_desc(sum by (alertname, severity)"
                ' (15 * sum_over_time(ALERTS{alertstate="firing",alertname!="Watchdog"}[7d])))',
                units.Seconds,
            ),
            Column(
                "Waited for",
                "sum by (alertname, severity)"
                ' (15 * sum_over_time(ALERTS{alertstate="pending",alertname!="Watchdog"}[7d]))',
                units.Seconds,
            ),
        ],
        "What fired in a week, and how long, over all hosts; and how long it nearly did. "
        "Bad: an alert that fires daily and that nobody acts on: mend its cause or the alert.",
        sort="Fired for",
        missing="none",
    ),
]

DELIVERY = [
    lines(
        "Notifications",
        [
            Query(
                "sum by (receiver_name, integration) (rate("
                f"alertmanager_notifications_total{{{MANAGER}}}[5m])) * 60 > 0",
                "{{receiver_name}} by {{integration}}",
            )
        ],
        "Messages a minute by receiver and the way they go; deadman is the heartbeat. Bad: none at all.",
        missing="none",
    ),
    lines(
        "Notifications failed",
        [
            Query(
                "sum by (receiver_name, integration) (increase("
                f"alertmanager_notifications_failed_total{{{MANAGER}}}[5m])) and on (receiver_name, integration) "
                "sum by (receiver_name, integration) (increase("
                f"alertmanager_notifications_total{{{MANAGER}}}[1d])) > 0",
                "{{receiver_name}} by {{integration}}",
            )
        ],
        "Messages that a receiver did not take, in 5 minutes. Bad: any. Watched by AlertDeliveryFailing.",
        missing="none sent",
    ),
    lines(
        "Alerts not sent",
        [
            *increases(
                PROMETHEUS,
                ("prometheus_notifications_errors_total", "errors {{host}}"),
                ("prometheus_notifications_dropped_total", "dropped {{host}}"),
                over="5m",
                by="host",
            ),
            Query(f"max by (host) (prometheus_notifications_queue_length{{{PROMETHEUS}}})", "waiting {{host}}"),
        ],
        "Alerts on the way from Prometheus to Alertmanager that did not arrive, in 5 minutes. Bad: any. "
        "Watched by PrometheusNotSendingAlerts.",
    ),
    lines(
        "Time to deliver",
        [
            Query(
                "histogram_quantile(0.95, sum by (le, receiver_name, integration) (rate("
                f"alertmanager_notification_latency_seconds_bucket{{{MANAGER}}}[5m]))) > 0",
                "{{receiver_name}} by {{integration}}",
            )
        ],
        "95th percentile of the time a receiver took to accept a message. Bad: seconds.",
        unit=units.Seconds,
        missing="none sent",
    ),
    lines(
        "Alertmanagers",
        [
            Query('max by (host) (alertmanager_cluster_members{job="alertmanager"})', "known to {{host}}"),
            Query('count(up{job="alertmanager"} == 1)', "that answer"),
        ],
        "How many Alertmanagers know each other. Bad: fewer than answer. Watched by AlertmanagerClusterBroken.",
    ),
    lines(
        "Alerts in Alertmanager",
        [
            Query(f"max by (state) (alertmanager_alerts{{{MANAGER}}})", "{{state}}"),
            Query(f'max(alertmanager_silences{{{MANAGER},state="active"}})', "silences"),
        ],
        "Alerts that it knows, and those held back by a silence or by a worse one. "
        "Bad: suppressed, and nobody knows why.",
        colors={"active": RED, "suppressed": YELLOW},
    ),
]

SCRAPING = [
    states(
        "Targets",
        [Query('min by (job, host) (up{host=~"$host"})', "{{job}} {{host}}")],
        "Whether each kind of target of the chosen hosts answers. Bad: red; at least one does not. "
        "Watched by TargetDown and SourceBlind.",
        height=10,
    ),
    table(
        "Targets expected",
        {"job": "Kind"},
        [
            Column("In the inventory", "max by (job) (matchpoint_expected_targets)", decimals=0),
            Column("Known to Prometheus", "count by (job) (up)", decimals=0),
            Column("That answer", "sum by (job) (up)", decimals=0),
            Column(
                "Missing",
                "max by (job) (matchpoint_expected_targets)"
                " - on (job) (sum by (job) (up) or 0 * max by (job) (matchpoint_expected_targets))",
                steps=ZERO_IS_GOOD,
                decimals=0,
            ),
        ],
        "How many targets of each kind the inventory has, how many Prometheus asks, and how many answer. "
        "Bad: missing ones. Watched by TargetsMissing and TargetDown.",
        height=10,
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
        "Empty on a site of one host. Watched by MeshPeerDown and MeshCertExpiringSoon.",
        missing="only one host",
        width=8,
    ),
    lines(
        "Duration of scrapes",
        [Query('max by (job) (scrape_duration_seconds{host=~"$host"})', "{{job}}")],
        "How long the slowest target of each kind took to answer. Bad: near 10 s, when it counts as down.",
        unit=units.Seconds,
    ),
    lines(
        "Samples by scrape",
        [Query('sum by (job) (scrape_samples_post_metric_relabeling{host=~"$host"})', "{{job}}")],
        "How much each kind of target has to say. Bad: growth without end; a label that holds what it should not.",
        stacked=True,
    ),
]

STORAGE = [
    states(
        "Configuration reloads",
        [
            Query(f"min by (host) (prometheus_config_last_reload_successful{{{PROMETHEUS}}})", "Prometheus {{host}}"),
            Query(f"min by (host) (alertmanager_config_last_reload_successful{{{MANAGER}}})", "Alertmanager {{host}}"),
            Query(
                'min by (host) (blackbox_exporter_config_last_reload_successful{job="blackbox",host=~"$host"})',
                "Blackbox exporter {{host}}",
            ),
        ],
        "Whether each runs with the configuration that is on disk. Bad: red; it runs with an older one. "
        "Watched by ConfigReloadFailed.",
        mapping=FAILED_OK,
        width=8,
    ),
    lines(
        "Rule failures",
        increases(
            PROMETHEUS,
            ("prometheus_rule_evaluation_failures_total", "failed {{host}}"),
            ("prometheus_rule_group_iterations_missed_total", "left out {{host}}"),
            over="5m",
            by="host",
        ),
        "Evaluations of rules that failed or came too late, in 5 minutes. Bad: any. Watched by PrometheusRuleFailures.",
        colors={"failed": RED, "left out": YELLOW},
    ),
    lines(
        "Duration of rules",
        [
            Query(
                f"max by (host) (prometheus_rule_group_last_duration_seconds{{{PROMETHEUS}}})", "slowest group {{host}}"
            ),
            Query(
                f"sum by (host) (prometheus_rule_group_last_duration_seconds{{{PROMETHEUS}}})", "all groups {{host}}"
            ),
        ],
        "How long rules took, each group every 15 s. Bad: near 15 s, then evaluations are left out.",
        unit=units.Seconds,
    ),
    lines(
        "Storage of Prometheus",
        increases(
            PROMETHEUS,
            ("prometheus_tsdb_wal_writes_failed_total", "writes failed {{host}}"),
            ("prometheus_tsdb_wal_corruptions_total", "corruptions {{host}}"),
            ("prometheus_tsdb_compactions_failed_total", "compactions failed {{host}}"),
            over="10m",
            by="host",
        ),
        "What Prometheus could not store, in 10 minutes. Bad: any. Watched by PrometheusStorageFailing.",
    ),
    lines(
        "Series",
        [Query(f"max by (host) (prometheus_tsdb_head_series{{{PROMETHEUS}}})", "{{host}}")],
        "Series that Prometheus has in memory. Bad: twice as many as yesterday.",
    ),
    lines(
        "Disk of Prometheus",
        [
            Query(
                f"max by (host) (prometheus_tsdb_storage_blocks_bytes{{{PROMETHEUS}}}"
                f" + prometheus_tsdb_wal_storage_size_bytes{{{PROMETHEUS}}})",
                "{{host}}",
            ),
            Query(f"max(prometheus_tsdb_retention_limit_bytes{{{PROMETHEUS}}})", "limit"),
        ],
        "What the samples take, against the size at which the oldest are dropped. Bad: at the limit within 30 days.",
        unit=units.BytesIEC,
        colors={"limit": RED},
    ),
]

CHANGES = [
    last_deploys("Last deploy", width=8, height=7),
    table(
        "Releases",
        {"host": "Host", "revision": "Revision", "version": "Version"},
        [
            Column(
                "Processes",
                'count by (host, version, revision) (matchpoint_build_info{host=~"$host"})',
                decimals=0,
            )
        ],
        "Which release the processes of the game run. Bad: two, but for the minutes of a deploy. "
        "Watched by ReleasesMixed.",
        width=8,
        height=7,
    ),
    table(
        "Watching from outside",
        {"probe": "Probe", "host": "Of"},
        [
            Column("Now", 'min by (probe, host) (probe_success{job="probe",host=~"$host"})', mapping=DOWN_UP),
            Column(
                "Good in 24 h",
                'avg by (probe, host) (avg_over_time(probe_success{job="probe",host=~"$host"}[24h]))',
                units.PercentUnit,
                ((None, RED), (0.99, YELLOW), (0.999, GREEN)),
                decimals=2,
            ),
        ],
        "What the probes saw in a day. Bad: below 99.9 %. Watched by SiteDown, EdgeDown and WebsocketProbeFailing.",
        width=8,
        height=7,
    ),
]


def dashboard() -> build.Dashboard:
    """Who watches the watchers."""
    return board(
        "oncall",
        "Monitoring and on-call",
        "Would somebody be told? What have they been told?",
        [
            ("Now", NOW),
            ("Alerts", ALERTS),
            ("Delivery", DELIVERY),
            ("Scraping", SCRAPING),
            ("Prometheus", STORAGE),
            ("Changes and probes", CHANGES),
        ],
    )
