"""The directory in Valkey: which matches there are, who sits where, and which worker owns each of them.

Keys (values are JSON unless said otherwise):

    mp:workers                 set of the names of workers ever seen
    mp:worker:<name>           what the worker says of itself; lives 4 s, renewed every second
    mp:worker:<name>:load      sorted set of what it carries, match id by the time (s) until which that counts as load
    mp:match:<id>              the spec
    mp:match:<id>:lease        text `<epoch>:<worker>`; no worker after the colon: free to be placed
    mp:match:<id>:snapshot     the last rally boundary
    mp:match:<id>:timeline     list of pieces of the timeline, one piece a boundary
    mp:match:<id>:over         set when the match is over; the others go when its result is in the database
    mp:revocations             stream of identities that were logged out (live.directory.revocations)
    mp:revoked:<identity>      text, when that was (s); of a banned guest a year ahead

A worker owns its matches as long as it renews its own key. The epoch is the fencing token: it grows with every
placement and every claim, and every write of an owner is refused when the lease no longer carries its epoch.
A match that nobody owns stays in the load of the worker that had it last, until another takes it
(live.worker.takeover).
Transactions are WATCH/MULTI. What every match does at every point is a script (live.directory.checkpoints).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ValkeyConnectionError

from live.directory.leases import Leases
from live.directory.matches import Matches
from live.directory.model import (
    Beat,
    Claim,
    Damaged,
    DirectoryError,
    Fenced,
    MatchOver,
    NoSuchMatch,
    NoWorker,
    Placement,
    SiteFull,
    Standing,
    Unreadable,
    Waiting,
    Worker,
)
from live.directory.results import Results
from live.directory.revocations import Revocations
from live.directory.store import Store
from live.directory.workers import WORKER_SECONDS, Workers

__all__ = [
    "WORKER_SECONDS",
    "Beat",
    "Claim",
    "Damaged",
    "Directory",
    "DirectoryError",
    "Fenced",
    "MatchOver",
    "NoSuchMatch",
    "NoWorker",
    "Placement",
    "SiteFull",
    "Standing",
    "Unreadable",
    "Waiting",
    "Worker",
    "get_directory",
]

TIMEOUT_SECONDS = 2.0  # for every command
TICK_SECONDS: Final = 0.01  # a point is told so much later, which nobody sees
CONNECTIONS: Final = 32  # of a process to Valkey; commands take a millisecond


class Directory:
    """All of it in one Valkey (or its stand-in). Raises redis' errors when that cannot be reached.

    Checkpoints wait `tick_s` for others that travel with them.
    """

    def __init__(self, client: Redis, *, now: Callable[[], float] = time.time, tick_s: float = 0.0) -> None:
        self._client = client
        self.store = store = Store(client, now=now)
        self.workers = Workers(store)
        self.matches = Matches(store, self.workers)
        self.leases = Leases(store, tick_s=tick_s)
        self.results = Results(store)
        self.revocations = Revocations(store)

    async def close(self) -> None:
        await self._client.aclose()


_directories: "WeakKeyDictionary[asyncio.AbstractEventLoop, Directory]" = WeakKeyDictionary()
_fake_server: Any = None


def get_directory() -> Directory:
    """The directory of the settings, one for every event loop: connections belong to the loop that made them."""
    loop = asyncio.get_running_loop()
    directory = _directories.get(loop)
    if directory is None:
        directory = _directories[loop] = Directory(_client(), tick_s=TICK_SECONDS)
    return directory


def _client() -> Redis:
    from django.conf import settings

    if settings.VALKEY_URL.startswith("fake://"):
        return _fake_client()
    # Whoever comes when all connections are in use waits for one: an error would be taken for a directory that is away
    pool = BlockingConnectionPool.from_url(
        settings.VALKEY_URL,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        decode_responses=True,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=15,
        # Once more on a connection that the other end has dropped. Not after a timeout: tries would add up to 8 s, and
        # a worker that waits so long has lost its leases. Callers have their own retries.
        retry=Retry(NoBackoff(), 1, supported_errors=(ValkeyConnectionError,)),
    )
    return Redis.from_pool(pool)


def _fake_client() -> Redis:
    from fakeredis import FakeAsyncRedis

    return cast(Redis, FakeAsyncRedis(server=fake_server(), decode_responses=True))


def fake_server() -> Any:
    """One stand-in a process, shared by all its event loops and threads."""
    global _fake_server
    from fakeredis import FakeServer

    if _fake_server is None:
        _fake_server = FakeServer()
    return _fake_server
