"""The course of a match: what happens in match time, decided late and effective early. All times in µs."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import engine
from live import metrics
from live.clock import SECOND, Clock
from live.match.computer import Computer
from live.match.seat import Seat
from live.match.timeline import Timeline
from live.match.timers import Timers
from live.protocol import codec
from live.records import Checkpoint, MatchSpec

SERVE_SLOPE: Final = 0.6
STALL_US: Final = 2_000  # timers are late by less without a stall
LATE_US: Final = 5_000  # clocks of players are not better than this
TURN_US: Final = 1_000  # the event loop reads all sockets before a timer that is set so far ahead

Events = tuple[engine.Event, ...]

# Looked up once: inputs come often.
_late: Final = {by: metrics.inputs_late.labels(by) for by in metrics.LATE_BY}


class Course:
    """The timeline of one match and the timers that go on with it.

    `tell` gets events, and the JSON of each, as soon as they are decided; `follow` gets each of them after that, when
    the ball is followed already. `crashed` hears of timers that raise.
    """

    def __init__(
        self,
        rules: engine.Rules,
        *,
        clock: Clock,
        rng: Callable[[], float],
        tell: Callable[[Events, list[bytes]], None],
        follow: Callable[[engine.Event], None],
        crashed: Callable[[Exception], None],
    ) -> None:
        self.timeline = Timeline(rules)
        self.timers = Timers(clock, crashed)
        self._clock = clock
        self._rng = rng
        self._tell = tell
        self._follow = follow
        self._zero = clock.now()
        self._announced_at = 0
        self._decided: int | None = None  # whose crossing was the last one
        self._seats: tuple[Seat, Seat] | tuple[()] = ()
        self._computers: list[Computer] = []

    def sit_down(self, seats: tuple[Seat, Seat], spec: MatchSpec) -> None:
        """These play."""
        self._seats = seats
        for seat in seats:
            if seat.is_ai:
                move = partial(self.move, seat, seq=0, grace=SECOND)
                level = spec.level or "normal"
                cancel = self.timers.cancel
                self._computers.append(
                    Computer(seat.side, level, self._rng, after=self.after, cancel=cancel, move=move)
                )

    def begin(self) -> None:
        """Play begins, and paddles go where their players want them by now."""
        self.timeline.started_at = self.wall()
        for seat in self._seats:
            if seat.wish is not None:
                self.move(seat, self.now(), seat.wish, seat.last_seq)

    def begin_anew(self, rules: engine.Rules) -> None:
        """By other rules; nothing may have happened yet."""
        self.timeline = Timeline(rules)

    def go_on(self, checkpoint: Checkpoint) -> int:
        """From a checkpoint. Match time has gone on meanwhile, so that clients' clocks stay right; answers how much."""
        gone = max(0, int((self.wall() - checkpoint.saved_at).total_seconds() * SECOND))
        self._zero = self._clock.now() - checkpoint.now - gone
        self.timeline = Timeline.of(checkpoint)
        return gone

    @property
    def state(self) -> engine.MatchState:
        return self.timeline.state

    def now(self) -> int:
        """Match time, never before what is decided: timers may fire a fraction of a millisecond early."""
        return max(self._clock.now() - self._zero, self.state.t)

    def wall(self) -> datetime:
        return self._clock.wall()

    def after(self, name: str, t: int, callback: Callable[[], object]) -> None:
        """Set the timer of that name to match time `t`."""
        self.timers.set(name, self._zero + t, callback)

    @property
    def is_flying(self) -> bool:
        return self.state.ball is not None and self.now() >= self.state.ball.t

    @property
    def is_counting_down(self) -> bool:
        return self.state.ball is not None and not self.is_flying

    def may_call_off(self, patience: int) -> bool:
        """Whether no ball flies, nor was a serve announced for so long that calling it off costs more time."""
        return self.state.ball is None or (self.is_counting_down and self.now() - self._announced_at <= patience)

    def emit(self, events: Events) -> None:
        """Fold events and tell them; nothing else follows."""
        batch = self.timeline.add(events)
        if batch:
            self._tell(events, batch)

    def advance(self, events: Events) -> None:
        """Fold events, tell them, and do what follows from them."""
        self.emit(events)
        for event in events:
            match event:
                case engine.Serve() | engine.Pause():
                    self._follow_ball()
                case engine.Hit():
                    self._charge(event.side)
                    self._follow_ball()
                case engine.Point():
                    self._charge(1 - event.side)
            self._follow(event)

    def serve(self, countdown: int) -> None:
        """Announce a serve that flies after `countdown`."""
        direction = 1 if self._rng() < 0.5 else -1
        slope = SERVE_SLOPE * (2 * self._rng() - 1)
        self._announced_at = self.now()
        self.advance(engine.serve(self.state, self._announced_at + countdown, direction, slope))

    def steer(self, seat: Seat, message: codec.Input, waited: int) -> None:
        """An input of a player, which has `waited` to be read. Counts who is to blame when it comes late."""
        is_late = self.now() - waited - message.at > seat.grace + LATE_US
        seat.claims.moved(message.at, message.target, is_late=is_late)
        effective = self.move(seat, message.at, message.target, message.seq, waited=waited)
        if is_late:
            _late["player"].inc()
        elif effective - message.at > LATE_US and self._decided == seat.side:  # the other's takes nothing from this one
            _late["server"].inc()

    def move(
        self, seat: Seat, claimed: int, target: float | None, seq: int, grace: int | None = None, waited: int = 0
    ) -> int:
        """Effective early: the claim counts as far back as the grace goes. Settles a crossing that it comes after.

        The grace counts from when the input arrived, `waited` ago, not from when this process got round to it. Answers
        with the time from which it counts.
        """
        arrived = self.now() - waited
        effective = engine.admit(self.state, seat.side, claimed, arrived, seat.grace if grace is None else grace)
        seat.input_counted(effective=effective, arrived=arrived)
        self.advance(engine.move(self.state, effective, seat.side, target, seq))
        return effective

    def end(self, winner: int | None, reason: str) -> None:
        """Before its time; what is over stays as it is."""
        if self.state.phase != "over":
            self.advance(engine.end(self.state, self.now(), winner, reason))

    def _decide(self, *, is_read: bool = False) -> None:
        """Decide late: the crossing's time and its grace have passed.

        When this process was late itself, inputs that came in time may not have been read yet (`is_read`): they are,
        before the next timer.
        """
        crossing = engine.next_crossing(self.state)
        if crossing is None:
            return
        lag = max(0, self.now() - crossing.t - self._seats[crossing.side].grace)
        if lag > STALL_US and not is_read:
            self.after("crossing", self.now() + TURN_US, partial(self._decide, is_read=True))
            return
        metrics.crossing_lag.observe(lag / SECOND)
        self.advance(engine.decide(self.state))

    def _charge(self, side: int) -> None:
        self._decided = side
        seat = self._seats[side]
        if not seat.is_ai:
            metrics.grace_used.observe(seat.crossing_decided() / SECOND)

    def _follow_ball(self) -> None:
        """Wake at the next crossing, and let a computer player look at the ball."""
        crossing = engine.next_crossing(self.state)
        if crossing is None:
            self.timers.cancel("crossing")
        else:
            self.after("crossing", crossing.t + self._seats[crossing.side].grace, self._decide)
        for computer in self._computers:
            computer.look(self.state, self.now())
