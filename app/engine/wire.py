"""States and events as JSON objects, as they travel and as they are stored. The fields are those of the values."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from msgspec.structs import asdict

from engine.events import End, Event, Hit, Pad, Pause, Point, Resume, Serve
from engine.rules import VERSIONS, Rules
from engine.state import Ball, MatchState, Paddle

SCHEMA = 1


class UnknownSchema(ValueError):
    """A newer release wrote this, in a way that this one cannot read."""


EVENTS: dict[str, type[Event]] = {kind.k: kind for kind in (Serve, Pad, Hit, Point, Pause, Resume, End)}


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as docs/protocol.md spells it, `k` first."""
    data = {"k": event.k, **asdict(event)}
    if "score" in data:
        data["score"] = list(data["score"])
    return data


def event_from_json(data: Mapping[str, Any]) -> Event:
    """The event of `event_to_json`. ValueError if it is none."""
    try:
        event: Event = _read(EVENTS[data["k"]], data)
        return event
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an event: {data!r} ({error})") from error


def state_to_json(state: MatchState) -> dict[str, Any]:
    """The state as a key frame, with everything needed to go on from it."""
    return {
        "schema": SCHEMA,
        **asdict(state),
        "rules": rules_to_json(state.rules),
        "ball": None if state.ball is None else asdict(state.ball),
        "paddles": [asdict(paddle) for paddle in state.paddles],
        "score": list(state.score),
    }


def state_from_json(data: Mapping[str, Any]) -> MatchState:
    """The state of `state_to_json`, whatever fields a later release has added. ValueError if it is none.

    UnknownSchema when its schema, or the version of its rules, is newer than what is known here.
    """
    try:
        if data["schema"] > SCHEMA:
            raise UnknownSchema(f"schema {data['schema']} of a state is not known here (known: up to {SCHEMA})")
        left, right = data["paddles"]
        values = {name: data[name] for name in MatchState.__match_args__}
        values["rules"] = _rules(data["rules"])
        values["ball"] = None if data["ball"] is None else _read(Ball, data["ball"])
        values["paddles"] = (_read(Paddle, left), _read(Paddle, right))
        values["score"] = _score(data["score"])
        return MatchState(**values)
    except UnknownSchema:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a match state: {error}") from error


def rules_to_json(rules: Rules) -> dict[str, Any]:
    """The rules of the `welcome` message."""
    return asdict(rules)


def _rules(data: Mapping[str, Any]) -> Rules:
    kind = VERSIONS.get(data.get("version", 1))
    if kind is None:
        raise UnknownSchema(f"rules version {data['version']} is not known here (known: up to {max(VERSIONS)})")
    return kind(**{name: data[name] for name in kind.__match_args__ if name in data})


def _read(kind: Any, data: Mapping[str, Any]) -> Any:
    return kind(**{name: _READ[name](data[name]) for name in kind.__match_args__})


def _number(value: Any) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    return number


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _side(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value not in (0, 1)):
        raise ValueError(f"{value!r} is not a side")
    return value


def _score(value: Any) -> tuple[int, int]:
    left, right = value
    return _whole(left), _whole(right)


_READ: dict[str, Callable[[Any], Any]] = {
    "v": _whole,
    "t": _whole,
    "n": _whole,
    "seq": _whole,
    "side": _side,
    "winner": _side,
    "score": _score,
    "reason": str,
    **dict.fromkeys(("x", "y", "vx", "vy", "target"), _number),
}
