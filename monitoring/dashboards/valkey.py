"""Valkey: the directory of matches, their snapshots, the lobby and sessions."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    BLUE,
    FAILED_OK,
    GREEN,
    ONE_IS_GOOD,
    ORANGE,
    RED,
    YELLOW,
    ZERO_IS_BETTER,
    Column,
    dial,
    lines,
    mishaps,
    number,
    states,
    table,
    up_now,
)
from monitoring.dashboards.queries import Query, increases, rates, totals

VALKEY = 'job="valkey",host=~"$host"'
SATURATED = ((None, GREEN), (0.7, YELLOW), (0.9, RED))

# Those that are shown one by one: of the whole time, not of each moment, or there would be many
MOST = f"topk(8, sum by (cmd) (increase(redis_commands_total{{{VALKEY}}}[$__range] @ end())))"
SLOWEST = f"topk(8, sum by (cmd) (increase(redis_commands_duration_seconds_total{{{VALKEY}}}[$__range] @ end())))"

NOW = [
    up_now(
        "Valkey now",
        f"min(redis_up{{{VALKEY}}}) or min(up{{{VALKEY}}})",
        "Whether it answers. Bad: down; no match can be created or joined. Watched by ValkeyDown.",
    ),
    dial(
        "Memory used",
        f"max(redis_memory_used_bytes{{{VALKEY}}} / (redis_memory_max_bytes{{{VALKEY}}} > 0))",
        "Used share of its memory limit; at 100 % it refuses writes. Bad: above 85 %. Watched by ValkeyMemoryHigh.",
        steps=((None, GREEN), (0.85, YELLOW), (0.95, RED)),
    ),
    number(
        "Busy now",
        f"sum(rate(redis_commands_duration_seconds_total{{{VALKEY}}}[5m]))",
        "Share of its one thread that works. Bad: above 70 %. Watched by ValkeySaturated.",
        unit=units.PercentUnit,
        decimals=1,
        steps=SATURATED,
    ),
    number(
        "Commands a second",
        f"sum(rate(redis_commands_processed_total{{{VALKEY}}}[5m]))",
        "What it does. Nothing alerts on it: matches make it.",
        unit=units.RequestsPerSecond,
        decimals=0,
    ),
    number(
        "Clients",
        f"sum(redis_connected_clients{{{VALKEY}}})",
        "Connections of the game's processes. Bad: none; then nobody uses it.",
        steps=ONE_IS_GOOD,
    ),
    mishaps(
        "Keys evicted",
        f"redis_evicted_keys_total{{{VALKEY}}}",
        "Keys thrown away for memory in an hour. Bad: any; it is set up to throw none away. "
        "Watched by ValkeyMemoryHigh.",
    ),
    mishaps(
        "Clients refused",
        f"redis_rejected_connections_total{{{VALKEY}}}",
        "Connections it did not take, in an hour. Bad: any. Watched by ValkeyClientsRefused.",
    ),
    number(
        "Up for",
        f"min(redis_uptime_in_seconds{{{VALKEY}}})",
        "Time since it started. Bad: minutes, when nobody deployed.",
        unit=units.Seconds,
    ),
]

MEMORY = [
    lines(
        "Memory",
        totals(
            VALKEY,
            ("redis_memory_used_bytes", "used"),
            ("redis_memory_used_peak_bytes", "peak"),
            ("redis_memory_used_rss_bytes", "resident"),
            ("redis_memory_max_bytes", "limit"),
        ),
        "What it holds, against its limit. Bad: used above 85 % of the limit. Watched by ValkeyMemoryHigh.",
        unit=units.BytesIEC,
        colors={"limit": RED, "used": GREEN, "peak": BLUE, "resident": ORANGE},
    ),
    lines(
        "Keys",
        totals(VALKEY, ("redis_db_keys", "all"), ("redis_db_keys_expiring", "that expire")),
        "What is stored. Bad: a growing number that does not expire.",
    ),
    lines(
        "Keys that went away",
        rates(VALKEY, ("redis_expired_keys_total", "expired"), ("redis_evicted_keys_total", "evicted")),
        "Keys a second whose time was over, and keys thrown away for memory. Bad: evicted.",
        unit=units.OpsPerSecond,
        colors={"expired": GREEN, "evicted": RED},
    ),
]

COMMANDS = [
    lines(
        "Commands",
        [
            Query(
                f"sum by (cmd) (rate(redis_commands_total{{{VALKEY}}}[$__rate_interval])) and on (cmd) {MOST}",
                "{{cmd}}",
            )
        ],
        "Commands a second, those that are most frequent. Bad: keys, which reads everything.",
        unit=units.OpsPerSecond,
        stacked=True,
    ),
    lines(
        "Busy",
        rates(VALKEY, ("redis_commands_duration_seconds_total", "{{host}}"), by="host"),
        "Share of its one thread that works on commands. Bad: above 70 %. Watched by ValkeySaturated.",
        unit=units.PercentUnit,
        reach=1,
        steps=SATURATED,
    ),
    lines(
        "Duration of commands",
        [
            Query(
                f"sum by (cmd) (rate(redis_commands_duration_seconds_total{{{VALKEY}}}[$__rate_interval]))"
                f" / (sum by (cmd) (rate(redis_commands_total{{{VALKEY}}}[$__rate_interval])) > 0)"
                f" and on (cmd) {SLOWEST}",
                "{{cmd}}",
            )
        ],
        "Mean time of a command inside Valkey, of those that take most. Bad: more than a millisecond; all others wait.",
        unit=units.Seconds,
    ),
    table(
        "Commands in an hour",
        {"cmd": "Command"},
        [
            Column("Calls", f"sum by (cmd) (increase(redis_commands_total{{{VALKEY}}}[1h])) > 0", decimals=0),
            Column(
                "Time",
                f"sum by (cmd) (increase(redis_commands_duration_seconds_total{{{VALKEY}}}[1h])) > 0",
                units.Seconds,
            ),
            Column(
                "Failed",
                f"sum by (cmd) (increase(redis_commands_failed_calls_total{{{VALKEY}}}[1h])"
                f" + increase(redis_commands_rejected_calls_total{{{VALKEY}}}[1h]))"
                f" and on (cmd) sum by (cmd) (increase(redis_commands_total{{{VALKEY}}}[1h])) > 0",
                steps=ZERO_IS_BETTER,
                decimals=0,
            ),
        ],
        "What takes its time. Bad: one command with nearly all of it, or calls that fail.",
        sort="Time",
    ),
    lines(
        "Reads that found nothing",
        rates(VALKEY, ("redis_keyspace_hits_total", "found"), ("redis_keyspace_misses_total", "not found")),
        "Reads a second by whether the key was there. Bad: a change in the share that no release explains.",
        unit=units.OpsPerSecond,
        stacked=True,
        colors={"found": GREEN, "not found": YELLOW},
        width=12,
    ),
]

CLIENTS = [
    lines(
        "Connections",
        totals(
            VALKEY,
            ("redis_connected_clients", "connected"),
            ("redis_blocked_clients", "waiting for a message"),
            ("redis_pubsub_channels", "channels subscribed"),
        ),
        "Connections of the game's processes. Bad: growth without players.",
    ),
    lines(
        "Clients refused or cut off",
        increases(
            VALKEY,
            ("redis_rejected_connections_total", "refused"),
            ("redis_client_output_buffer_limit_disconnections_total", "too slow to read"),
            ("redis_acl_access_denied_auth_total", "wrong password"),
            over="5m",
        ),
        "Connections in 5 minutes that it did not take or did not keep. Bad: any. Watched by ValkeyClientsRefused.",
        colors={"refused": RED},
    ),
    lines(
        "Network of Valkey",
        rates(VALKEY, ("redis_net_input_bytes_total", "in"), ("redis_net_output_bytes_total", "out")),
        "Bytes a second from and to clients. Bad: a step that no release explains.",
        unit=units.BytesPerSecondSI,
    ),
]

PERSISTENCE = [
    states(
        "Valkey",
        [
            Query(f"min by (host) (redis_up{{{VALKEY}}}) or min by (host) (up{{{VALKEY}}})", "{{host}}"),
        ],
        "When it answered. Bad: red. Watched by ValkeyDown.",
        width=8,
    ),
    states(
        "Persistence",
        [
            Query(f"min by (host) (redis_aof_last_write_status{{{VALKEY}}})", "log written {{host}}"),
            Query(f"min by (host) (redis_aof_last_bgrewrite_status{{{VALKEY}}})", "log rewritten {{host}}"),
            Query(f"min by (host) (redis_rdb_last_bgsave_status{{{VALKEY}}})", "snapshot {{host}}"),
        ],
        "Whether what it holds gets to disk. Bad: red; then a restart loses matches. "
        "Watched by ValkeyPersistenceFailing.",
        mapping=FAILED_OK,
        width=8,
    ),
    lines(
        "Changes since the last snapshot",
        [
            Query(f"max by (host) (redis_rdb_changes_since_last_save{{{VALKEY}}})", "{{host}}"),
        ],
        "Writes that are in the log but in no snapshot yet. Nothing alerts on it: the log has them.",
    ),
]


def dashboard() -> build.Dashboard:
    """Whether the game's memory works."""
    return board(
        "valkey",
        "Valkey",
        "Is there room, is it quick, does it keep what it is given?",
        [
            ("Now", NOW),
            ("Over time", PERSISTENCE),
            ("Memory and keys", MEMORY),
            ("Commands", COMMANDS),
            ("Clients", CLIENTS),
        ],
    )
