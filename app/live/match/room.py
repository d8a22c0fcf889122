"""Who is in a match: its two seats, those who watch, and what all of them are told, and when."""

import secrets
from collections.abc import Callable
from typing import Final

import engine
from live.events import EventLog
from live.match.latency import LatencyMeter
from live.match.seat import Seat
from live.protocol import codec
from live.protocol.socket import Frame, Refused, Socket
from live.records import MatchSpec

OWNER_BYTES: Final = 8
RESUME_EVENTS: Final = 256  # a client that missed more gets a key frame
WATCHERS_MAX: Final = 100  # of a match: what is told to all of them delays the players


class Room:
    """The sockets of one match. `now` is match time (µs).

    Each owner of a match has an id, which it tells with the welcome: what a client holds is known by whose events they
    are and how many, not by what was sent to it and may never have arrived.
    """

    def __init__(self, spec: MatchSpec, grace_max: int, now: Callable[[], int]) -> None:
        self.owner = secrets.token_hex(OWNER_BYTES)
        left, right = spec.players
        self.seats = (Seat(0, left, LatencyMeter(grace_max)), Seat(1, right, LatencyMeter(grace_max)))
        self.expected: set[int] = set()  # sides that were here a moment ago, at another worker: on their way
        self.watchers: dict[Socket, None] = {}  # in the order in which they came
        self._shared: tuple[str, int] | None = None  # the owner before, and the last version that both have told
        self._held: list[Frame] | None = None
        self._arriving: dict[Socket, tuple[int | None, int]] = {}  # side and version, while events are held
        self._now = now

    def succeed(self, owner: str, version: int) -> None:
        """The timeline up to `version` is that of another owner, which may have told more since."""
        self._shared = (owner, version)

    def expect(self, present: tuple[bool, bool]) -> None:
        """Whoever was here a moment ago, at another worker, is on the way."""
        self.expected = {side for side, is_present in enumerate(present) if is_present}

    def _holds(self, socket: Socket, version: int) -> int:
        """Up to which version a client that holds `version` holds this timeline, and not that of a former owner."""
        if socket.told_by == self.owner:
            return version
        owner, shared = self._shared or ("", 0)
        return version if socket.told_by == owner and version <= shared else 0

    def seat_of(self, socket: Socket) -> Seat | None:
        return next((seat for seat in self.seats if seat.socket is socket), None)

    def audience(self) -> list[Socket]:
        """Every socket: players first."""
        return [*(seat.socket for seat in self.seats if seat.socket is not None), *self.watchers]

    def enter(self, socket: Socket, side: int | None, version: int) -> None:
        """Let a socket in. The newest socket of a player wins; `side` None watches. Refused with 4429."""
        if side is None:
            if len(self.watchers) >= WATCHERS_MAX:
                raise Refused(4429, "too many watch this match")
            self.watchers[socket] = None
            return
        seat = self.seats[side]
        self.expected.discard(side)
        if seat.socket is not None:
            seat.socket.close(4409)
        seat.socket = socket
        seat.meter.line_measured(socket.line_rtt)
        if version == 0:
            seat.last_seq = 0  # a page that was loaded anew counts its inputs anew

    def welcome(
        self,
        socket: Socket,
        spec: MatchSpec,
        state: engine.MatchState,
        log: EventLog,
        version: int,
    ) -> None:
        """Bring a socket up to date: by the events that it missed if they are few, else by a key frame."""
        held = self._holds(socket, version)
        resumes = 0 < held <= state.version <= held + RESUME_EVENTS
        seat = self.seat_of(socket)
        frame = codec.welcome(
            protocol=socket.protocol,
            match_id=spec.id,
            owner=self.owner,
            side=seat.side if seat else None,
            players=spec.players,
            rules=state.rules,
            now=self._now(),
            state=None if resumes else state,
        )
        socket.send(frame)
        if resumes and version < state.version:
            socket.send(codec.events(log.encoded(version, len(log))))
        for other in self.seats:
            is_told = other is not seat or codec.tells_own_presence(socket.protocol)
            if is_told and other.player is not None and other.side not in self.expected:
                socket.send(self._peer(other))

    def leave(self, socket: Socket) -> Seat | None:
        """The socket is gone; answers with the seat that it leaves empty."""
        self._arriving.pop(socket, None)
        self.watchers.pop(socket, None)
        seat = self.seat_of(socket)
        if seat is not None:
            seat.socket = seat.wish = None
            for other in self.seats:  # an offer is for who is here
                other.wants_rematch = False
        return seat

    def follow_claims(self, event: engine.Event, state: engine.MatchState) -> None:
        """Take note of an event, after which the match is at `state`: was a ball missed for the network's sake?"""
        if isinstance(event, engine.Serve | engine.Hit):
            for seat in self.seats:
                seat.claims.begin(state, seat.side)
        elif isinstance(event, engine.Point):
            loser = self.seats[1 - event.side]
            loser.claims.lost()
            self.tell_lateness(loser)

    def tell_lateness(self, seat: Seat) -> None:
        if seat.socket is not None and seat.claims.was_decisive():
            seat.socket.send(codec.late(seat.last_seq))

    def broadcast(self, frame: Frame) -> None:
        for socket in self.audience():
            socket.send(frame)

    def announce(self, events: list[bytes]) -> None:
        """Tell everybody of encoded events, now or when those before them are told."""
        frame = codec.events(events)
        if self._held is None:
            self.broadcast(frame)
        else:
            self._held.append(frame)

    @property
    def is_holding(self) -> bool:
        return self._held is not None

    def hold(self) -> None:
        """Keep events back until `release`, and those who come: their welcome would tell of them."""
        if self._held is None:
            self._held = []

    def release(self) -> dict[Socket, tuple[int | None, int]]:
        """Tell what was kept back; answers with those who came meanwhile, to be let in with side and version."""
        held, self._held = self._held or [], None
        for frame in held:
            self.broadcast(frame)
        arriving, self._arriving = self._arriving, {}
        return arriving

    def wait(self, socket: Socket, side: int | None, version: int) -> None:
        """Somebody came while events are held back."""
        self._arriving[socket] = (side, version)

    def seat_ahead(self, socket: Socket) -> Seat | None:
        """The seat of a player who came while events are held back, and waits to be let in."""
        side, _ = self._arriving.get(socket, (None, 0))
        return None if side is None else self.seats[side]

    def tell_presence(self, seat: Seat) -> None:
        """Tell the others how the player of `seat` is connected."""
        frame = self._peer(seat)
        for socket in self.audience():
            if socket is not seat.socket:
                socket.send(frame)

    def _peer(self, seat: Seat) -> Frame:
        rtt = seat.meter.rtt
        return codec.peer(
            side=seat.side,
            online=seat.present,
            ping_ms=None if rtt is None else rtt // 1000,
            grace_ms=seat.away_left(self._now()) // 1000,
        )

    def close(self, code: int, *, moved: bool = False) -> None:
        """Close every socket with `code`. `moved`: ask them to take their seats again first."""
        for socket in (*self.audience(), *self._arriving):
            if moved:
                socket.send(codec.move())
            socket.close(code)
        self._arriving.clear()
