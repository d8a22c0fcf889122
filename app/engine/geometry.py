"""Where things are at a time. Only `+ - * /`, comparisons and truncation of positive numbers, in an order that
`static/js/engine.js` repeats, so that both agree to the bit."""

from msgspec import Struct

from engine.rules import RULES, SECOND, Rules
from engine.state import Ball, MatchState, Paddle


class Crossing(Struct, frozen=True):
    """The ball reaches the plane of `side` at `t` (µs) and height `y` (u)."""

    t: int
    side: int
    y: float


def ball_at(ball: Ball, t: int, rules: Rules = RULES) -> tuple[float, float]:
    """Centre of the ball at `t` (µs). Before its own start it rests there; behind a plane it flies on."""
    elapsed = t - ball.t if t > ball.t else 0
    low = rules.ball_radius
    high = rules.height - rules.ball_radius
    x = ball.x + ball.vx * elapsed / SECOND
    y = ball.y + ball.vy * elapsed / SECOND
    while y < low or y > high:
        y = low + low - y if y < low else high + high - y
    return x, y


def paddle_at(paddle: Paddle, t: int, rules: Rules = RULES) -> float:
    """Centre of the paddle at `t` (µs). Before its segment starts it rests at the start of it."""
    elapsed = t - paddle.t if t > paddle.t else 0
    way = rules.paddle_speed * elapsed / SECOND
    if paddle.target > paddle.y:
        y = paddle.y + way
        return y if y < paddle.target else paddle.target
    y = paddle.y - way
    return y if y > paddle.target else paddle.target


def next_crossing(state: MatchState) -> Crossing | None:
    """The next moment at which something has to be decided, or None while no ball is in play."""
    ball = state.ball
    if ball is None:
        return None
    rules = state.rules
    if ball.vx < 0:
        side, way, speed = 0, ball.x, -ball.vx
    else:
        side, way, speed = 1, rules.width - ball.x, ball.vx
    t = ball.t + int(way * SECOND / speed)
    return Crossing(t=t, side=side, y=ball_at(ball, t, rules)[1])
