"""The servers that `make bench-matches` compares: how each is started, and where its players sit."""

import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
ROOMS = Path(__file__).parent / "rooms"
LIMIT_MS = 20.0  # of the 99th percentile of an input's way to both players
READY_S = 60.0
HOST = "bench"

# One core for the server under test; the load generator and the store share the others
SERVER_CORE, *OTHER_CORES = sorted(os.sched_getaffinity(0))

Process = subprocess.Popen[bytes]


class Unusable(Exception):
    """This machine cannot measure; the text says what it lacks."""


@dataclass(frozen=True)
class Place:
    """Where a server under test runs: its port, its matches, a folder of its own, and the store's URL."""

    port: int
    matches: int
    folder: Path
    store: str

    @property
    def seats(self) -> Path:
        """A line a socket, as load.c reads them."""
        return self.folder / "seats"


@dataclass(frozen=True)
class Contender:
    """A server under test. `command` gives its words and its environment, `seats` the lines of its seats.

    `begin`: matches of the first try. `seats` None: the server writes them itself. `hz`: how often it tells its state;
    0 for at once. One interval more is allowed then.
    """

    name: str
    about: str
    begin: int
    command: Callable[[Place], tuple[list[str], dict[str, str]]]
    seats: Callable[[Place], list[str]] | None = None
    hz: int = 0

    @property
    def limit_ms(self) -> float:
        return LIMIT_MS + (1000 / self.hz if self.hz else 0)

    @property
    def flavour(self) -> str:
        return "json" if self.seats else "colyseus"


def node() -> str:
    """Node of the lock, not of this machine."""
    found = sorted((ROOMS / "node_modules").glob("node-linux-*/bin/node"))
    if not found:
        raise Unusable("the rooms of others are not installed: `make bench-matches` does that")
    return str(found[0])


def worker(place: Place) -> tuple[list[str], dict[str, str]]:
    environment = {
        "PYTHONPATH": str(ROOT / "app"),
        "MATCHPOINT_ENV": "test",  # production's behaviour; the store is a real one
        "MATCHPOINT_VALKEY_URL": place.store,
        "MATCHPOINT_STATE_DIR": str(place.folder),
        "MATCHPOINT_HOST": HOST,
    }
    return [sys.executable, "-m", "matchpoint.serve", "live", "--port", str(place.port)], environment


def tutorial(place: Place) -> tuple[list[str], dict[str, str]]:
    options = ["-b", "127.0.0.1", "-p", str(place.port), "-v", "0", "channels_room:application"]
    return [sys.executable, "-m", "daphne", *options], {"PYTHONPATH": str(ROOMS), "REDIS_URL": place.store}


def ws(place: Place) -> tuple[list[str], dict[str, str]]:
    return [node(), str(ROOMS / "ws.mjs"), str(place.port)], {}


def colyseus(hz: int) -> Callable[[Place], tuple[list[str], dict[str, str]]]:
    def command(place: Place) -> tuple[list[str], dict[str, str]]:
        words = [str(ROOMS / "colyseus.mjs"), str(place.port), str(hz), str(place.matches), str(place.seats)]
        return [node(), *words], {"NODE_ENV": "production"}

    return command


def seats_of_rooms(place: Place) -> list[str]:
    return [f"/room/{match}/{side}\t" for match in range(place.matches) for side in (0, 1)]


def seats_of_worker(place: Place) -> list[str]:
    os.environ |= {"MATCHPOINT_ENV": "test", "DJANGO_SETTINGS_MODULE": "matchpoint.settings"}
    sys.path.insert(0, str(ROOT / "app"))
    import django
    from redis.asyncio import Redis

    django.setup()
    from live.directory import Directory

    async def seats() -> list[str]:
        directory = Directory(Redis.from_url(place.store, decode_responses=True))
        async with asyncio.timeout(READY_S):  # it listens before it takes matches
            while not await directory.workers.alive():  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        lines = await seats_in(directory, f"{HOST}-{place.port}", place.matches)
        await directory.close()
        return lines

    return asyncio.run(seats())


async def seats_in(directory: Any, worker: str, matches: int) -> list[str]:
    """Matches of two guests, placed at the worker; for each seat its path and its `hello`."""
    from live.protocol.tokens import seat_token
    from live.records import MatchSpec, PlayerSpec

    now = datetime.now(UTC).isoformat()
    lines = []
    for number in range(matches):
        left, right = (
            PlayerSpec(side=side, kind="human", identity=f"g:{number}-{side}", name="Guest") for side in (0, 1)
        )
        spec = MatchSpec(
            id=f"bench{number}", mode="friend", level=None, points=21, players=(left, right), created_at=now
        )
        await directory.matches.create(spec, worker=worker)
        for player in (left, right):
            token = seat_token(match_id=spec.id, identity=player.identity, side=player.side, worker=worker)
            hello = {"t": "hello", "protocol": 1, "token": token, "version": 0, "owner": ""}
            lines.append(f"/ws/{worker}/match/{spec.id}\t{json.dumps(hello)}")
    return lines


CONTENDERS = (
    Contender("worker", "our worker: rules, seats, storage, metrics", 560, worker, seats_of_worker),
    Contender("node-ws", "a bare event room on Node's ws", 1600, ws, seats_of_rooms),
    Contender("colyseus-60", "a Colyseus room, 60 patches a second", 280, colyseus(60), hz=60),
    Contender("colyseus-20", "a Colyseus room, 20 patches a second", 680, colyseus(20), hz=20),
    Contender("channels", "the consumer of Channels' tutorial, group_send", 40, tutorial, seats_of_rooms),
)


@contextmanager
def serving(contender: Contender, matches: int) -> Iterator[tuple[Process, Place]]:
    """The server, ready for so many matches, on a core of its own, and its store."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, store(Path(folder)) as url:
        place = Place(free_port(), matches, Path(folder), url)
        command, environment = contender.command(place)
        log = place.folder / "server.log"
        with started(command, cores=[SERVER_CORE], log=log, environment=environment) as process:
            is_done = place.seats.exists if contender.seats is None else lambda: True
            wait_for(lambda: listens(place.port) and is_done(), process, log)
            if contender.seats is not None:
                place.seats.write_text("".join(f"{line}\n" for line in contender.seats(place)))
            yield process, place


@contextmanager
def store(folder: Path) -> Iterator[str]:
    """A Valkey-compatible server that writes its log every second, as on hosts; its URL."""
    program = shutil.which("redis-check-rdb")  # the server itself under another name, in a package without a service
    if program is None:
        raise Unusable("there is no redis-check-rdb (Debian's package redis-tools)")
    server = folder / "redis-server"
    server.symlink_to(program)
    port, log = free_port(), folder / "store.log"
    command = [str(server), "--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    with started(command, cores=OTHER_CORES, log=log) as process:
        wait_for(lambda: listens(port), process, log)
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def started(
    command: list[str], *, cores: list[int], log: Path, environment: dict[str, str] | None = None
) -> Iterator[Process]:
    """A program on some cores, killed afterwards."""
    words = ["taskset", "-c", ",".join(map(str, cores)), *command]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=os.environ | (environment or {}))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(is_there: Callable[[], bool], process: Process, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if is_there():
            return
        time.sleep(0.05)
    raise Unusable(f"{log.stem} did not get ready:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """One below those that connections get, so that the worker's metrics, 10000 above it, find theirs free as well."""
    while True:
        port = random.randrange(10_000, 20_000)
        if not listens(port) and not listens(port + 10_000):
            return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
