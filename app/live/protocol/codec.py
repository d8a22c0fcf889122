"""The wire format of the match socket (docs/protocol.md). Nothing else in `live/` knows that it is JSON.

Messages of clients are checked to the last field before anybody sees them. Frames to clients are built once, however
many sockets they go to.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from engine import MatchState, Rules, rules_to_json, state_to_json
from live.records import Players

# Every number that a page may still speak. While releases change, pages of the one meet workers of the other: a release
# that brings a new number keeps the one before.
PROTOCOLS: Final = frozenset({1})
MESSAGE_BYTES: Final = 1024  # the largest message of a client
_WHOLE_MAX: Final = 2**53 - 1  # beyond it JavaScript's numbers are not exact


class Refused(Exception):
    """The socket must close with `code` (docs/protocol.md); `detail` is a sentence for its `error` message."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code} {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Hello:
    """First message: the seat token and the last version that the client holds (0: none). Later fields pass.

    `owner` is that of its last welcome, "" for none: whose events it holds.
    """

    protocol: int
    token: str
    version: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """Clock probe: the client's clock `c` (ms, given back as it came) and its last measured round trip (µs)."""

    c: float
    rtt: int | None


@dataclass(frozen=True, slots=True)
class Input:
    """Paddle input number `seq`, claimed to be from match time `at` (µs); `target` in u, None to stop."""

    seq: int
    at: int
    target: float | None


@dataclass(frozen=True, slots=True)
class Leave:
    """Give up the match."""


@dataclass(frozen=True, slots=True)
class Rematch:
    """Ask for, or accept, another match."""


Message = Hello | Ping | Input | Leave | Rematch


def decode(message: dict[str, Any]) -> Message:
    """The client's message in an ASGI `websocket.receive`. Refused with 1009, 4400 or 4426."""
    text = message.get("text")
    if text is None:
        raise _malformed("binary messages are not part of the protocol")
    if len(text) > MESSAGE_BYTES or len(text.encode()) > MESSAGE_BYTES:
        raise Refused(1009, f"a message has at most {MESSAGE_BYTES} bytes")
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed("not JSON") from error
    kind = data.get("t") if isinstance(data, dict) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise _malformed("unknown message")
    return read(data)


def _hello(data: dict[str, Any]) -> Hello:
    protocol = data.get("protocol")
    if type(protocol) is int and protocol not in PROTOCOLS:
        raise Refused(4426, f"this server speaks protocol {' and '.join(map(str, sorted(PROTOCOLS)))}")
    token = data.get("token")
    if not isinstance(token, str):
        raise _malformed("token is not a text")
    owner = data.get("owner", "")
    if not isinstance(owner, str):
        raise _malformed("owner is not a text")
    return Hello(protocol=_whole(data, "protocol", 1), token=token, version=_whole(data, "version", 0), owner=owner)


def _ping(data: dict[str, Any]) -> Ping:
    data.setdefault("rtt", None)
    _fields(data, "c", "rtt")
    rtt = None if data["rtt"] is None else _number(data, "rtt", 0.0, 60_000.0)
    return Ping(c=_number(data, "c", -1e15, 1e15), rtt=None if rtt is None else int(rtt * 1000))


def _input(data: dict[str, Any]) -> Input:
    _fields(data, "seq", "at", "target")
    target = None if data["target"] is None else float(_number(data, "target", -1e6, 1e6))
    return Input(seq=_whole(data, "seq", 1), at=_whole(data, "at", -_WHOLE_MAX), target=target)


def _leave(data: dict[str, Any]) -> Leave:
    _fields(data)
    return Leave()


def _rematch(data: dict[str, Any]) -> Rematch:
    _fields(data)
    return Rematch()


_READERS: Final[dict[str, Callable[[dict[str, Any]], Message]]] = {
    "hello": _hello,
    "ping": _ping,
    "in": _input,
    "leave": _leave,
    "rematch": _rematch,
}


def _fields(data: dict[str, Any], *names: str) -> None:
    if data.keys() != {"t", *names}:
        raise _malformed(f"{data['t']} has the fields {', '.join(names) or 'none'}")


def _whole(data: dict[str, Any], name: str, least: int) -> int:
    value = data.get(name)
    if type(value) is not int or not least <= value <= _WHOLE_MAX:
        raise _malformed(f"{name} is not a whole number in its range")
    return value


def _number(data: dict[str, Any], name: str, least: float, most: float) -> float:
    """The number as it came: a clock that was sent as a whole number goes back as one."""
    value = data[name]
    if type(value) not in (int, float) or not least <= value <= most or not isfinite(value):
        raise _malformed(f"{name} is not a number in its range")
    number: float = value
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _malformed(detail: str) -> Refused:
    return Refused(4400, detail)


def _frame(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def welcome(
    *,
    protocol: int,
    match_id: str,
    owner: str,
    side: int | None,
    players: Players,
    rules: Rules,
    now: int,
    state: MatchState | None,
) -> str:
    """In the client's protocol. `state` None: the client holds it already and gets the events that it missed next."""
    return _frame(
        t="welcome",
        protocol=protocol,
        match=match_id,
        owner=owner,
        side=side,
        players=[player and {"side": player.side, "kind": player.kind, "name": player.name} for player in players],
        rules=rules_to_json(rules),
        now=now,
        state=state and state_to_json(state),
    )


def events(batch: list[dict[str, Any]]) -> str:
    """Events in order of `v`, as the timeline keeps them."""
    return _frame(t="ev", e=batch)


def pong(c: float, s: int) -> str:
    return _frame(t="pong", c=c, s=s)


def peer(*, side: int, online: bool, ping_ms: int | None, grace_ms: int | None) -> str:
    """`ping_ms` None: not measured yet. `grace_ms`: left before the forfeit."""
    return _frame(t="peer", side=side, online=online, ping=ping_ms, grace_ms=grace_ms)


def late(seq: int) -> str:
    return _frame(t="late", seq=seq)


def rematch(*, side: int | None = None, match_id: str | None = None) -> str:
    """An offer by `side`, or, when both agreed, the id of the next match."""
    return _frame(t="rematch", id=match_id) if match_id else _frame(t="rematch", side=side)


def move() -> str:
    return _frame(t="move")


def error(code: int, detail: str) -> str:
    return _frame(t="error", code=code, detail=detail)
