"""Several live workers as real processes around one Valkey: they stop, they die, and the bots' matches go on."""

import asyncio
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fakeredis import TcpFakeServer
from redis.asyncio import Redis

from live.bot.player import Player
from live.bot.site import Ticket
from live.directory import Directory
from live.protocol.tokens import seat_token
from live.records import FinishedMatch, MatchSpec, PlayerSpec
from tests.app.ports import free_ports
from tests.conftest import poll
from tests.processes import Program, end, run, start

APP = Path(__file__).parents[4] / "app"
ORIGIN = "http://testserver"


class Hall:
    """Workers, their Valkey, and their results, which stay in the spool because there is no database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = TcpFakeServer(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.server.server_address[1]}/0"
        self.processes: dict[str, Program] = {}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "MATCHPOINT_ENV": "test",
            "MATCHPOINT_HOST": "hall",
            "MATCHPOINT_VALKEY_URL": self.url,
            "MATCHPOINT_STATE_DIR": str(self.folder),
            "MATCHPOINT_DATABASE_URL": f"sqlite:///{self.folder}/nothing/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "matchpoint.settings",
            "PYTHONPATH": str(APP),
        }

    def start(self, port: int, role: str = "live") -> str:
        name = f"hall-{port}"
        with (self.folder / f"{name}.log").open("a") as log:
            self.processes[name] = start(
                [sys.executable, "-m", "matchpoint.serve", role, "--port", str(port)],
                env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return name

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return run([sys.executable, *command], env=self.environment, cwd=APP)

    async def ask(self, call: Callable[[Directory], Any]) -> Any:
        client = Redis.from_url(self.url, decode_responses=True)
        try:
            return await call(Directory(client))
        finally:
            await client.aclose()

    async def until(self, condition: Callable[[], Any], what: str, within_s: float = 60) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not condition():  # noqa: ASYNC110 - it looks at other processes
                    await asyncio.sleep(0.02)
        except TimeoutError:
            logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
            pytest.fail(f"waited {within_s} s for {what}\n{logs}")

    async def until_alive(self, *names: str) -> None:
        alive: set[str] = set()
        for _ in range(3000):
            alive = {worker.name for worker in await self.ask(lambda directory: directory.workers.alive())}
            if alive >= set(names):
                return
            await asyncio.sleep(0.02)
        pytest.fail(f"alive: {alive}, wanted: {names}")

    def results(self) -> list[FinishedMatch]:
        files = (self.folder / "results").glob("*.json")
        return [FinishedMatch.from_json(json.loads(path.read_text())) for path in files]

    def close(self) -> None:
        for process in self.processes.values():
            end(process, grace_s=0)
        self.server.shutdown()
        self.server.server_close()


class Place:
    """The seat of one bot, wherever the directory has its match."""

    origin = ORIGIN
    address = "127.0.0.1"
    tls = None

    def __init__(self, hall: Hall, identity: str) -> None:
        self.hall = hall
        self.identity = identity
        self.port = 0
        self.workers: list[str] = []

    @property
    def sockets(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def match_seat(self, match_id: str) -> Ticket:
        seat = asyncio.run(self.hall.ask(lambda d: d.matches.seat(match_id, identity=self.identity, name="Bot")))
        self.workers.append(seat.worker)
        self.port = int(seat.worker.rpartition("-")[2])
        token = seat_token(match_id=match_id, identity=self.identity, side=seat.side, worker=seat.worker)
        return Ticket(path=f"/ws/{seat.worker}/match/{match_id}", token=token, side=seat.side)


class Table:
    """Two bots at one match."""

    def __init__(self, hall: Hall, number: int, *, points: int) -> None:
        self.match_id = f"table{number}"
        self.places = [Place(hall, f"g:{self.match_id}{side}") for side in "ab"]
        self.players = [
            Player(place, self.match_id, level="hard", rng=random.Random(number).random, yields_after=2)
            for place in self.places
        ]
        left, right = (PlayerSpec(side, "human", place.identity, "Bot") for side, place in enumerate(self.places))
        self.spec = MatchSpec(
            id=self.match_id, mode="friend", level=None, points=points, players=(left, right), created_at="2026-01-01"
        )

    async def play(self) -> None:
        await asyncio.gather(*(player.play() for player in self.players))

    @property
    def points(self) -> int:
        state = self.players[0].state
        return sum(state.score) if state else 0


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


async def tables_at(hall: Hall, count: int, *, points: int) -> tuple[list[Table], list[asyncio.Task[None]]]:
    """So many matches that are being played, each at least a point in."""
    tables = [Table(hall, number, points=points) for number in range(count)]
    for table in tables:
        await hall.ask(lambda directory, table=table: directory.matches.create(table.spec))
    games = [asyncio.create_task(table.play()) for table in tables]
    await hall.until(lambda: all(table.points for table in tables) or any(game.done() for game in games), "points")
    return tables, games


def check(hall: Hall, tables: list[Table]) -> None:
    """Every match has one result, which is what both of its bots saw."""
    results = {record.spec.id: record for record in hall.results()}
    for table in tables:
        left, right = (player.state for player in table.players)
        assert left
        assert left == right
        record = results[table.match_id]
        assert (record.reason, record.score) == ("score", left.score)
        points = [event["score"] for event in record.timeline if event["k"] == "point"]
        assert [sum(score) for score in points] == list(range(1, sum(left.score) + 1)), "each point once"


async def test_a_worker_that_is_stopped_loses_no_rally_and_each_bot_moves_once(hall: Hall) -> None:
    first, second = (hall.start(port) for port in free_ports(2))
    await hall.until_alive(first, second)
    tables, games = await tables_at(hall, 4, points=3)

    hall.processes[first].send_signal(signal.SIGTERM)
    status = await asyncio.to_thread(hall.processes[first].wait, 60)
    await asyncio.gather(*games)

    assert status == 0
    moves = 0
    for table in tables:
        for player, place in zip(table.players, table.places, strict=True):
            assert place.workers in ([first], [second], [first, second])
            assert (player.moves, player.reconnects) == (len(place.workers) - 1, 0), player.trouble
            moves += player.moves
    assert moves
    await hall.until(lambda: len(hall.results()) == len(tables), "results")
    check(hall, tables)
    assert "Traceback" not in (hall.folder / f"{first}.log").read_text()


async def test_a_worker_that_is_killed_costs_a_rally_and_no_point(hall: Hall) -> None:
    ports = free_ports(2)
    first, second = (hall.start(port) for port in ports)
    await hall.until_alive(first, second)
    tables, games = await tables_at(hall, 4, points=2)

    end(hall.processes[first], grace_s=0)
    assert "is gone" in (await asyncio.to_thread(hall.run, "-m", "live.obituary", first)).stdout
    hall.start(ports[0])
    await asyncio.gather(*games)

    assert any(player.reconnects for table in tables for player in table.players)
    await hall.until(lambda: len(hall.results()) == len(tables), "results")
    check(hall, tables)


async def test_a_probe_plays_on_exactly_the_worker_that_is_named(hall: Hall) -> None:
    first, second = (hall.start(port) for port in free_ports(2))
    await hall.until_alive(first, second)

    done = await asyncio.to_thread(hall.run, "manage.py", "probe_match", "--worker", second)

    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["worker"], sorted(told["score"]), told["reconnects"]) == (second, [0, 1], 0)
    logs = {name: (hall.folder / f"{name}.log").read_text() for name in (first, second)}
    assert told["match"] in logs[second]
    assert told["match"] not in logs[first]
    assert not hall.results()


async def test_a_probe_names_what_failed(hall: Hall) -> None:
    [port] = free_ports(1)

    def probe(*options: str) -> str:
        done = hall.run("manage.py", "probe_match", *options)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    assert "knows no live worker hall-1 (alive: none)" in await asyncio.to_thread(probe, "--worker", "hall-1")
    assert "say where it listens" in await asyncio.to_thread(probe, "--worker", "other-8101")
    name = hall.start(port)
    await hall.until_alive(name)
    [nobody] = free_ports(1)
    told = await asyncio.to_thread(probe, "--worker", name, "--address", f"127.0.0.1:{nobody}")
    assert "sockets of one player were lost" in told
    assert "Connection refused" in told or "Connect call failed" in told


def test_pages_fail_for_nobody_while_their_worker_stops(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    [port] = free_ports(1)
    process = hall.processes[hall.start(port, "web")]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get() -> http.client.HTTPResponse:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        answer.read()
        return answer

    def answers() -> bool:
        try:
            get()
        except ConnectionRefusedError:
            connection.close()
            return False
        return True

    try:
        poll(answers, within_s=60, every_s=0.05, what=f"the worker to answer ({tmp_path}/hall-{port}.log)")
        process.send_signal(signal.SIGTERM)
        while (answer := get()).getheader("Connection") != "close":  # as an edge that keeps its connections
            assert answer.status == 200
        assert answer.status == 200
        assert process.wait(60) == 0
    finally:
        connection.close()
        hall.close()
