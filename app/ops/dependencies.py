"""Whether this process gets at what it needs, as a metric that is asked for at each scrape.

An exporter has an account and a way of its own: that it is refused says little about the game, and that it gets in says
little as well. Rules about a store ask both.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

BUDGET_S: Final = 3.0  # for all together: Prometheus gives up after 10

Answers = dict[str, bool]
"""Name of a dependency -> whether it could be used."""

DATABASE: Final[Answers] = {"database": False, "database_write": False}
VALKEY: Final[Answers] = {"valkey": False}


def database_ask(connection: BaseDatabaseWrapper | None = None) -> Answers:
    """With a connection as a request has it that comes now. Raises what the driver raises."""
    connection = connection or connections[DEFAULT_DB_ALIAS]
    try:
        with connection.cursor() as cursor:
            if connection.vendor != "postgresql":
                cursor.execute("SELECT 1")
                return {"database": True, "database_write": True}
            cursor.execute("SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'")
            (writes,) = cursor.fetchone()
            return {"database": True, "database_write": bool(writes)}
    finally:
        connection.close()


def valkey_ask() -> Answers:
    if settings.VALKEY_URL.startswith("fake:"):
        return {"valkey": True}  # it lives in this process
    client = redis.Redis.from_url(settings.VALKEY_URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        client.ping()
    finally:
        client.close()
    return {"valkey": True}


class Dependencies(Collector):
    """`asks`: each with what it says when it fails or does not come back in time.

    A thread each: one that hangs neither delays the others nor piles up.
    """

    def __init__(self, asks: Mapping[Callable[[], Answers], Answers], *, budget_s: float = BUDGET_S) -> None:
        self._asks = dict(asks)
        self._budget_s = budget_s
        self._threads = {ask: ThreadPoolExecutor(1, thread_name_prefix="dependency") for ask in self._asks}

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing is asked when it is registered."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = self._family()
        under_way = {ask: self._threads[ask].submit(ask) for ask in self._asks}
        for ask, future in under_way.items():
            for name, is_usable in (self._asks[ask] | self._result(future)).items():
                family.add_metric([name], float(is_usable))
        yield family

    def _result(self, future: Future[Answers]) -> Answers:
        try:
            return future.result(timeout=self._budget_s)
        except Exception:  # whatever a driver raises, and no answer in time: the metric says so
            future.cancel()
            return {}

    @staticmethod
    def _family() -> GaugeMetricFamily:
        text = "Whether this process could use what it needs when it was asked."
        return GaugeMetricFamily("matchpoint_dependency_ok", text, labels=["dependency"])
