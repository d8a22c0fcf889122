"""The owner of one match: the only thing that changes it.

It is synchronous. Sockets hand it messages, timers wake it at the next crossing, and what has to go to the outside
world (snapshots, results, the directory) goes through `OwnerHooks`. All times are match times in µs.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import engine
from engine.ai import plan
from live import metrics
from live.clock import SECOND, Clock
from live.match.absence import BOTH_AWAY_US, Absence
from live.match.host import OwnerHooks
from live.match.room import Room
from live.match.seat import Seat
from live.match.timeline import Ledger
from live.match.timers import Timers
from live.protocol import codec
from live.records import FinishedMatch, Handover, MatchSpec, PlayerSpec, Snapshot
from live.transport.connection import Connection

logger = logging.getLogger(__name__)

FIRST_SERVE_US: Final = 3 * SECOND  # also after a pause
SERVE_US: Final = 1_200_000
HOLD_US: Final = 150_000  # a point waits so long, at most, until the directory has it
SETTLE_US: Final = 3 * SECOND  # after a hand-over, for the players to come along
MATCH_US: Final = 30 * 60 * SECOND  # nothing that people play lasts so long
LINGER_US: Final = 60 * SECOND  # after the end, for a rematch
PEER_EVERY_US: Final = 5 * SECOND
TIMELINE_EVENTS: Final = 50_000
LATE_US: Final = 5_000  # clocks of players are not better than this
SERVE_SLOPE: Final = 0.6


class MatchOwner:
    """One match that this worker owns, from its first socket until a while after its end."""

    def __init__(
        self,
        spec: MatchSpec,
        *,
        epoch: int,
        clock: Clock,
        rng: Callable[[], float],
        hooks: OwnerHooks,
        snapshot: Snapshot | None = None,
    ) -> None:
        self.spec = spec
        self.epoch = epoch
        self.boundary = snapshot  # the last one
        self._clock = clock
        self._rng = rng
        self._hooks = hooks
        self._zero = clock.now()
        self._ledger = Ledger(engine.Rules(points=spec.points))
        self._was_left = False
        self.is_parting = False
        self.is_stopped = False
        self._came_over = False  # by a hand-over, and has not been served since
        self._announced_at = 0
        self._arriving: dict[Connection, tuple[int | None, int]] = {}  # side and version, while a point is held back
        self._timers = Timers(clock, lambda error: hooks.crashed(self, error))
        self._room = Room(spec, self._state.rules.grace_max, self._now)
        self._seats = self._room.seats
        self._absence = Absence(
            self._seats,
            after=self._after,
            cancel=self._timers.cancel,
            judge=self._judge,
            may_judge=hooks.may_judge_absence,
        )
        if snapshot is not None:
            self._restore(snapshot)
        self._after("idle", self._now() + BOTH_AWAY_US, self._idle)

    def _restore(self, snapshot: Snapshot) -> None:
        """Go on from a rally boundary. Match time has gone on meanwhile, so that clients' clocks stay right."""
        gone = max(0, int((self._clock.wall() - snapshot.saved_at).total_seconds() * SECOND))
        self._zero = self._clock.now() - snapshot.now - gone
        self._ledger = Ledger.of(snapshot)
        for seat, used in zip(self._seats, snapshot.away, strict=True):
            seat.away_used = used
        if self.is_over:  # only its result was lost
            self._after("linger", self._now() + LINGER_US, self._close)
            return
        if snapshot.owner:
            self._room.succeed(snapshot.owner, self._state.version)
        if snapshot.handover is not None:
            self._room.expect(snapshot.handover.present if gone < SETTLE_US else (False, False))
            self._came_over = gone < SETTLE_US
            self._after("settle", self._now() + SETTLE_US, self._settled)
        played = int((self._clock.wall() - snapshot.started_at).total_seconds() * SECOND)
        self._after("life", self._now() + MATCH_US - min(max(played, 0), MATCH_US), self._abandon)
        self._time_absence()

    @property
    def _state(self) -> engine.MatchState:
        return self._ledger.state

    @property
    def has_started(self) -> bool:
        return self._ledger.started_at is not None

    @property
    def is_over(self) -> bool:
        return self._state.phase == "over"

    def needs_pulse(self, connection: Connection) -> bool:
        """Whether a match is being played that must know soon when this socket's player is gone."""
        return self.has_started and not self.is_over and self._room.seat_of(connection) is not None

    # Sockets

    def seat_player(self, player: PlayerSpec) -> None:
        """The free seat was taken."""
        seat = self._seats[player.side]
        if seat.player is None:
            seat.player = player
            left, right = self._seats
            self.spec = replace(self.spec, players=(left.player, right.player))

    def attach(self, connection: Connection, side: int | None, version: int) -> None:
        """A socket proved its seat (`side` None: to watch) and holds the events up to `version`."""
        if self.is_stopped:  # whoever let it in did not know yet
            connection.close(1012)
            return
        self._timers.cancel("idle")
        if self._room.is_holding:  # the welcome would tell what may still be lost
            self._arriving[connection] = (side, version)
            return
        self._room.enter(connection, side, version)
        self._room.welcome(connection, self.spec, self._state, self._ledger.timeline, version)
        if side is not None:
            self._room.tell_presence(self._seats[side])
            if not self.is_parting:
                self._time_absence()
                self._serve_when_ready(FIRST_SERVE_US)

    def detach(self, connection: Connection) -> None:
        """The socket is gone. A player's paddle stops; the rally goes on to its end."""
        self._arriving.pop(connection, None)
        seat = self._room.leave(connection)
        if self.is_stopped or self.is_parting:
            return
        if seat is not None:
            if self.has_started and not self.is_over:
                self._move(seat, self._now(), None, 0)
                seat.socket_lost()
            self._room.tell_presence(seat)
            self._time_absence()
            self._pause_for(seat)
        if not self._room.audience():
            self._after("idle", self._now() + (0 if self.is_over else BOTH_AWAY_US), self._idle)

    def receive(self, connection: Connection, message: codec.Message) -> None:
        """A message of an attached socket. Refused if it has no place here."""
        seat = self._room.seat_of(connection)
        match message:
            case codec.Ping():
                connection.send("pong", codec.pong(message.c, self._now()))
                if seat is not None:
                    self._measure(seat, connection, message)
            case codec.Hello():
                raise codec.Refused(4400, "hello comes once, and first")
            case codec.Input() if seat is not None and not self.is_over and not self.is_parting:
                self._input(seat, connection, message)
            case codec.Leave() if seat is not None and not self.is_parting:
                self._leave(seat, connection)
            case codec.Rematch() if seat is not None and self.is_over:
                self._want_rematch(seat)

    def _measure(self, seat: Seat, connection: Connection, message: codec.Ping) -> None:
        seat.meter.sample(claimed=message.rtt, measured=connection.rtt())
        now = self._now()
        if seat.meter.rtt is not None and now - seat.reported_at >= PEER_EVERY_US:
            seat.reported_at = now
            metrics.player_rtt.observe(seat.meter.rtt / SECOND)
            self._room.tell_presence(seat)

    def _input(self, seat: Seat, connection: Connection, message: codec.Input) -> None:
        if not self.has_started or message.seq <= seat.last_seq:
            return
        seat.last_seq = message.seq
        now = self._now()
        if now - message.at > seat.grace + LATE_US:
            connection.send("late", codec.late(message.seq))
        self._move(seat, message.at, message.target, message.seq)

    def _move(self, seat: Seat, claimed: int, target: float | None, seq: int, grace: int | None = None) -> None:
        """Effective early: the claim counts as far back as the grace goes. Settles a crossing that it comes after."""
        now = self._now()
        effective = engine.admit(self._state, seat.side, claimed, now, seat.grace if grace is None else grace)
        seat.input_counted(effective=effective, arrived=now)
        self._advance(engine.move(self._state, effective, seat.side, target, seq))

    def _leave(self, seat: Seat, connection: Connection) -> None:
        if not self.is_over:
            self._was_left = True
            started = self.has_started
            self._end(1 - seat.side if started else None, "forfeit" if started else "abandoned")
        connection.close(1000)

    # The course of the match

    def _serve_when_ready(self, countdown: int) -> None:
        """Announce the next serve, or pause until both players are here."""
        if self._state.phase not in ("ready", "paused") or not self._hooks.may_serve(self):
            return
        if any(seat.player is None for seat in self._seats):
            return
        away = next((seat for seat in self._seats if not seat.present), None)
        if away is not None:
            self._pause_for(away)
            return
        if not self.has_started:
            self._start()
        now = self._now()
        if self._state.phase == "paused":
            countdown = FIRST_SERVE_US
        if self.spec.is_probe or (self._came_over and self._state.reason != "peer"):
            countdown = SERVE_US
        self._came_over = False
        if self._state.phase == "paused":
            self._emit(engine.resume(self._state, now))
        direction = 1 if self._rng() < 0.5 else -1
        slope = SERVE_SLOPE * (2 * self._rng() - 1)
        self._announced_at = now
        self._advance(engine.serve(self._state, now + countdown, direction, slope))

    def _start(self) -> None:
        self._ledger.started_at = self._clock.wall()
        self._after("life", self._now() + MATCH_US, self._abandon)
        if not self.spec.is_probe:
            metrics.matches_started.labels(self.spec.counted_as).inc()
        logger.info("match started", extra={"match": self.spec.id, "mode": self.spec.mode})
        self._boundary()

    def _pause_for(self, seat: Seat) -> None:
        """Pause if the player of `seat` is away and no ball flies; a rally is played to its end first."""
        if not self.has_started or seat.present or seat.side in self._room.expected:
            return
        if self._is_flying or self._state.phase not in ("ready", "serve"):
            return
        self._advance(engine.pause(self._state, self._now(), "peer", seat.side))

    def _settled(self) -> None:
        """Whoever has not come over by now is away."""
        late = [self._seats[side] for side in self._room.expected]
        self._room.expected.clear()
        self._came_over = False
        for seat in late:
            self._room.tell_presence(seat)
            self._pause_for(seat)

    @property
    def _is_flying(self) -> bool:
        return self._state.ball is not None and self._now() >= self._state.ball.t

    def _decide(self) -> None:
        """Decide late: the crossing's time and its grace have passed."""
        crossing = engine.next_crossing(self._state)
        if crossing is not None:
            due = crossing.t + self._seats[crossing.side].grace
            metrics.crossing_lag.observe(max(0, self._now() - due) / SECOND)
            self._advance(engine.decide(self._state))

    def _advance(self, events: tuple[engine.Event, ...]) -> None:
        """Announce events and do what follows from them."""
        self._emit(events)
        for event in events:
            match event:
                case engine.Serve() | engine.Pause():
                    self._follow_ball()
                case engine.Hit():
                    self._charge(self._seats[event.side])
                    self._follow_ball()
                case engine.Point():
                    self._charge(self._seats[1 - event.side])
                    if not self.is_over:
                        self._boundary()
                        self._serve_when_ready(SERVE_US)
                case engine.End():
                    self._finish()
        if len(self._ledger.timeline) > TIMELINE_EVENTS and not self.is_over:
            self._abandon()

    def _emit(self, events: tuple[engine.Event, ...]) -> None:
        """Fold and tell events. What decides a point is told when it cannot be lost any more."""
        if any(isinstance(event, engine.Point | engine.End) for event in events) and self.has_started:
            self._room.hold()
            self._after("hold", self._now() + HOLD_US, self._held)
        batch = self._ledger.add(events)
        if batch:
            self._room.announce(batch)

    def kept(self) -> None:
        """The directory has the last boundary, or does not answer: the game goes on."""
        self._timers.cancel("hold")
        self._room.release()
        arriving, self._arriving = self._arriving, {}
        for connection, (side, version) in arriving.items():
            try:
                self.attach(connection, side, version)
            except codec.Refused as refused:
                connection.refuse(refused)

    def _held(self) -> None:
        """The directory takes its time. What it may refuse in the end is held back on."""
        if self._hooks.may_tell():
            self.kept()
        else:
            self._after("hold", self._now() + HOLD_US, self._held)

    def _charge(self, seat: Seat) -> None:
        if not seat.is_ai:
            metrics.grace_used.observe(seat.crossing_decided() / SECOND)

    def _follow_ball(self) -> None:
        """Wake at the next crossing, and let a computer player look at the ball."""
        crossing = engine.next_crossing(self._state)
        if crossing is None:
            self._timers.cancel("crossing")
        else:
            self._after("crossing", crossing.t + self._seats[crossing.side].grace, self._decide)
        for seat in self._seats:
            if seat.is_ai:
                self._plan(seat)

    def _plan(self, seat: Seat) -> None:
        self._timers.cancel("ai rough", "ai fine")
        moves = plan(self._state, seat.side, self.spec.level or "normal", self._rng, self._now())
        for name, (t, target) in zip(("ai rough", "ai fine"), moves, strict=False):
            self._after(name, t, self._ai_input(seat, t, target))

    def _ai_input(self, seat: Seat, t: int, target: float) -> Callable[[], None]:
        """Inputs of the computer count from when they were planned, however late their timers are."""
        return lambda: self._move(seat, t, target, 0, grace=SECOND)

    def _boundary(self) -> None:
        snapshot = self._snapshot()
        if snapshot is not None:
            self.boundary = snapshot
            self._hooks.boundary(self, snapshot)

    # Hand-over

    def can_part(self, patience: int) -> bool:
        """Whether no ball flies, nor was a serve announced for so long (µs) that calling it off costs more time."""
        if self._state.ball is None:
            return True
        return not self._is_flying and self._now() - self._announced_at <= patience

    @property
    def is_counting_down(self) -> bool:
        return self._state.ball is not None and not self._is_flying

    def part(self) -> Snapshot | None:
        """Stand still from here on, and answer with what the next owner needs; None: it begins from nothing."""
        self.is_parting = True
        self._timers.clear()
        if self._state.ball is not None:  # before it flies: the clock has gone on since `can_part`
            self._emit(engine.pause(self._state, min(self._now(), self._state.ball.t - 1), "server"))
        left, right = self._seats
        for seat in self._seats:
            seat.away_stop(self._now())
        handover = Handover(present=(left.connection is not None, right.connection is not None))
        return self._snapshot(handover)

    def _snapshot(self, handover: Handover | None = None) -> Snapshot | None:
        left, right = self._seats
        return self._ledger.snapshot(
            owner=self._room.owner,
            now=self._now(),
            wall=self._clock.wall(),
            away=(left.away_used, right.away_used),
            handover=handover,
        )

    # Absence and the end

    def _time_absence(self) -> None:
        if self.has_started and not self.is_over:
            self._absence.restart(self._now())

    def _judge(self, absent: Seat | None) -> None:
        """The time of an absent player, or of both (None), is over."""
        if absent is None:
            self._abandon()
        else:
            self._end(1 - absent.side, "forfeit")

    def _abandon(self) -> None:
        self._end(None, "abandoned")

    def _end(self, winner: int | None, reason: str) -> None:
        if not self.is_over:
            self._advance(engine.end(self._state, self._now(), winner, reason))

    def _finish(self) -> None:
        self._timers.clear()
        state = self._state
        if not self.spec.is_probe:
            metrics.matches_finished.labels(self.spec.counted_as, self._outcome()).inc()
        logger.info("match over", extra={"match": self.spec.id, "reason": state.reason, "score": state.score})
        self._after("linger", self._now() + LINGER_US, self._close)
        self._after("hold", self._now() + HOLD_US, self._held)
        self._boundary()
        self._hooks.finished(self, self.record())

    def record(self) -> FinishedMatch | None:
        """The result of a match that is over; None when there is nothing to store."""
        wall = self._clock.wall()
        if self.boundary is not None and self.boundary.state["phase"] == "over":
            wall = self.boundary.saved_at  # so that a repeated record is the same
        return self._ledger.record(self.spec, wall)

    def _outcome(self) -> str:
        if self._state.reason == "score":
            return "completed"
        if self._was_left:
            return "client_left"
        return "forfeit" if self._state.reason == "forfeit" else "abandoned"

    def _want_rematch(self, seat: Seat) -> None:
        if seat.wants_rematch:
            return
        seat.wants_rematch = True
        self._room.broadcast("rematch", codec.rematch(side=seat.side))
        if all(other.is_ai or other.wants_rematch for other in self._seats):
            self._hooks.rematch(self)

    def rematch_ready(self, match_id: str) -> None:
        """The next match exists: everybody goes there."""
        self._room.broadcast("rematch", codec.rematch(match_id=match_id))
        self._after("linger", self._now() + SERVE_US, self._close)

    def _idle(self) -> None:
        if not self.has_started or self.is_over:
            self._close()

    def _close(self) -> None:
        self.stop(1000)
        self._hooks.closed(self)

    def stop(self, code: int, *, moved: bool = False) -> None:
        """Let go of everything: timers, and sockets with `code`. `moved`: another worker has the match."""
        self.is_stopped = True
        self._timers.clear()
        self._room.close(code, moved=moved)
        for connection in self._arriving:
            connection.close(code)
        self._arriving.clear()

    def _now(self) -> int:
        """Match time, never before what is decided: timers may fire a fraction of a millisecond early."""
        return max(self._clock.now() - self._zero, self._state.t)

    def _after(self, name: str, t: int, callback: Callable[[], None]) -> None:
        self._timers.set(name, self._zero + t, callback)
