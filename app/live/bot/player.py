"""One bot at one match: the client of docs/protocol.md without a screen.

It folds the events that the server announces and holds the server to the rules: versions without a gap, decisions and
paddles as `engine` computes them.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Origin

import engine
from engine.ai import plan
from live.bot.site import BUSY, EXCERPT, TIMEOUT_S, Failure, Over, Ticket, Unavailable, explained

PROTOCOLS: Final = (2, 1)  # the best first: a worker of an earlier release knows the last one
BURST: Final = 6
BURST_S: Final = 0.12
HEARTBEAT_S: Final = 1.0
SILENCE_S: Final = 6.0  # pongs come every second: the connection is dead
STABLE_S: Final = 5.0  # a connection that lasted this long was a good one: back off from the start next time
FIRST_S: Final = 0.3  # at most: another worker may have the match already
BACKOFF_S: Final = (0.25, 0.5, 1.0, 1.0, 1.0, 2.0, 3.0)
FLOOD_S: Final = 3.0
GIVE_UP_S: Final = 30.0  # the reconnect grace of the match
SAMPLES: Final = 16

LOST: Final = 1006
MOVED: Final = 0  # not a close code: the server asked us to take the seat again

STOP: Final = {
    1000: "the server closed the match before its end",
    1009: "the server found a message too large",
    4400: "the server did not understand a message",
    4403: "the server refused the Origin of its own site",
    4409: "another socket took the seat",
    4426: "the server does not speak protocol 1 any more",
}


class Venue(Protocol):
    """Where a match is played: who gives out its seats, and how its sockets are reached."""

    @property
    def origin(self) -> str:
        """The site whose page a browser would have open."""

    @property
    def sockets(self) -> str:
        """What the paths of sockets are appended to, e.g. wss://pong.example.com."""

    @property
    def address(self) -> str:
        """What to dial."""

    @property
    def port(self) -> int: ...

    @property
    def tls(self) -> SSLContext | None: ...

    def match_seat(self, match_id: str) -> Ticket:
        """Take, or take again, a seat. It may block. Over, Unavailable, Failure."""


class MatchClock:
    """Match time by the server's clock: the offset of the fastest of the last probes."""

    def __init__(self) -> None:
        self._samples: list[tuple[int, int]] = []  # (round trip, offset) in µs
        self._offset = 0
        self.round_trips_ms: list[float] = []

    @staticmethod
    def local() -> int:
        """The own monotonic clock in µs."""
        return time.monotonic_ns() // 1000

    def now(self) -> int:
        return self.local() + self._offset

    def restart(self, match_time: int) -> None:
        """A new socket, perhaps to another worker: only a first guess is known."""
        self._samples = []
        self._offset = match_time - self.local()

    def sample(self, sent: int, match_time: int) -> None:
        received = self.local()
        round_trip = received - sent
        self.round_trips_ms.append(round_trip / 1000)
        self._samples = [*self._samples, (round_trip, match_time - (sent + received) // 2)][-SAMPLES:]
        self._offset = min(self._samples)[1]


class Player:
    """Plays one seat until the match is over.

    `yields_after`: let the ball pass once a rally has so many hits, for a short match; 0: play to win.
    """

    def __init__(
        self, site: Venue, match_id: str, *, level: str, rng: Callable[[], float], yields_after: int = 0
    ) -> None:
        self._site = site
        self._match_id = match_id
        self._level = level
        self._rng = rng
        self._yields_after = yields_after
        self._side: int | None = None
        self._owner = ""
        self._protocol = PROTOCOLS[0]
        self._seq = 0
        self._sent: dict[int, int] = {}  # local µs by seq of inputs that are not acknowledged
        self._hand: asyncio.Task[None] | None = None
        self._heard = time.monotonic()
        self._complaint = ""  # of the last `error` message
        self.clock = MatchClock()
        self.state: engine.MatchState | None = None
        self.acknowledged_ms: list[float] = []
        self.reconnects = 0
        self.moves = 0
        self.trouble = ""  # why the last socket ended, or never began

    @property
    def is_over(self) -> bool:
        return self.state is not None and self.state.phase == "over"

    def describe(self) -> str:
        """Where the match stands, for an operator."""
        if self.state is None:
            return "it has not begun"
        left, right = self.state.score
        silent = time.monotonic() - self._heard
        return f"{left}:{right}, phase {self.state.phase}, last heard of {silent:.1f} s ago"

    async def play(self) -> None:
        """Take the seat, play, come back whenever the socket is lost. Failure when a player could not go on."""
        tries = unseated = 0
        while not self.is_over:
            wait, began = 0.0, time.monotonic()
            try:
                code = await self._session(await self._seat())
            except Unavailable as error:
                self.trouble = reason = str(error)
                tries += 1
                wait = self._backoff(tries)
            else:
                if self.is_over:
                    return
                reason = f"the socket closed with {code} {self._complaint}".rstrip()
                if code == 4426 and self._protocol > PROTOCOLS[-1]:
                    self._protocol = PROTOCOLS[-1]
                    continue
                if code in STOP:
                    raise Failure(f"{STOP[code]} ({reason})")
                unseated = unseated + 1 if code == 4401 else 0
                if unseated > 1:
                    raise Failure(f"fresh seat tokens are not accepted ({reason})")
                is_stable = time.monotonic() - began > STABLE_S
                tries = 0 if code == MOVED else 1 if is_stable else tries + 1
                wait = max(self._backoff(tries), FLOOD_S if code == 4429 else 0.0)
                self.trouble = reason if code != MOVED else self.trouble
                self.moves += code == MOVED
                self.reconnects += code != MOVED
            if time.monotonic() - self._heard > GIVE_UP_S:
                raise Failure(f"no way into the match for {GIVE_UP_S:.0f} s: {reason}")
            await asyncio.sleep(wait)

    def _backoff(self, tries: int) -> float:
        """The wait before another try after `tries` that failed in a row; after a hand-over (0) there is none."""
        if tries < 2:
            return tries * FIRST_S * self._rng()
        return BACKOFF_S[min(tries - 1, len(BACKOFF_S)) - 1] * (0.7 + 0.6 * self._rng())

    async def _seat(self) -> Ticket:
        try:
            seat = await asyncio.to_thread(self._site.match_seat, self._match_id)
        except Over as error:
            raise Failure(f"the match ended while the bot was away ({error})") from error
        if seat.side is None:
            raise Failure(f"match {self._match_id} has no seat left: the bot may only watch")
        return seat

    async def _session(self, seat: Ticket) -> int:
        """One socket from its handshake to its end; the close code, or MOVED."""
        site = self._site
        url = site.sockets + seat.path
        self._complaint = ""
        try:
            socket = await connect(
                url,
                origin=Origin(site.origin),
                ssl=site.tls,
                host=site.address,
                port=site.port,
                proxy=None,
                open_timeout=TIMEOUT_S,
                close_timeout=2,
            )
        except InvalidStatus as error:
            kind = Unavailable if error.response.status_code in BUSY else Failure
            raise kind(f"{url}: the handshake was answered with {error.response.status_code}") from error
        except (OSError, InvalidHandshake) as error:
            raise explained(error, url) from error
        heartbeat = None
        try:
            version = self.state.version if self.state else 0
            await _send(
                socket, t="hello", protocol=self._protocol, token=seat.token, version=version, owner=self._owner
            )
            heartbeat = asyncio.create_task(self._heartbeat(socket))
            return await self._converse(socket)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else LOST
        except TimeoutError:
            return LOST
        finally:
            helpers = [task for task in (heartbeat, self._hand) if task is not None]
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await socket.close()

    async def _heartbeat(self, socket: ClientConnection) -> None:
        """Probes of the clock. A closed socket ends them; the conversation tells why it closed."""
        left = BURST
        with suppress(ConnectionClosed):
            while True:
                recent = self.clock.round_trips_ms[-SAMPLES:]
                rtt = round(sorted(recent)[len(recent) // 2]) if recent else None
                await _send(socket, t="ping", c=self.clock.local() / 1000, rtt=rtt)
                left -= 1
                await asyncio.sleep(BURST_S if left > 0 else HEARTBEAT_S)

    async def _converse(self, socket: ClientConnection) -> int:
        """Read until the match is over or moves. ConnectionClosed; TimeoutError when nothing comes."""
        while not self.is_over:
            async with asyncio.timeout(SILENCE_S):
                text = await socket.recv()
            self._heard = time.monotonic()
            try:
                message = json.loads(text)
                if message["t"] == "move":
                    return MOVED
                if self._receive(message):
                    self._look(socket)
            except (KeyError, TypeError, ValueError) as error:
                raise Failure(f"the server does not keep to the protocol ({error}): {text[:EXCERPT]!r}") from error
        return 1000

    def _receive(self, message: dict[str, Any]) -> bool:
        """Take in one message; whether the ball, or the match, goes another way from now on."""
        match message["t"]:
            case "welcome":
                self._welcome(message)
                return True
            case "ev":
                events = [engine.event_from_json(data) for data in message["e"]]
                for event in events:
                    self._fold(event)
                return any(not isinstance(event, engine.Pad) for event in events)
            case "pong":
                self.clock.sample(int(message["c"] * 1000), message["s"])
            case "error":
                self._complaint = f"({message['detail']})"
        return False

    def _welcome(self, message: dict[str, Any]) -> None:
        if message["side"] is None:
            raise Failure("the server made a player a spectator")
        self._side = message["side"]
        self._owner = message.get("owner", "")  # a worker of an earlier release has none
        self._sent.clear()
        self.clock.restart(message["now"])
        if message["state"] is not None:
            self.state = engine.state_from_json(message["state"])
        elif self.state is None:
            raise Failure("the server gave no state to a player who has none")

    def _fold(self, event: engine.Event) -> None:
        """Apply one event, after a look whether it is what the rules say."""
        state = self.state
        if state is None:
            raise Failure(f"{event.k} came before the welcome")
        if isinstance(event, engine.Hit | engine.Point):
            expected: engine.Event = engine.decide(state)[0]
            if event != expected:
                raise Failure(f"the server decided {event}, the rules say {expected}")
        if isinstance(event, engine.Pad):
            y = engine.paddle_at(state.paddles[event.side], event.t, state.rules)
            if event.y != y:
                raise Failure(f"the server put paddle {event.side} at {event.y}, the rules say {y} ({event})")
            if event.side == self._side and event.seq in self._sent:
                self.acknowledged_ms.append((self.clock.local() - self._sent.pop(event.seq)) / 1000)
        self.state = engine.apply(state, event)

    def _look(self, socket: ClientConnection) -> None:
        """Plan anew; the former plan is void."""
        if self._hand is not None:
            self._hand.cancel()
        self._hand = asyncio.create_task(self._follow(socket, self._moves()))

    def _moves(self) -> list[tuple[int, float]]:
        state, side, now = self.state, self._side, self.clock.now()
        if state is None or side is None or state.phase == "over":
            return []
        crossing = engine.next_crossing(state)
        is_mine = crossing is not None and crossing.side == side
        if crossing is not None and is_mine and 0 < self._yields_after <= state.rally_hits:
            return [(now, crossing.y + (-200.0 if crossing.y > state.rules.height / 2 else 200.0))]
        return plan(state, side, self._level, self._rng, now)

    async def _follow(self, socket: ClientConnection, moves: list[tuple[int, float]]) -> None:
        with suppress(ConnectionClosed):
            for t, target in moves:
                await asyncio.sleep(max(0, t - self.clock.now()) / engine.SECOND)
                self._seq += 1
                self._sent[self._seq] = self.clock.local()
                await _send(socket, t="in", seq=self._seq, at=self.clock.now(), target=target)


async def play_together(players: Iterable[Player]) -> None:
    """Let all of them play to the end; the first failure ends it for all."""
    games = [asyncio.create_task(player.play()) for player in players]
    try:
        await asyncio.gather(*games)
    finally:
        for game in games:
            game.cancel()
        await asyncio.gather(*games, return_exceptions=True)


async def _send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))
