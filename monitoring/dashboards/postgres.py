"""PostgreSQL: who takes writes, what it is asked, what that costs, what standbys have of it."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.backup import BACKUPS
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    BLUE,
    FAILED_OK,
    GREEN,
    ORANGE,
    RED,
    STANDBY_PRIMARY,
    YELLOW,
    Column,
    dial,
    lines,
    mishaps,
    number,
    states,
    table,
    up_now,
)
from monitoring.dashboards.queries import Query, increases, rates

PG = 'job="postgres",host=~"$host"'
GAME = f'{PG},datname="matchpoint"'
SECONDS_OF_QUERY = f"sum by (queryid) (increase(pg_stat_statements_seconds_total{{{GAME}}}[1h]))"
CALLS_OF_QUERY = f"sum by (queryid) (increase(pg_stat_statements_calls_total{{{GAME}}}[1h]))"
TOP = f"topk(15, {SECONDS_OF_QUERY} > 0)"
DEAD = f"max by (relname) (pg_stat_user_tables_n_dead_tup{{{GAME}}})"
ALIVE = f"max by (relname) (pg_stat_user_tables_n_live_tup{{{GAME}}})"
LARGEST = f"topk(12, max by (relname) (pg_stat_user_tables_size_bytes{{{GAME}}}))"
FOUND = f"sum(rate(pg_stat_database_blks_hit{{{GAME}}}[30m]))"
BEHIND = f"pg_replication_lag_seconds{{{PG}}} and on (host) pg_replication_is_replica{{{PG}}} == 1"
OLD_IDS = ((None, GREEN), (0.9, YELLOW), (2, RED))

NOW = [
    up_now(
        "PostgreSQL now",
        f"max(pg_up{{{PG}}}) or max(up{{{PG}}})",
        "Whether a database answers. Bad: down; nobody can sign in. Watched by PostgresDown.",
    ),
    dial(
        "Connections used",
        f"max(sum by (host) (pg_stat_database_numbackends{{{PG}}})"
        f" / on (host) max by (host) (pg_settings_max_connections{{{PG}}}))",
        "Used share of the connections that are allowed. Bad: above 80 %; the next process is refused at 100 %. "
        "Watched by PostgresConnectionsHigh.",
    ),
    number(
        "Commits a second",
        f"sum(rate(pg_stat_database_xact_commit{{{GAME}}}[5m]))",
        "What the game's database commits. Nothing alerts on it: nights are quiet.",
        unit=units.OpsPerSecond,
        decimals=1,
    ),
    number(
        "Found in memory",
        f"{FOUND} / ({FOUND} + sum(rate(pg_stat_database_blks_read{{{GAME}}}[30m])) > 0)",
        "Share of the pages that PostgreSQL had in its own memory, in half an hour. Bad: below 95 % for long.",
        unit=units.PercentUnit,
        decimals=1,
        steps=((None, YELLOW), (0.95, GREEN)),
    ),
    number(
        "Oldest transaction",
        f'max(pg_stat_activity_max_tx_duration{{{GAME},state!="idle"}})',
        "How long the oldest open transaction has been open. Bad: above 10 minutes; rows of before cannot be cleared. "
        "Watched by PostgresLongTransaction.",
        unit=units.Seconds,
        decimals=1,
        steps=((None, GREEN), (60, YELLOW), (600, RED)),
    ),
    mishaps(
        "Deadlocks, 1 h",
        f"pg_stat_database_deadlocks{{{GAME}}}",
        "Transactions that were broken off because they waited for each other, in an hour. Bad: any. "
        "Watched by PostgresDeadlocks.",
    ),
    number(
        "Size",
        f"max(pg_database_size_bytes{{{GAME}}})",
        "The game's database on disk. Nothing alerts on it, but on the file system that it is on.",
        unit=units.BytesIEC,
        decimals=1,
    ),
    number(
        "Worst standby",
        f"max({BEHIND})",
        "How far the slowest standby is behind. Bad: above a minute for long. Empty without a standby. "
        "Watched by PostgresReplicationLag.",
        unit=units.Seconds,
        decimals=1,
        steps=((None, GREEN), (10, YELLOW), (60, RED)),
        missing="no standby",
    ),
]

STATE = [
    states(
        "Database",
        [Query(f"1 - max by (host) (pg_replication_is_replica{{{PG}}})", "{{host}}")],
        "Which database took writes when; the others are standbys. Bad: none, or two; a gap is one that was down. "
        "Watched by PostgresDown, PostgresTwoPrimaries, PostgresStandbyDown and PostgresSlotInactive.",
        mapping=STANDBY_PRIMARY,
        width=8,
    ),
    lines(
        "Connections",
        [
            Query(f"sum by (state) (pg_stat_activity_count{{{GAME}}}) > 0", "{{state}}"),
            Query(f"max(pg_settings_max_connections{{{PG}}})", "limit"),
        ],
        "Connections to the game's database by what they do, against the limit of all. "
        "Bad: near the limit, or many idle in a transaction. Watched by PostgresConnectionsHigh.",
        colors={"limit": RED, "active": GREEN, "idle": BLUE},
    ),
    lines(
        "Longest transaction",
        [Query(f'max by (state) (pg_stat_activity_max_tx_duration{{{GAME},state!="idle"}})', "{{state}}")],
        "How long the oldest open transaction has been open, by its state. Bad: above 10 minutes. "
        "Watched by PostgresLongTransaction.",
        unit=units.Seconds,
        steps=((None, GREEN), (600, RED)),
    ),
]

WORK = [
    lines(
        "Transactions",
        rates(GAME, ("pg_stat_database_xact_commit", "committed"), ("pg_stat_database_xact_rollback", "rolled back")),
        "Transactions a second. Bad: a share of rolled back ones that grows.",
        unit=units.OpsPerSecond,
        stacked=True,
        colors={"committed": GREEN, "rolled back": YELLOW},
    ),
    lines(
        "Rows",
        rates(
            GAME,
            ("pg_stat_database_tup_fetched", "fetched"),
            ("pg_stat_database_tup_inserted", "inserted"),
            ("pg_stat_database_tup_updated", "updated"),
            ("pg_stat_database_tup_deleted", "deleted"),
        ),
        "Rows a second that were read by an index, or written. Bad: a step that no release explains.",
        unit=units.OpsPerSecond,
        colors={"inserted": GREEN, "updated": YELLOW, "deleted": RED, "fetched": BLUE},
    ),
    lines(
        "Pages",
        rates(
            GAME, ("pg_stat_database_blks_hit", "found in memory"), ("pg_stat_database_blks_read", "asked from disk")
        ),
        "Pages a second. Bad: disk in quantity, when the database would fit into memory.",
        unit=units.OpsPerSecond,
        stacked=True,
        colors={"found": GREEN, "asked": ORANGE},
    ),
    lines(
        "Deadlocks",
        increases(
            GAME,
            ("pg_stat_database_deadlocks", "deadlocks"),
            ("pg_stat_database_conflicts", "cancelled on a standby"),
            over="10m",
        ),
        "Transactions that were broken off, in 10 minutes: two that waited for each other, "
        "or a read on a standby in the way of what it must apply. Bad: any deadlock. Watched by PostgresDeadlocks.",
        colors={"deadlocks": RED},
    ),
    lines(
        "Locks",
        [Query(f"sum by (mode) (pg_locks_count{{{GAME}}}) > 0", "{{mode}}")],
        "Locks that are held, by mode. Bad: accessexclusivelock for longer than a migration.",
        stacked=True,
        missing="none held",
    ),
    lines(
        "Written for sorting",
        rates(GAME, ("pg_stat_database_temp_bytes", "temporary files")),
        "Bytes a second that did not fit into the memory of a query. Bad: any for long.",
        unit=units.BytesPerSecondIEC,
    ),
]

QUERIES = [
    table(
        "Queries",
        {"queryid": "Query"},
        [
            Column("Time in 1 h", TOP, units.Seconds),
            Column("Share", f"{TOP} / on () group_left () sum({SECONDS_OF_QUERY})", units.PercentUnit, decimals=0),
            Column("Calls", f"{CALLS_OF_QUERY} and on (queryid) {TOP}", decimals=0),
            Column(
                "Mean",
                f"{TOP} / on (queryid) ({CALLS_OF_QUERY} > 0)",
                units.Seconds,
                ((None, GREEN), (0.05, YELLOW), (0.5, RED)),
            ),
            Column(
                "Rows a call",
                f"sum by (queryid) (increase(pg_stat_statements_rows_total{{{GAME}}}[1h]))"
                f" / on (queryid) ({CALLS_OF_QUERY} > 0) and on (queryid) {TOP}",
                decimals=1,
            ),
            Column(
                "Reading from disk",
                f"sum by (queryid) (increase(pg_stat_statements_block_read_seconds_total{{{GAME}}}[1h]))"
                f" and on (queryid) {TOP}",
                units.Seconds,
            ),
        ],
        "What took most of the database's time in an hour. Bad: a mean above 50 ms, or one query with nearly all. "
        "The text of one: select query from pg_stat_statements where queryid = its number.",
        sort="Time in 1 h",
        missing="no query yet",
        width=24,
        height=9,
    ),
    lines(
        "Time by query",
        [
            Query(
                f"sum by (queryid) (rate(pg_stat_statements_seconds_total{{{GAME}}}[5m])) and on (queryid)"
                f" topk(8, sum by (queryid) (increase(pg_stat_statements_seconds_total{{{GAME}}}[$__range] @ end())))",
                "{{queryid}}",
            )
        ],
        "Share of one core that each query takes, those with most. "
        "Bad: one that grows with the number of players squared.",
        unit=units.PercentUnit,
        stacked=True,
        missing="no query yet",
        width=12,
    ),
    lines(
        "Mean time of a query",
        [
            Query(
                f"sum(rate(pg_stat_statements_seconds_total{{{GAME}}}[5m]))"
                f" / (sum(rate(pg_stat_statements_calls_total{{{GAME}}}[5m])) > 0)",
                "all queries",
            ),
            Query(
                f"sum(rate(pg_stat_statements_block_read_seconds_total{{{GAME}}}[5m]))"
                f" / (sum(rate(pg_stat_statements_calls_total{{{GAME}}}[5m])) > 0)",
                "of it reading from disk",
            ),
        ],
        "How long a query takes inside PostgreSQL, over all. Bad: twice the usual.",
        unit=units.Seconds,
        missing="no query yet",
        width=12,
    ),
]

LOG = [
    lines(
        "Write-ahead log",
        [
            Query(f"max by (host) (pg_wal_size_bytes{{{PG}}})", "{{host}}"),
            Query(f"max(pg_settings_max_wal_size_bytes{{{PG}}})", "aim"),
        ],
        "The log on disk, against the size that checkpoints aim at. "
        "Bad: a multiple of it; something keeps it from being cleared. Watched by PostgresWalPileup.",
        unit=units.BytesIEC,
        colors={"aim": YELLOW},
    ),
    lines(
        "Checkpoints",
        increases(
            PG,
            ("pg_stat_checkpointer_num_timed_total", "on time"),
            ("pg_stat_checkpointer_num_requested_total", "because the log was full"),
            over="30m",
        ),
        "Checkpoints in half an hour. Bad: mostly because the log was full; then max_wal_size is too small.",
        stacked=True,
        colors={"on time": GREEN, "because the log was full": YELLOW},
    ),
    lines(
        "Writing of checkpoints",
        [
            Query(f"sum(rate(pg_stat_checkpointer_write_time_total{{{PG}}}[5m])) / 1000", "writing"),
            Query(f"sum(rate(pg_stat_checkpointer_sync_time_total{{{PG}}}[5m])) / 1000", "waiting for the disk"),
        ],
        "Share of the time in which checkpoints write, which is spread on purpose, and wait for the disk. "
        "Bad: waiting.",
        unit=units.PercentUnit,
        colors={"waiting": RED, "writing": BLUE},
    ),
]

REPLICATION = [
    lines(
        "Replication lag",
        [Query(f"max by (host) ({BEHIND})", "{{host}}")],
        "How far each standby is behind, in time. Bad: above a minute for long. Empty without a standby. "
        "Watched by PostgresReplicationLag.",
        unit=units.Seconds,
        missing="no standby",
    ),
    lines(
        "Log not yet at a standby",
        [Query(f"max by (host) (pg_stat_replication_pg_wal_lsn_diff{{{PG}}})", "{{host}}")],
        "Bytes of write-ahead log that the primary has and a standby has not applied. Bad: above 64 MiB for long. "
        "Empty without a standby. Watched by PostgresReplicationLag.",
        unit=units.BytesIEC,
        missing="no standby",
    ),
    states(
        "Slots",
        [Query(f"max by (host, slot_name) (pg_replication_slots_active{{{PG}}})", "{{slot_name}} of {{host}}")],
        "Whether a standby is connected to its slot. "
        "Bad: red; the primary keeps its log for it. Empty without a standby. Watched by PostgresSlotInactive.",
        missing="no standby",
        width=8,
    ),
]

TABLES = [
    table(
        "Dead rows",
        {"relname": "Table"},
        [
            Column("Dead", f"{DEAD} and on (relname) {LARGEST}", decimals=0),
            Column("Alive", f"{ALIVE} and on (relname) {LARGEST}", decimals=0),
            Column(
                "Share dead",
                f"{DEAD} / ({DEAD} + {ALIVE} > 0) and on (relname) {LARGEST}",
                units.PercentUnit,
                ((None, GREEN), (0.3, YELLOW)),
                decimals=0,
            ),
            Column(
                "Size",
                f"max by (relname) (pg_stat_user_tables_size_bytes{{{GAME}}}) and on (relname) {LARGEST}",
                units.BytesIEC,
            ),
        ],
        "Rows that were changed or deleted and take room until a vacuum, in the largest tables. "
        "Bad: a third of a large one. Watched by PostgresDeadTuples.",
        sort="Dead",
        width=10,
        height=10,
    ),
    lines(
        "Transaction ids",
        [
            Query(
                f"max by (datname) (pg_database_wraparound_age_datfrozenxid_seconds{{{PG}}})"
                f" / on () group_left () max(pg_settings_autovacuum_freeze_max_age{{{PG}}})",
                "{{datname}}",
            )
        ],
        "Age of each database's oldest row in transactions, as a share of what autovacuum lets it be. "
        "Bad: above 1 for long; PostgreSQL stops taking writes at 10. Watched by PostgresWraparound.",
        unit=units.PercentUnit,
        reach=1,
        steps=OLD_IDS,
        width=6,
        height=10,
    ),
    states(
        "Exporter",
        [Query(f"min by (collector, host) (pg_scrape_collector_success{{{PG}}})", "{{collector}} {{host}}")],
        "Whether each part of the exporter could read what it shows. Bad: red; the panels of it are empty. "
        "Watched by PostgresExporterBroken.",
        mapping=FAILED_OK,
        width=8,
        height=10,
    ),
]


def dashboard() -> build.Dashboard:
    """Whether the database works, and for whom."""
    return board(
        "postgres",
        "PostgreSQL",
        "Does it take writes, is it quick, is there a copy?",
        [
            ("Now", NOW),
            ("State", STATE),
            ("Work", WORK),
            ("Queries", QUERIES),
            ("Write-ahead log and checkpoints", LOG),
            ("Standbys", REPLICATION),
            ("Backups", BACKUPS),
            ("Tables", TABLES),
        ],
    )
