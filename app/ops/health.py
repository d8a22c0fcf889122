"""Liveness is about this process; readiness is about what it needs. A lost dependency must not cause a restart."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

logger = logging.getLogger(__name__)

BUDGET_S = 1.0
CACHED_S = 1.0

Results = dict[str, str]
"""Name of a check -> "ok", or in a few words what is wrong."""

Check = Callable[[], Awaitable[Results]]

# A thread each, not asgiref's: a check that hangs in a connect must delay neither the event loop nor the other check,
# and later calls queue up behind it and fail in time instead of piling up.
_database_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readyz-database")
_valkey_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readyz-valkey")


def _migrations_missing() -> str:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    missing = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    return f"{len(missing)} not applied, first {missing[0]}" if missing else "ok"


class DatabaseCheck:
    """The database answers, and has every migration of this release."""

    def __init__(self) -> None:
        self._migrations = ""

    def ask(self) -> Results:
        connection = connections[DEFAULT_DB_ALIAS]
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if self._migrations != "ok":  # a release never loses a migration: asked until all are there
                self._migrations = _migrations_missing()
            return {"database": "ok", "migrations": self._migrations}
        finally:
            connection.close()

    async def __call__(self) -> Results:
        return await asyncio.get_running_loop().run_in_executor(_database_thread, self.ask)


class ValkeyCheck:
    """Valkey answers a ping."""

    def __init__(self) -> None:
        self._client: redis.Redis | None = None

    def ask(self) -> Results:
        if settings.VALKEY_URL.startswith("fake:"):
            return {"valkey": "ok"}  # it lives in this process
        if self._client is None:
            self._client = redis.Redis.from_url(
                settings.VALKEY_URL, socket_connect_timeout=BUDGET_S, socket_timeout=BUDGET_S
            )
        self._client.ping()
        return {"valkey": "ok"}

    async def __call__(self) -> Results:
        return await asyncio.get_running_loop().run_in_executor(_valkey_thread, self.ask)


@dataclass(frozen=True, slots=True)
class Readiness:
    checks: Results

    @property
    def is_ready(self) -> bool:
        return all(result == "ok" for result in self.checks.values())


class ReadinessProbe:
    """Runs the checks together, each within `BUDGET_S`; an answer holds for `CACHED_S`, however many ask."""

    def __init__(self, checks: dict[str, Check], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._checks = checks
        self._clock = clock
        self._answer: Readiness | None = None
        self._answered_at = 0.0
        self._lock = asyncio.Lock()

    def check_add(self, name: str, check: Check) -> None:
        """One more condition, such as "this live worker is not draining"."""
        self._checks[name] = check

    async def ask(self) -> Readiness:
        async with self._lock:
            if self._answer is None or self._clock() - self._answered_at >= CACHED_S:
                self._answer = Readiness(await self._run())
                self._answered_at = self._clock()
            return self._answer

    async def _run(self) -> Results:
        results = await asyncio.gather(*(self._one(name, check) for name, check in self._checks.items()))
        merged: Results = {}
        for result in results:
            merged |= result
        return merged

    async def _one(self, name: str, check: Check) -> Results:
        try:
            async with asyncio.timeout(BUDGET_S):
                return await check()
        except TimeoutError:
            return {name: f"no answer within {BUDGET_S:g} s"}
        except Exception as error:  # whatever a driver raises: the probe's job is to say so, not to fail
            logger.warning("readiness check failed", extra={"check": name, "error": error})
            return {name: type(error).__name__}


probe = ReadinessProbe({"database": DatabaseCheck(), "valkey": ValkeyCheck()})
