"""The rules in motion: `apply` folds an event into a state, the other functions answer with the events that follow.

Nothing here changes anything: a caller announces the events of `serve`, `move`, `decide`, `pause`, `resume` or `end`
and folds them with `apply`. All times are match times in µs and come from the caller.
"""

from msgspec.structs import replace

from engine.events import End, Event, Hit, Pad, Pause, Point, Resume, Serve
from engine.geometry import next_crossing, paddle_at
from engine.state import Ball, MatchState, Paddle


def apply(state: MatchState, event: Event) -> MatchState:
    """The state after `event`. ValueError on a version gap, after the end, or when time would run backwards."""
    if event.v != state.version + 1:
        raise ValueError(f"version gap: state has {state.version}, event is {event.v}")
    if state.phase == "over":
        raise ValueError(f"the match is over, {event.k} {event.v} cannot follow")
    since = state.paddles[event.side].t if isinstance(event, Pad) else state.t
    if event.t < since:
        raise ValueError(f"time runs backwards: {event.k} {event.v} at {event.t}, already at {since}")
    match event:
        case Pad():
            paddle = Paddle(t=event.t, y=event.y, target=event.target)
            left, right = state.paddles
            return replace(state, version=event.v, paddles=(paddle, right) if event.side == 0 else (left, paddle))
        case Serve():
            ball = Ball(t=event.t, x=event.x, y=event.y, vx=event.vx, vy=event.vy)
            return replace(state, version=event.v, phase="serve", ball=ball, rally_hits=0)
        case Hit():
            ball = Ball(t=event.t, x=event.x, y=event.y, vx=event.vx, vy=event.vy)
            return replace(state, version=event.v, phase="rally", t=event.t, ball=ball, rally_hits=event.n)
        case Point():
            return replace(state, version=event.v, phase="ready", t=event.t, ball=None, score=event.score)
        case Pause():
            return replace(state, version=event.v, phase="paused", t=event.t, ball=None, reason=event.reason)
        case Resume():
            return replace(state, version=event.v, phase="ready", t=event.t, reason=None)
        case End():
            return replace(
                state,
                version=event.v,
                phase="over",
                t=event.t,
                ball=None,
                score=event.score,
                winner=event.winner,
                reason=event.reason,
            )


def serve(state: MatchState, t: int, direction: int, slope: float) -> tuple[Event, ...]:
    """The ball leaves the middle at `t` to the left (`direction` -1) or right (1); `slope` is vy/|vx|, clamped.

    ValueError unless the phase is `ready`.
    """
    if state.phase != "ready":
        raise ValueError(f"a serve needs the phase ready, not {state.phase}")
    if direction not in (-1, 1):
        raise ValueError(f"a serve goes to the left (-1) or to the right (1), not {direction}")
    rules = state.rules
    slope = _clamp(slope, -rules.slope_max, rules.slope_max)
    speed = rules.serve_speed
    x, y = rules.width / 2, rules.height / 2
    return (Serve(v=state.version + 1, t=t, x=x, y=y, vx=direction * speed, vy=speed * slope),)


def admit(state: MatchState, side: int, claimed: int, now: int, grace: int) -> int:
    """The time (µs) from which an input counts that claims to be from `claimed` and arrives at `now`.

    "Effective early": the claim is believed as far back as `grace` (µs), but never before the last input of this
    paddle nor before the last decision that its position took part in, and never in the future.
    """
    earliest = max(now - grace, state.paddles[side].t)
    crossing = next_crossing(state)
    if crossing is None or crossing.side != side or state.phase == "serve":
        earliest = max(earliest, state.t)
    return max(earliest, min(claimed, now))


def move(state: MatchState, t: int, side: int, target: float | None, seq: int = 0) -> tuple[Event, ...]:
    """The paddle of `side` moves toward `target` (clamped to the field; None: stops) from `t` on.

    A paddle holds one segment, and its inputs arrive in order of time. So an input from beyond the paddle's own
    pending crossing settles that crossing: its `hit` or `point` comes first. Nothing moves after the end.
    ValueError if `t` is before the paddle's last segment.
    """
    settled: tuple[Event, ...] = ()
    crossing = next_crossing(state)
    if crossing is not None and crossing.side == side and t >= crossing.t:
        settled = decide(state)
        for event in settled:
            state = apply(state, event)
    if state.phase == "over":
        return settled
    rules = state.rules
    paddle = state.paddles[side]
    if t < paddle.t:
        raise ValueError(f"paddle {side} has moved at {paddle.t}, it cannot move at {t}")
    y = paddle_at(paddle, t, rules)
    goal = y if target is None else _clamp(target, rules.margin, rules.height - rules.margin)
    return (*settled, Pad(v=state.version + 1, t=t, side=side, y=y, target=goal, seq=seq))


def decide(state: MatchState) -> tuple[Event, ...]:
    """What comes of the next crossing: a `hit`, or a `point` and, with the last one, the `end`.

    The outgoing slope grows with the distance from the middle of the paddle. ValueError while no ball is in play.
    """
    crossing = next_crossing(state)
    if crossing is None or state.ball is None:
        raise ValueError(f"no ball is in play (phase {state.phase})")
    rules = state.rules
    t, side = crossing.t, crossing.side
    offset = crossing.y - paddle_at(state.paddles[side], t, rules)
    reach = rules.reach_at(state.rally_hits)
    if -reach <= offset <= reach:
        incoming = state.ball.vx if side == 1 else -state.ball.vx
        speed = rules.speed_after(incoming, state.rally_hits, offset / reach)
        return (
            Hit(
                v=state.version + 1,
                t=t,
                side=side,
                n=state.rally_hits + 1,
                x=0.0 if side == 0 else rules.width,
                y=crossing.y,
                vx=speed if side == 0 else -speed,
                vy=speed * (offset / reach * rules.slope_max),
            ),
        )
    left, right = state.score
    score = (left, right + 1) if side == 0 else (left + 1, right)
    scorer = 1 - side
    point = Point(v=state.version + 1, t=t, side=scorer, score=score)
    if score[scorer] < rules.points:
        return (point,)
    return point, End(v=state.version + 2, t=t, winner=scorer, reason="score", score=score)


def pause(state: MatchState, t: int, reason: str, side: int | None = None) -> tuple[Event, ...]:
    """Stop before the next serve, also during its countdown (the serve is then off), never in a rally.

    ValueError while the ball flies or after the end.
    """
    flying = state.ball is not None and t >= state.ball.t
    if flying or state.phase in ("rally", "over"):
        raise ValueError(f"cannot pause in the phase {state.phase} at {t}")
    return (Pause(v=state.version + 1, t=t, reason=reason, side=side),)


def resume(state: MatchState, t: int) -> tuple[Event, ...]:
    """Go on after a pause; a serve follows. ValueError unless paused."""
    if state.phase != "paused":
        raise ValueError(f"nothing to resume in the phase {state.phase}")
    return (Resume(v=state.version + 1, t=t),)


def end(state: MatchState, t: int, winner: int | None, reason: str) -> tuple[Event, ...]:
    """End the match other than by score: `forfeit` or `abandoned`. ValueError if it is over already."""
    if state.phase == "over":
        raise ValueError("the match is over already")
    return (End(v=state.version + 1, t=t, winner=winner, reason=reason, score=state.score),)


def _clamp(value: float, low: float, high: float) -> float:
    """`value` within `low` and `high`; not a number counts as `low`, as in JavaScript."""
    if value > high:
        return high
    return value if value >= low else low
