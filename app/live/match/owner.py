"""The owner of one match: the only thing that changes it.

It is synchronous. Sockets hand it messages, timers wake it at the next crossing, and what has to go to the outside
world (checkpoints, results, the directory) goes through `Host`. All times are match times in µs.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import engine
from live import metrics
from live.clock import SECOND, Clock
from live.match.absence import BOTH_AWAY_US, Absence
from live.match.course import Course
from live.match.host import Host
from live.match.room import Room
from live.match.seat import Seat
from live.match.timeline import outcome
from live.protocol import codec
from live.protocol.socket import Refused, Socket
from live.records import Checkpoint, FinishedMatch, Handover, MatchSpec, PlayerSpec

logger = logging.getLogger(__name__)

FIRST_SERVE_US: Final = 3 * SECOND  # also after a pause
SERVE_US: Final = 1_200_000
HOLD_US: Final = 150_000  # a point that the directory has not by then calls the next serve off
SETTLE_US: Final = 3 * SECOND  # after a hand-over, for the players to come along
MATCH_US: Final = 30 * 60 * SECOND  # nothing that people play lasts so long
LINGER_US: Final = 60 * SECOND  # after the end, for a rematch
OFFER_US: Final = 30 * SECOND  # of a rematch
PEER_EVERY_US: Final = 5 * SECOND
TIMELINE_EVENTS: Final = 50_000


class MatchOwner:
    """One match that this worker owns, from its first socket until a while after its end."""

    def __init__(
        self,
        spec: MatchSpec,
        *,
        epoch: int,
        clock: Clock,
        rng: Callable[[], float],
        host: Host,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.spec = spec
        self.epoch = epoch
        self.checkpoint = checkpoint  # the last one
        self.stored = 0 if checkpoint is None else int(checkpoint.state["version"])  # what the directory has of it
        self._host = host
        self._course = Course(
            engine.rules_of(min(spec.rules_version, engine.RULES.version), spec.points),
            clock=clock,
            rng=rng,
            tell=self._tell,
            follow=self._follow,
            crashed=lambda error: host.crashed(self, error),
        )
        self._timers = self._course.timers
        self._now = self._course.now
        self._after = self._course.after
        self._room = Room(spec, self._state.rules.grace_max, self._now)
        self._seats = self._room.seats
        self.watchers = self._room.watchers
        self._course.sit_down(self._seats, spec)
        self._absence = Absence(self._seats, self._course, judge=self.judge, may_judge=host.may_judge_absence)
        self._was_left = False
        self._decided = 0  # the last version that is held back until the directory has it
        self._is_waiting = False  # for that, and no serve is announced
        self.is_parting = False
        self.is_stopped = False
        self._came_over = False  # by a hand-over, and has not been served since
        if checkpoint is not None:
            self._restore(checkpoint)
        self._after("idle", self._now() + BOTH_AWAY_US, self._idle)

    def _restore(self, checkpoint: Checkpoint) -> None:
        gone = self._course.go_on(checkpoint)
        for seat, used in zip(self._seats, checkpoint.away, strict=True):
            seat.away_used = used
        if self.is_over:  # only its result was lost
            self._after("linger", self._now() + LINGER_US, self._close)
            return
        if checkpoint.owner:
            self._room.succeed(checkpoint.owner, self._state.version)
        if checkpoint.handover is not None:
            self._room.expect(checkpoint.handover.present if gone < SETTLE_US else (False, False))
            self._came_over = gone < SETTLE_US
            self._after("settle", self._now() + SETTLE_US, self._settled)
        played = int((self._course.wall() - checkpoint.started_at).total_seconds() * SECOND)
        self._after("life", self._now() + MATCH_US - min(max(played, 0), MATCH_US), lambda: self.judge(None))
        self._time_absence()

    @property
    def _state(self) -> engine.MatchState:
        return self._course.state

    @property
    def has_started(self) -> bool:
        return self._course.timeline.started_at is not None

    @property
    def is_over(self) -> bool:
        return self._state.phase == "over"

    @property
    def is_done(self) -> bool:
        """Whether the match is over and everybody may know it: its end cannot be lost any more."""
        return self.is_over and not self._room.is_holding

    def needs_pulse(self, socket: Socket) -> bool:
        """Whether a match is being played that must know soon when this socket's player is gone."""
        return self.has_started and not self.is_over and self._room.seat_of(socket) is not None

    # Sockets

    def seat_player(self, player: PlayerSpec) -> None:
        """The free seat was taken."""
        seat = self._seats[player.side]
        if seat.player is None:
            seat.player = player
            left, right = self._seats
            self.spec = replace(self.spec, players=(left.player, right.player))

    def attach(self, socket: Socket, side: int | None, version: int) -> None:
        """A socket proved its seat (`side` None: to watch) and holds the events up to `version`."""
        if self.is_stopped:  # whoever let it in did not know yet
            socket.close(1012)
            return
        self._timers.cancel("idle")
        if self._room.is_holding:  # the welcome would tell what may still be lost
            self._room.wait(socket, side, version)
            return
        if not codec.knows_rules(socket.protocol, self._state.rules):
            self._agree_on_rules(side)
        self._room.enter(socket, side, version)
        self._room.welcome(socket, self.spec, self._state, self._course.timeline.log, version)
        if side is not None:
            self._room.tell_presence(self._seats[side])
            if not self.is_parting:
                self._time_absence()
                self._serve_when_ready(FIRST_SERVE_US)

    def _agree_on_rules(self, side: int | None) -> None:
        """A page of an older release comes: what has not begun is played by rules that it knows. Refused (4426)."""
        if side is None or self.has_started:
            raise Refused(4426, "the match is played by newer rules")
        self._course.begin_anew(engine.rules_of(1, self.spec.points))
        for other in self._room.audience():
            self._room.welcome(other, self.spec, self._state, self._course.timeline.log, 0)

    def detach(self, socket: Socket) -> None:
        """The socket is gone. A player's paddle stops; the rally goes on to its end."""
        seat = self._room.leave(socket)
        if self.is_stopped or self.is_parting:
            return
        if seat is not None:
            if self.has_started and not self.is_over:
                self._course.move(seat, self._now(), None, 0)
                seat.socket_lost(socket.silence())
            self._room.tell_presence(seat)
            self._time_absence()
            self._pause_for(seat)
        if not self._room.audience():
            self._after("idle", self._now() + (0 if self.is_done else BOTH_AWAY_US), self._idle)

    # Messages of attached sockets (codec.Hearer)

    def ping(self, socket: Socket, message: codec.Ping) -> None:
        socket.send(codec.pong(message.c, self._now(), waited=socket.waited, protocol=socket.protocol))
        seat = self._room.seat_of(socket)
        if seat is None:
            return
        seat.meter.sample(socket.rtt())
        now = self._now()
        if seat.meter.rtt is not None and now - seat.reported_at >= PEER_EVERY_US:
            seat.reported_at = now
            metrics.player_rtt.observe(seat.meter.rtt / SECOND)
            self._room.tell_presence(seat)

    def input(self, socket: Socket, message: codec.Input) -> None:
        seat = self._room.seat_of(socket)
        if seat is None or self.is_over or self.is_parting or message.seq <= seat.last_seq:
            return
        seat.last_seq = message.seq
        if not self.has_started:
            seat.wish = message.target
            return
        self._course.steer(seat, message, socket.waited)
        self._room.tell_lateness(seat)

    def leave(self, socket: Socket) -> None:
        seat = self._room.seat_of(socket) or self._room.seat_ahead(socket)
        if seat is None or self.is_parting:
            return
        if not self.is_over:
            self._was_left = True
            winner, reason = (1 - seat.side, "forfeit") if self.has_started else (None, "abandoned")
            self._course.end(winner, reason)
        socket.close(1000)

    # The course of the match

    def _serve_when_ready(self, countdown: int) -> None:
        """Announce the next serve, or pause until both players are here."""
        if self._state.phase not in ("ready", "paused") or self._is_waiting or not self._host.may_serve(self):
            return
        if any(seat.player is None for seat in self._seats):
            return
        away = next((seat for seat in self._seats if not seat.present), None)
        if away is not None:
            self._pause_for(away)
            return
        if not self.has_started:
            self._start()
        if any(seat.is_quiet for seat in self._seats):  # back in a moment, or away in another
            self._after("serve", self._now() + SECOND // 4, lambda: self._serve_when_ready(countdown))
            return
        if self._state.phase == "paused":
            countdown = FIRST_SERVE_US
        if self.spec.is_probe or self._state.reason == "server" or (self._came_over and self._state.reason != "peer"):
            countdown = SERVE_US
        self._came_over = False
        if self._state.phase == "paused":
            self._course.emit(engine.resume(self._state, self._now()))
        self._course.serve(countdown)

    def _start(self) -> None:
        self._course.begin()
        self._after("life", self._now() + MATCH_US, lambda: self.judge(None))
        if not self.spec.is_probe:
            metrics.matches_started.labels(self.spec.counted_as).inc()
        logger.info("match started", extra={"match": self.spec.id, "mode": self.spec.mode})
        self._keep()

    def _pause_for(self, seat: Seat) -> None:
        """Pause if the player of `seat` is away and no ball flies; a rally is played to its end first."""
        is_here = not self.has_started or seat.present or seat.side in self._room.expected
        if is_here or self._course.is_flying or self._state.phase not in ("ready", "serve"):
            return
        self._course.advance(engine.pause(self._state, self._now(), "peer", seat.side))

    def _settled(self) -> None:
        """Whoever has not come over by now is away."""
        late = [self._seats[side] for side in self._room.expected]
        self._room.expected.clear()
        self._came_over = False
        for seat in late:
            self._room.tell_presence(seat)
            self._pause_for(seat)

    def _tell(self, events: tuple[engine.Event, ...], batch: list[bytes]) -> None:
        """Tell events. What decides a point is told when it cannot be lost any more."""
        if any(isinstance(event, engine.Point | engine.End) for event in events) and self.has_started:
            self._decided = self._state.version
            self._room.hold()
            self._after("hold", self._now() + HOLD_US, self._wait)
        self._room.announce(batch)

    def _follow(self, event: engine.Event) -> None:
        """Do what follows from an event."""
        self._room.follow_claims(event, self._state)
        if isinstance(event, engine.End):
            self._finish()
        elif isinstance(event, engine.Point) and not self.is_over:
            self._keep()
            self._serve_when_ready(SERVE_US)
        if len(self._course.timeline.log) > TIMELINE_EVENTS:
            self.judge(None)

    def kept(self, version: int) -> None:
        """The directory has the match up to `version`: what was decided up to there is told, and the game goes on."""
        self.stored = version
        if version < self._decided or not self._room.is_holding:
            return
        self._timers.cancel("hold")
        self._is_waiting = False
        for socket, (side, version) in self._room.release().items():
            try:
                self.attach(socket, side, version)
            except Refused as refused:
                socket.refuse(refused)
        if self.is_over:
            self._done()
        elif not self.is_parting:
            self._serve_when_ready(SERVE_US)

    def _wait(self) -> None:
        """The directory takes its time: the match stands still until it has the point."""
        self._is_waiting = True
        if self._course.is_counting_down:
            self._course.advance(engine.pause(self._state, self._now(), "server"))

    def _keep(self) -> None:
        checkpoint = self._checkpoint()
        if checkpoint is not None:
            self.checkpoint = checkpoint
            self._host.keep(self, checkpoint)

    # Hand-over

    def can_part(self, patience: int) -> bool:
        """Whether the match stands still, but for a countdown that began at most `patience` (µs) ago."""
        return self._course.may_call_off(patience)

    @property
    def is_counting_down(self) -> bool:
        return self._course.is_counting_down

    def part(self) -> Checkpoint | None:
        """Stand still from here on, and answer with what the next owner needs; None: it begins from nothing."""
        self.is_parting = True
        self._timers.clear()
        if self._state.ball is not None:  # before it flies: the clock has gone on since `can_part`
            self._course.emit(engine.pause(self._state, min(self._now(), self._state.ball.t - 1), "server"))
        left, right = self._seats
        for seat in self._seats:
            seat.away_stop(self._now())
        handover = Handover(present=(left.socket is not None, right.socket is not None))
        return self._checkpoint(handover)

    def _checkpoint(self, handover: Handover | None = None) -> Checkpoint | None:
        left, right = self._seats
        return self._course.timeline.checkpoint(
            owner=self._room.owner,
            now=self._now(),
            wall=self._course.wall(),
            away=(left.away_used, right.away_used),
            handover=handover,
        )

    def _time_absence(self) -> None:
        if self.has_started and not self.is_over:
            self._absence.restart(self._now())

    def judge(self, absent: Seat | None) -> None:
        """The time of an absent player, or of the match (None), is over."""
        self._course.end(*((None, "abandoned") if absent is None else (1 - absent.side, "forfeit")))

    def _finish(self) -> None:
        self._timers.clear()
        state = self._state
        if not self.spec.is_probe:
            metrics.matches_finished.labels(self.spec.counted_as, outcome(state, was_left=self._was_left)).inc()
        logger.info("match over", extra={"match": self.spec.id, "reason": state.reason, "score": state.score})
        self._keep()
        if self.is_done:  # nothing was played: nobody has to know before
            self._done()

    def _done(self) -> None:
        self._after("linger", self._now() + LINGER_US, self._close)
        self._host.finished(self, self.record())

    def record(self) -> FinishedMatch | None:
        """The result of a match that is over; None when there is nothing to store."""
        wall = self._course.wall()
        if self.checkpoint is not None and self.checkpoint.state["phase"] == "over":
            wall = self.checkpoint.saved_at  # so that a repeated record is the same
        return self._course.timeline.record(self.spec, wall)

    def rematch(self, socket: Socket) -> None:
        seat = self._room.seat_of(socket)
        if seat is None or not self.is_over or seat.wants_rematch:
            return
        seat.wants_rematch = True
        self._room.broadcast(codec.rematch(side=seat.side))
        self._after("linger", self._now() + OFFER_US, self._close)
        if all(other.is_ai or other.wants_rematch for other in self._seats):
            self._host.rematch(self)

    @property
    def has_offer(self) -> bool:
        return not self.is_stopped and any(seat.wants_rematch for seat in self._seats)

    def rematch_ready(self, match_id: str) -> None:
        """The next match exists: everybody goes there."""
        self._room.broadcast(codec.rematch(match_id=match_id))
        self._after("linger", self._now() + SERVE_US, self._close)

    def _idle(self) -> None:
        if not self.has_started or self.is_done:
            self._close()

    def _close(self) -> None:
        self.stop(1000)
        self._host.closed(self)

    def stop(self, code: int, *, moved: bool = False) -> None:
        """Let go of everything: timers, and sockets with `code`. `moved`: another worker has the match."""
        self.is_stopped = True
        self._timers.clear()
        self._room.close(code, moved=moved)
