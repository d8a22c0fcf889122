"""Panels about backups, for the dashboard of PostgreSQL."""

from grafana_foundation_sdk.models import units
from monitoring.dashboards.panels import BLUE, GREEN, RED, lines
from monitoring.dashboards.queries import Query, increases

PG = 'job="postgres",host=~"$host"'
AGE = 'time() - max by (type) (matchpoint_backup_last_success_timestamp_seconds{job="node"})'
BACKUPS = [
    lines(
        "Age of the newest backup",
        [Query(AGE, "{{type}}")],
        "How old the newest backup of each type is, whichever host made it; full ones come weekly, the others nightly. "
        "Bad: both above 26 hours. Watched by BackupTooOld.",
        unit=units.Seconds,
        colors={"full": BLUE, "diff": GREEN},
        missing="no backup",
        width=6,
    ),
    lines(
        "Log to the backup store",
        increases(
            PG,
            ("pg_stat_archiver_archived_count", "archived"),
            ("pg_stat_archiver_failed_count", "tries that failed"),
            over="10m",
        ),
        "Files of the write-ahead log that were archived in 10 minutes, and tries that failed. "
        "Bad: any that failed, for long. Watched by WalArchiveFailing.",
        colors={"archived": GREEN, "tries": RED},
        width=6,
    ),
    lines(
        "Size of the newest backup",
        [Query('max by (type) (matchpoint_backup_last_size_bytes{job="node"})', "{{type}}")],
        "What the newest backup of each type takes in the store, compressed and encrypted. "
        "Bad: a step that nobody can explain.",
        unit=units.BytesIEC,
        colors={"full": BLUE, "diff": GREEN},
        missing="no backup",
        width=6,
    ),
    lines(
        "Age of the last good restore test",
        [Query('time() - max(matchpoint_restore_test_last_success_timestamp_seconds{job="node"})', "restore test")],
        "How long ago the newest backup was restored beside the data and found good; that is done every week. "
        "Bad: above 8 days. Watched by RestoreTestFailing.",
        unit=units.Seconds,
        missing="no test yet",
        width=6,
    ),
]
