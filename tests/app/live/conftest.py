"""A live server without a network: workers, sockets and players on one clock that the tests turn by hand."""

import asyncio
import heapq
import itertools
import json
import random
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer

import engine
from live.clock import SECOND
from live.directory import Directory
from live.protocol.tokens import seat_token
from live.records import FinishedMatch, MatchSpec, PlayerSpec
from live.worker import worker as live_worker
from live.worker.results import ResultWriter
from live.worker.worker import Worker

ORIGIN = "http://testserver"
BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
RTT_US = 40_000


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(40):
        await asyncio.sleep(0)


@dataclass
class FakeTimer:
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """A `live.clock.Clock` that stands still unless told."""

    def __init__(self) -> None:
        self._now = 1_000 * SECOND
        self.busy = 0  # µs of processor time
        self._order = itertools.count()
        self._timers: list[tuple[int, int, FakeTimer]] = []

    def now(self) -> int:
        return self._now

    def used(self) -> int:
        return self.busy

    def wall(self) -> datetime:
        return BEGIN + timedelta(microseconds=self._now)

    def call_at(self, when: int, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def stall(self, seconds: float) -> None:
        """Nothing runs for so long; then all that is due, but for what it sets itself."""
        self._now += int(seconds * SECOND)
        due = [timer for when, _, timer in sorted(self._timers[:]) if when <= self._now and not timer.is_cancelled]
        for timer in due:
            if not timer.is_cancelled:
                timer.is_cancelled = True
                timer.callback()

    async def advance(self, seconds: float, until: Callable[[], Any] = lambda: False) -> None:
        """Go on by `seconds`, timer by timer, or until the condition holds."""
        end = self._now + int(seconds * SECOND)
        await settle()
        while not until():
            while self._timers and self._timers[0][2].is_cancelled:
                heapq.heappop(self._timers)
            if not self._timers or self._timers[0][0] > end:
                self._now = end
                await settle()
                return
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            timer.callback()
            await settle()

    async def until(self, condition: Callable[[], Any], within_s: float = 600) -> None:
        """Go on until the condition holds; the test fails when it does not."""
        await self.advance(within_s, until=condition)
        assert condition(), f"waited {within_s} s of match time"


@dataclass
class Socket:
    """The client's end of a WebSocket: speaks ASGI as a server does, and keeps what it hears."""

    clock: FakeClock
    frames: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None
    is_accepted: bool = False
    is_stalled: bool = False
    on_frame: Callable[[dict[str, Any]], None] = lambda frame: None
    on_close: Callable[["Socket"], None] = lambda socket: None
    _inbox: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    _task: asyncio.Task[None] | None = None

    def open(
        self, path: str, *, origin: str | None = ORIGIN, rtt_us: int | None = RTT_US, headers: Mapping[str, str] = {}
    ) -> None:
        from matchpoint.asgi import application

        scope = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": [
                (b"host", b"testserver"),
                *([(b"origin", origin.encode())] if origin else []),
                *((name.encode(), value.encode()) for name, value in headers.items()),
            ],
            "extensions": {"matchpoint.rtt": lambda: rtt_us},
        }
        self._inbox.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(application(scope, self._inbox.get, self._hear))

    async def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                self.is_accepted = True
            case "websocket.send":
                if self.is_stalled:
                    await asyncio.Event().wait()
                frame = json.loads(message["text"])
                self.frames.append(frame)
                self.on_frame(frame)
            case "websocket.close":
                self.close_code = message["code"]
                self.on_close(self)
                self._inbox.put_nowait({"type": "websocket.disconnect", "code": message["code"]})

    def say(self, kind: str, **fields: Any) -> None:
        self.say_raw(json.dumps({"t": kind, **fields}))

    def say_raw(self, text: str) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def say_bytes(self, data: bytes) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "bytes": data})

    def drop(self) -> None:
        """The connection is lost."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["t"] == kind]

    async def ended(self) -> None:
        """Wait for the server's end of the socket; raises what it failed with."""
        assert self._task is not None
        await self._task

    @property
    def is_done(self) -> bool:
        """Whether the server has let go of the socket."""
        return self._task is not None and self._task.done()


class Player:
    """A client that follows the match, measures its clock, and plays if it is told to.

    `aim` u from the middle of its paddle is where it takes every ball; None: it stands still.
    """

    def __init__(
        self,
        house: "House",
        match_id: str,
        identity: str,
        *,
        name: str = "",
        aim: float | None = None,
        carrier: type[Socket] = Socket,
    ) -> None:
        self.house = house
        self.carrier = carrier
        self.match_id = match_id
        self.identity = identity
        self.name = name or identity
        self.aim = aim
        self.side: int | None = None
        self.state: engine.MatchState | None = None
        self.events: list[dict[str, Any]] = []
        self.seq = 0
        self.owner = ""  # whose events it holds
        self.protocol = 2
        self.is_asleep = False  # says nothing any more
        self.is_following = False  # does as a page does when the socket is closed, or is asked to move
        self.opened = 0
        self.moves = 0
        self._zero = 0
        self.socket = Socket(house.clock)

    async def join(self, *, pings: bool = True, **options: Any) -> "Player":
        """Ask for a seat, connect there and say hello with the version that is held; then ping as a page does."""
        async with self.house.door:
            seat = await self.house.directory.matches.seat(self.match_id, identity=self.identity, name=self.name)
            self.side = seat.side
            live_worker.install(self.house.workers.get(seat.worker))
            token = seat_token(match_id=self.match_id, identity=self.identity, side=seat.side, worker=seat.worker)
            self.socket = self.carrier(self.house.clock, on_frame=self._hear)
            self.socket.on_close = self._lost
            self.socket.open(f"/ws/{seat.worker}/match/{self.match_id}", **options)
            self.socket.say("hello", protocol=self.protocol, token=token, version=self.version, owner=self.owner)
            await settle()
        self.opened += 1
        if pings:
            self._ping(self.socket, left_fast=6)
        return self

    def follow(self) -> "Player":
        """From now on come back after a close, and at once when asked to move."""
        self.is_following = True
        return self

    def _lost(self, socket: Socket) -> None:
        if socket is self.socket and self.is_following and not self.is_over:
            self.house.clock.call_at(self.house.clock.now() + 150_000, lambda: self._come_back(socket))

    def _come_back(self, socket: Socket) -> None:
        if socket is self.socket:
            self.socket = Socket(self.house.clock)
            self.house.errands.append(asyncio.ensure_future(self.join()))

    def _ping(self, socket: Socket, left_fast: int) -> None:
        """Six probes in a row, then one a second."""
        if socket is not self.socket or socket.is_done or socket.close_code is not None or self.is_asleep:
            return
        socket.say("ping", c=self.house.clock.now() / 1000, rtt=None)
        pause = 120_000 if left_fast > 0 else SECOND
        self.house.clock.call_at(self.house.clock.now() + pause, lambda: self._ping(socket, left_fast - 1))

    @property
    def version(self) -> int:
        return self.state.version if self.state else 0

    @property
    def now(self) -> int:
        """Match time."""
        return self.house.clock.now() - self._zero

    @property
    def is_over(self) -> bool:
        return self.state is not None and self.state.phase == "over"

    @property
    def score(self) -> tuple[int, int]:
        assert self.state
        return self.state.score

    def happened(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["k"] == kind]

    def move(self, target: float | None, *, at: int | None = None) -> None:
        self.seq += 1
        self.socket.say("in", seq=self.seq, at=self.now if at is None else at, target=target)

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["t"] == "move" and self.is_following:
            self.moves += 1
            self.socket.drop()
            self._come_back(self.socket)
        if frame["t"] == "welcome":
            self._zero = self.house.clock.now() - frame["now"]
            self.owner = frame["owner"]
            if frame["state"] is not None:
                self.state = engine.state_from_json(frame["state"])
        if frame["t"] == "ev":
            for event in frame["e"]:
                assert self.state
                self.state = engine.apply(self.state, engine.event_from_json(event))
                self.events.append(event)
            self._play(frame["e"])

    def _play(self, events: list[dict[str, Any]]) -> None:
        if self.aim is None or not any(event["k"] in ("serve", "hit") for event in events):
            return
        assert self.state
        crossing = engine.next_crossing(self.state)
        if crossing is not None and crossing.side == self.side:
            self.move(crossing.y - self.aim)


class House:
    """Workers around one directory. `saved` is the database; `is_database_down` makes it refuse."""

    def __init__(self, spool: Path, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.valkey = FakeServer()
        self.redis = FakeAsyncRedis(server=self.valkey, decode_responses=True)
        self.directory = Directory(self.redis)
        self.spool = spool
        self.workers: dict[str, Worker] = {}
        self.saved: list[FinishedMatch] = []
        self.is_database_down = False
        self.saves_in_database = False
        self.database_answers = threading.Event()
        self.database_answers.set()
        self._random = random.Random(seed)
        self._ids = itertools.count(1)
        self._beats: list[asyncio.Future[None]] = []
        self.door = asyncio.Lock()  # one socket at a time: the worker of the process is a global
        self.errands: list[asyncio.Future[Any]] = []  # of players who come back by themselves

    def save(self, record: FinishedMatch) -> bool:
        assert self.database_answers.wait(10)
        if self.is_database_down:
            raise ConnectionError("the database is down")
        older = next((other for other in self.saved if other.spec.id == record.spec.id), None)
        if older is not None and older.epoch >= record.epoch:
            return False
        self.saved = [other for other in self.saved if other is not older] + [record]
        return older is None

    async def worker(self, name: str = "local-8101", *, release: str = "r1", is_reserve: bool = False) -> Worker:
        worker = Worker(
            name,
            directory=self.directory,
            results=ResultWriter(self.spool, None if self.saves_in_database else self.save),
            clock=self.clock,
            rng=self._random.random,
            release=release,
            is_reserve=is_reserve,
        )
        self.workers[name] = worker
        await worker.beat()
        self._beat(worker)
        return worker

    def _beat(self, worker: Worker) -> None:
        """Renew the worker every second, as its background loop does."""
        if self.workers.get(worker.name) is worker:
            self._beats = [beat for beat in self._beats if not beat.done()]
            self._beats.append(asyncio.ensure_future(worker.beat()))
            self.clock.call_at(self.clock.now() + SECOND, lambda: self._beat(worker))

    async def worker_vanishes(self, worker: Worker) -> None:
        """The directory has not heard of it for so long that its key has expired; it still runs."""
        del self.workers[worker.name]
        await self.redis.delete(f"mp:worker:{worker.name}")

    async def worker_dies(self, worker: Worker) -> None:
        """Its process is gone without a word, and so is its key."""
        worker.outbox.close()
        for owner in worker.owners.values():
            owner.is_stopped = True
            owner._timers.clear()
        for task in worker._tasks:
            task.cancel()
        await self.worker_vanishes(worker)

    async def worker_stops(self, worker: Worker, *, within_s: float = 60) -> None:
        """SIGTERM: time goes on until it has let go of everything."""
        stop = asyncio.ensure_future(worker.stop())
        await self.clock.until(lambda: stop.done() or not worker.owners, within_s)
        for _ in range(500):  # sockets and threads end in their own time
            await self.clock.advance(0.02)
            if (await asyncio.wait([stop], timeout=0.02))[0]:
                break
        stop.result()
        del self.workers[worker.name]

    async def match(
        self,
        mode: str = "friend",
        *,
        points: int = 3,
        level: str = "easy",
        match_id: str = "",
        strength: float | None = None,
    ) -> str:
        match_id = match_id or f"match{next(self._ids)}"
        computer = PlayerSpec(side=1, kind="ai", identity=f"ai:{level}", name="Computer") if mode == "ai" else None
        spec = MatchSpec(
            id=match_id,
            mode="ai" if mode == "ai" else "friend",
            level=level if mode == "ai" else None,
            points=points,
            players=(PlayerSpec(side=0, kind="human", identity="g:ada", name="Ada"), computer),
            created_at=BEGIN.isoformat(),
            strength=strength,
        )
        await self.directory.matches.create(spec)
        return match_id

    def socket(self) -> Socket:
        """A socket of nobody in particular; it reaches the only worker."""
        live_worker.install(next(iter(self.workers.values()), None))
        return Socket(self.clock)

    def player(self, match_id: str, identity: str = "g:ada", **options: Any) -> Player:
        return Player(self, match_id, identity, **options)

    async def pair(self, *, points: int = 3, aims: tuple[float | None, float | None] = (None, None)) -> list[Player]:
        """Two players of a friends' match, connected. By default nobody moves, so rallies are short."""
        match_id = await self.match(points=points)
        ada = await Player(self, match_id, "g:ada", name="Ada", aim=aims[0]).join()
        bob = await Player(self, match_id, "g:bob", name="Bob", aim=aims[1]).join()
        return [ada, bob]

    async def settle(self) -> None:
        """Let results and directory calls get through."""
        for worker in self.workers.values():
            await worker.settle()
        await settle()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path / "results")
    yield house
    live_worker.install(None)
    stuck: set[asyncio.Future[Any]] = set(house.errands)
    for _ in range(5):  # Python 3.11's wait_for, in fakeredis, may swallow one
        for errand in stuck:
            errand.cancel()
        if stuck:
            _, stuck = await asyncio.wait(stuck, timeout=1)
    assert not stuck
    await house.redis.aclose()
