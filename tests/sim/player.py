"""A player of the simulation: asks for seats, plays, loses the connection, comes back, and believes what it is told."""

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

import engine
from live.directory import DirectoryError, MatchOver, NoSuchMatch
from live.protocol.codec import PROTOCOLS
from live.protocol.tokens import seat_token
from live.transport.socket import _Socket
from tests.sim.loop import SECOND, Process

ORIGIN: Final = "http://testserver"
RTT_US: Final = 40_000
PING_S: Final = 1.0
TICK_S: Final = 1e-6  # between two frames: timers of one moment have no order
AGAIN_S: Final = (0.25, 0.5, 1.0, 1.0, 1.0, 2.0, 3.0)


class Line:
    """One WebSocket between a player and a worker's process, without the bytes in between."""

    def __init__(self, server: Process, rng: random.Random, heard: Callable[[dict[str, Any] | None], None]) -> None:
        self._server = server
        self._rng = rng
        self._heard = heard
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._due = {"up": 0.0, "down": 0.0}
        self._loop = asyncio.get_running_loop()
        self.is_open = True

    def open(self, worker: Any, path: str, match_id: str) -> None:
        scope = {
            "type": "websocket",
            "path": path,
            "headers": [(b"host", b"testserver"), (b"origin", ORIGIN.encode())],
            "extensions": {"matchpoint.rtt": lambda: RTT_US},
            "url_route": {"kwargs": {"worker": worker.name, "match_id": match_id}},
        }
        self.task = self._server.spawn(_Socket(scope, self._inbox.get, self._send, worker).run())

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self._travel("down", self._arrive, json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            self._travel("down", self._arrive, None)
            self._inbox.put_nowait({"type": "websocket.disconnect"})

    def say(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"t": kind, **fields})
        self._travel("up", self._inbox.put_nowait, {"type": "websocket.receive", "text": text})

    def drop(self) -> None:
        """The connection is lost, and both ends notice."""
        if self.is_open:
            self.is_open = False
            self._inbox.put_nowait({"type": "websocket.disconnect"})

    def _arrive(self, frame: dict[str, Any] | None) -> None:
        if self.is_open:
            self.is_open = frame is not None
            self._heard(frame)

    def _travel(self, way: str, call: Any, *args: Any) -> None:
        """In order, in about 20 ms."""
        self._due[way] = max(self._due[way] + TICK_S, self._loop.time() + self._rng.uniform(0.015, 0.03))
        self._loop.call_at(self._due[way], call, *args)


class Player:
    """One identity at one match. `told` hears every frame that it gets, before it is folded."""

    def __init__(self, world: Any, match_id: str, identity: str, *, skill: float) -> None:
        self.world = world
        self.match_id = match_id
        self.identity = identity
        self.skill = skill
        self.state: engine.MatchState | None = None
        self.side: int | None = None
        self.owner = ""
        self.seq = 0
        self.line: Line | None = None
        self.is_done = False  # it knows that the match is over
        self.is_away = False
        self.tries = 0
        self.heard: list[dict[str, Any]] = []  # the last frames, for whoever looks into a failure
        self._zero = 0
        self._rng = world.rng
        self._browser = Process(f"browser of {identity}")

    def start(self, after: float) -> None:
        self._browser.call_later(after, self._come)

    def _come(self) -> None:
        if not self.is_done and not self.is_away and self.line is None:
            self._browser.spawn(self._join())

    def _again(self) -> None:
        pause = AGAIN_S[min(self.tries, len(AGAIN_S) - 1)] * self._rng.uniform(0.7, 1.3)
        self.tries += 1
        self._browser.call_later(pause, self._come)

    async def _join(self) -> None:
        try:
            seat = await self.world.pages.matches.seat(self.match_id, identity=self.identity, name=self.identity)
        except (MatchOver, NoSuchMatch):
            if self.world.is_known_over(self.match_id):
                self.is_done = True
            else:
                self._again()
            return
        except (DirectoryError, RedisError, TimeoutError):
            self._again()
            return
        host = self.world.hosts.get(seat.worker)
        if self.line is not None or self.is_away:
            return
        if host is None or host.worker is None or host.process.is_frozen:
            self._again()
            return
        self.side = seat.side
        self.line = line = Line(host.process, self._rng, lambda frame: self._hear(line, frame))
        host.lines = [*(other for other in host.lines if other.is_open), line]
        line.open(host.worker, f"/ws/{seat.worker}/match/{self.match_id}", self.match_id)
        token = seat_token(match_id=self.match_id, identity=self.identity, side=seat.side, worker=seat.worker)
        line.say("hello", protocol=max(PROTOCOLS), token=token, version=self.version, owner=self.owner)
        self._ping(line, 5)
        self._browser.call_later(6.0, self._doubt, line, None)

    def _ping(self, line: Line, fast: int) -> None:
        if self.line is line and line.is_open:
            line.say("ping", c=self.world.loop.time() * 1000, rtt=None)
            self._browser.call_later(0.12 if fast else PING_S, self._ping, line, max(0, fast - 1))

    def _doubt(self, line: Line, heard: float | None) -> None:
        """Pongs come every few seconds: the connection is dead when none came."""
        if self.line is not line:
            return
        if heard == getattr(line, "pong_at", None):
            self.lose()
        else:
            self._browser.call_later(6.0, self._doubt, line, getattr(line, "pong_at", None))

    def lose(self) -> None:
        """The connection breaks."""
        line, self.line = self.line, None
        if line is not None:
            line.drop()
            self._again()

    def go_away(self, seconds: float) -> None:
        """Close the page and open it again: nothing is remembered."""
        if self.is_away:
            return
        line, self.line = self.line, None
        self.is_away = True
        if line is not None:
            line.drop()
        self._browser.call_later(seconds, self._return)

    def quit(self) -> None:
        """Leave for good, without a word."""
        line, self.line = self.line, None
        self.is_away = self.is_done = True
        if line is not None:
            line.drop()

    def _return(self) -> None:
        if self.is_done:
            return
        self.is_away = False
        self.state, self.owner, self.tries, self.seq = None, "", 0, 0
        self._come()

    @property
    def version(self) -> int:
        return self.state.version if self.state else 0

    def _hear(self, line: Line, frame: dict[str, Any] | None) -> None:
        if self.line is not line:
            return
        if frame is None:
            self.line = None
            self._again()
            return
        self.heard = [*self.heard[-40:], frame]
        match frame["t"]:
            case "pong":
                line.pong_at = self.world.loop.time()  # type: ignore[attr-defined]
            case "welcome":
                self.tries = 0
                self._zero = round(self.world.loop.time() * SECOND) - frame["now"]
                self.owner = frame["owner"]
                if frame["state"] is not None:
                    self.state = engine.state_from_json(frame["state"])
                self._told()
            case "ev":
                for event in frame["e"]:
                    assert self.state is not None, "events before a state"
                    self.state = engine.apply(self.state, engine.event_from_json(event))
                    self._told()
                self._play(frame["e"])
            case "move":
                self.line = None
                line.drop()
                self.tries = 0
                self._come()

    def _told(self) -> None:
        assert self.state is not None
        self.world.invariants.told(self.match_id, self.identity, self.owner, self.state)
        self.is_done = self.state.phase == "over"

    def _play(self, events: list[dict[str, Any]]) -> None:
        if self.state is None or self.line is None or not any(event["k"] in ("serve", "hit") for event in events):
            return
        crossing = engine.next_crossing(self.state)
        if crossing is not None and crossing.side == self.side:
            aim = self._rng.uniform(-50, 50) if self._rng.random() < self.skill else 200.0
            self.seq += 1
            now = round(self.world.loop.time() * SECOND) - self._zero
            self.line.say("in", seq=self.seq, at=now, target=crossing.y - aim)
