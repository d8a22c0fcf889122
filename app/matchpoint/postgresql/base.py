"""PostgreSQL by django-prometheus' backend, with connections that outlive their request.

Under ASGI each request runs its synchronous code in a thread of its own, so Django's persistent connections would be
left behind in threads that never come back (CONN_MAX_AGE must be 0). Here a connection that Django closes waits for the
next request of the process instead, whatever its thread. One that failed, or leads to a server that has become
read-only, is not used again: the next request connects anew, to the primary of that moment.

A server that is frozen, or a commit that waits for a standby that is gone, says nothing and breaks nothing: the kernel
at the other end acknowledges, and the server's own timeouts stand still or do not apply. So the client has deadlines of
its own. Past one the outcome is unknown, the connection is given up, and the next one is looked for at another host.
"""

import random
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django_prometheus.db.backends.postgresql.base import DatabaseWrapper as PrometheusWrapper
from psycopg2 import Error, OperationalError
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE, set_wait_callback
from psycopg2.extensions import connection as PlainConnection

IDLE_MAX: Final = 8  # connections that wait in one process
AGE_S: Final = 600.0  # from its opening: then it is closed, and what it has piled up at the server goes with it
TRUSTED_S: Final = 1.0  # a connection that was used so lately is not asked whether it still works
CONNECT_S: Final = 2.0  # for a host to let us in, unless `connect_timeout` says otherwise
ANSWER_S: Final = 8.0  # for a statement: more than the server's own statement_timeout, which has the better message


class Connection(PlainConnection):
    """A connection that is given up, with an OperationalError, when the server does not answer within `patience_s`."""

    def __init__(self, dsn: str, *arguments: Any, connect_s: float = CONNECT_S, **options: Any) -> None:
        self.patience_s: float | None = connect_s  # seconds; None waits for ever
        self.host = 0  # which of the hosts it leads to
        super().__init__(dsn, *arguments, **options)
        self.patience_s = ANSWER_S


@contextmanager
def patience(connection: PlainConnection, seconds: float | None) -> Iterator[None]:
    """Within this, statements on a connection of this backend may take so long; None for ever."""
    if not isinstance(connection, Connection):
        yield
        return
    before, connection.patience_s = connection.patience_s, seconds
    try:
        yield
    finally:
        connection.patience_s = before


def _wait(connection: PlainConnection) -> None:
    """psycopg2 calls this instead of blocking in libpq. After an error it closes the connection itself."""
    patience_s = getattr(connection, "patience_s", None)  # others than ours wait as they always did
    deadline = None if patience_s is None else time.monotonic() + patience_s
    while (state := connection.poll()) != POLL_OK:
        if state not in (POLL_READ, POLL_WRITE):
            raise OperationalError(f"the connection is in an unknown state ({state})")
        poll = select.poll()  # anew, because libpq changes sockets while it connects
        poll.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poll.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
            raise OperationalError(f"the database did not answer within {patience_s:g} s")


set_wait_callback(_wait)


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
            is_old = time.monotonic() - found.opened_at > AGE_S
            if not is_old and _is_good(found):
                return found
            found.connection.close()
            if not is_old:
                self.close()  # they lead to the same server, and to ask each of them would cost a deadline each

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
    if connection.closed:
        return False
    poll = select.poll()  # `select` knows no descriptor beyond 1,023, and a worker has thousands of sockets
    poll.register(connection, select.POLLIN)
    if poll.poll(0):  # a server that says something unasked says goodbye
        return False
    if time.monotonic() - found.used_at < TRUSTED_S:
        return True
    try:
        connection.autocommit = True
        with patience(connection, CONNECT_S), connection.cursor() as cursor:
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
        # libpq's own limit does not count while psycopg2 waits by our function
        factory = partial(Connection, connect_s=float(conn_params.get("connect_timeout", CONNECT_S)))
        other = self.settings_dict.get("OTHER_PASSWORD")
        passwords = [{}, {"password": other}] if other else [{}]
        failure = OperationalError("there is no host")
        for turn in range(len(hosts)):
            index = (first + turn) % len(hosts)
            host = {name: many[index] for name, many in (("host", hosts), ("port", ports)) if conn_params.get(name)}
            for password in passwords:
                try:
                    found: Connection = super().get_new_connection(
                        {**conn_params, **host, **password, "connection_factory": factory}
                    )
                except OperationalError as error:
                    failure = error
                else:
                    found.host = self.reached[self.alias] = index
                    return found
        self._leave(first)
        raise failure

    def _leave(self, host: int) -> None:
        """The next search does not begin at this host, and not that of every process at the same other one."""
        hosts = str(self.settings_dict["HOST"]).count(",") + 1
        if hosts > 1 and self.reached.get(self.alias, 0) == host:
            self.reached[self.alias] = (host + random.randrange(1, hosts)) % hosts  # noqa: S311 - no secret

    def _close(self) -> None:
        connection = self.connection
        if connection is not None and connection.closed:  # the server, or our patience, ended it
            self._leave(connection.host)
            self._idle().close()
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
