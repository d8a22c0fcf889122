"""The rules of Pong: pure functions over frozen values. No clock, no randomness, no input or output, no Django.

`docs/protocol.md` says what the numbers and events mean; `static/js/engine.js` is the twin that browsers run.
"""

from engine.events import End, Event, Hit, Pad, Pause, Point, Resume, Serve
from engine.geometry import Crossing, ball_at, next_crossing, paddle_at
from engine.match import admit, apply, decide, end, move, pause, resume, serve
from engine.rules import RULES, SECOND, Rules, Rules1, Rules2, rules_of
from engine.state import Ball, MatchState, Paddle, Phase, initial
from engine.wire import (
    UnknownSchema,
    event_from_json,
    event_to_json,
    rules_to_json,
    state_from_json,
    state_to_json,
)

__all__ = [
    "RULES",
    "SECOND",
    "Ball",
    "Crossing",
    "End",
    "Event",
    "Hit",
    "MatchState",
    "Pad",
    "Paddle",
    "Pause",
    "Phase",
    "Point",
    "Resume",
    "Rules",
    "Rules1",
    "Rules2",
    "Serve",
    "UnknownSchema",
    "admit",
    "apply",
    "ball_at",
    "decide",
    "end",
    "event_from_json",
    "event_to_json",
    "initial",
    "move",
    "next_crossing",
    "paddle_at",
    "pause",
    "resume",
    "rules_of",
    "rules_to_json",
    "serve",
    "state_from_json",
    "state_to_json",
]
