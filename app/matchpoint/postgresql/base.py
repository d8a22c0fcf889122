"""PostgreSQL by django-prometheus' backend, with connections that outlive their request.

Under ASGI each request runs its synchronous code in a thread of its own, so Django's persistent connections would be
left behind in threads that never come back (CONN_MAX_AGE must be 0). Here a connection that Django closes waits for the
next request of the process instead, whatever its thread. One that failed, or leads to a server that has become
read-only, is not used again: the next request connects anew, to the primary of that moment.
"""

import select
import threading
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django_prometheus.db.backends.postgresql.base import DatabaseWrapper as PrometheusWrapper
from psycopg2 import Error, OperationalError
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection

IDLE_MAX: Final = 8  # connections that wait in one process
AGE_S: Final = 600.0  # from its opening: then it is closed, and what it has piled up at the server goes with it
TRUSTED_S: Final = 1.0  # a connection that was used so lately is not asked whether it still works


@dataclass(frozen=True, slots=True)
class Waiting:
    """A connection that nobody uses. Times are monotonic seconds."""

    connection: Connection
    opened_at: float
    used_at: float


class IdleConnections:
    """The connections of one database that wait for a request, the last used on top. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Waiting] = []

    def take(self) -> Waiting | None:
        """A connection that can be written through, or None. Others that are found on the way are closed."""
        while True:
            with self._lock:
                if not self._waiting:
                    return None
                found = self._waiting.pop()
            if _is_good(found):
                return found
            found.connection.close()

    def give(self, connection: Connection, opened_at: float) -> bool:
        """Keep a connection for later; False when there are enough."""
        with self._lock:
            if len(self._waiting) >= IDLE_MAX:
                return False
            self._waiting.append(Waiting(connection, opened_at, time.monotonic()))
            return True

    def close(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for found in waiting:
            found.connection.close()


def _is_good(found: Waiting) -> bool:
    connection = found.connection
    if connection.closed or time.monotonic() - found.opened_at > AGE_S:
        return False
    poll = select.poll()  # `select` knows no descriptor beyond 1,023, and a worker has thousands of sockets
    poll.register(connection, select.POLLIN)
    if poll.poll(0):  # a server that says something unasked says goodbye
        return False
    if time.monotonic() - found.used_at < TRUSTED_S:
        return True
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            row = cursor.fetchone()
    except Error:
        return False
    return row == ("off",)


class DatabaseWrapper(PrometheusWrapper):
    """Takes connections from those that wait, and gives them back."""

    idle: ClassVar[dict[str, IdleConnections]] = {}  # by alias
    reached: ClassVar[dict[str, int]] = {}  # by alias: which of the hosts the last connection found
    _opened_at = 0.0

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        found = self._idle().take()
        if found is not None:
            self.isolation_level = IsolationLevel.READ_COMMITTED  # as Django's own method has it
            self._opened_at = found.opened_at
            return found.connection
        self._opened_at = time.monotonic()
        return self._connect(conn_params)

    def _connect(self, conn_params: dict[str, Any]) -> Connection:
        """Try the hosts one after the other, beginning with the one that was reached last.

        libpq does so itself, but gives up at a host that accepts the connection and closes it, as a proxy does in front
        of a server that is down. Each host is tried with the other password as well, if there is one.
        """
        hosts, ports = (str(conn_params.get(name, "")).split(",") for name in ("host", "port"))
        first = self.reached.get(self.alias, 0)
        other = self.settings_dict.get("OTHER_PASSWORD")
        passwords = [{}, {"password": other}] if other else [{}]
        failure = OperationalError("there is no host")
        for turn in range(len(hosts)):
            index = (first + turn) % len(hosts)
            host = {name: many[index] for name, many in (("host", hosts), ("port", ports)) if conn_params.get(name)}
            for password in passwords:
                try:
                    found: Connection = super().get_new_connection({**conn_params, **host, **password})
                except OperationalError as error:
                    failure = error
                else:
                    self.reached[self.alias] = index
                    return found
        raise failure

    def _close(self) -> None:
        connection = self.connection
        if (
            connection is None
            or not self._is_reusable(connection)
            or not self._idle().give(connection, self._opened_at)
        ):
            super()._close()

    def _is_reusable(self, connection: Connection) -> bool:
        return (
            not connection.closed
            and not self.in_atomic_block
            and not self.errors_occurred
            and connection.autocommit
            and connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        )

    def _idle(self) -> IdleConnections:
        return self.idle.setdefault(self.alias, IdleConnections())
