"""`manage.py migrate` that is safe beside a running site.

One at a time, by an advisory lock. A migration that has to wait for a table gives way after two seconds, because every
page would queue up behind it, and tries again a few times. One that works on a table for a minute is no migration to
run while people play: it stops, and nothing of it stays.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseError
from psycopg2 import errors

from matchpoint.postgresql import base

LOCK = 0x6D617463  # of pg_advisory_lock: one of this number for all hosts and releases
LOCK_TIMEOUT_S = 2
TRIES = 4
POLL_S = 0.5
SPARE_S = 3  # that the client waits longer than the server works on a statement

HOLDER = """
    SELECT format('process %%s at %%s, since %%s', pid, coalesce(host(client_addr), 'the server itself'), backend_start)
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND granted
"""


class Command(DjangoMigrate):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-wait", type=float, default=60.0, metavar="S", help="for another migration (default: %(default)g)"
        )
        parser.add_argument(
            "--statement-timeout", type=int, default=60, metavar="S", help="for each statement (default: %(default)s)"
        )

    def handle(self, *args: Any, lock_wait: float, statement_timeout: int, **options: Any) -> None:
        connection = connections[options["database"]]
        only_looks = options.get("plan") or options.get("check_unapplied")
        if connection.vendor != "postgresql" or only_looks:
            super().handle(*args, **options)
            return
        with self._alone(connection, lock_wait), _limits(connection, statement_timeout):
            self._migrate(*args, statement_timeout=statement_timeout, **options)

    def _migrate(self, *args: Any, statement_timeout: int, **options: Any) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                super().handle(*args, **options)
                return
            except OperationalError as error:
                if isinstance(error.__cause__, errors.QueryCanceled):
                    raise CommandError(
                        f"A statement took longer than {statement_timeout} s and was taken back. While people play a "
                        "migration only adds things, quickly; for one that must take its time there is "
                        "--statement-timeout."
                    ) from error
                if not isinstance(error.__cause__, errors.LockNotAvailable):
                    raise
                if attempt == TRIES:
                    raise CommandError(
                        f"A table was busy {TRIES} times for {LOCK_TIMEOUT_S} s: somebody holds a lock on it in a long "
                        "transaction (see pg_stat_activity). What was applied before stays; run it again later."
                    ) from error
                self.stderr.write(f"A table is busy; trying again ({attempt} of {TRIES - 1}).")
                time.sleep(attempt * POLL_S)

    @contextmanager
    def _alone(self, connection: BaseDatabaseWrapper, wait_s: float) -> Iterator[None]:
        deadline = time.monotonic() + wait_s
        is_told = False
        while not _ask(connection, "SELECT pg_try_advisory_lock(%s)", LOCK):
            holder = _ask(connection, HOLDER, LOCK) or "somebody"
            if time.monotonic() > deadline:
                raise CommandError(f"Another migration did not end within {wait_s:g} s ({holder}).")
            if not is_told:
                is_told = True
                self.stderr.write(f"Waiting for another migration ({holder}).")
            time.sleep(POLL_S)
        try:
            yield
        finally:
            with suppress(DatabaseError):  # the lock ends with the connection, too
                _ask(connection, "SELECT pg_advisory_unlock(%s)", LOCK)


@contextmanager
def _limits(connection: BaseDatabaseWrapper, statement_s: int) -> Iterator[None]:
    limits = {
        "lock_timeout": f"{LOCK_TIMEOUT_S}s",
        "statement_timeout": f"{statement_s}s",
        "idle_in_transaction_session_timeout": "0",
    }
    for name, value in limits.items():
        _ask(connection, "SELECT set_config(%s, %s, false)", name, value)
    patience = statement_s + SPARE_S if statement_s else None
    with base.patience(connection.connection, patience):
        try:
            yield
        finally:
            with suppress(DatabaseError), connection.cursor() as cursor:
                for name in limits:
                    cursor.execute(f"RESET {name}")


def _ask(connection: BaseDatabaseWrapper, sql: str, *values: Any) -> Any:
    """The first column of the first row, or None."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return row[0] if row else None
