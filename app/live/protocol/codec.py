"""The wire format of the match socket (docs/protocol.md). Nothing else in `live/` knows that it is JSON.

Messages of clients are checked to the last field before anybody sees them. Frames to clients are built once, however
many sockets they go to.
"""

import json
from math import isfinite
from typing import Annotated, Any, ClassVar, Final, Protocol, Self

import msgspec
from msgspec import Meta, Struct

from engine import MatchState, Rules, rules_to_json, state_to_json
from live import metrics
from live.events import array
from live.protocol.socket import Frame, Refused, Socket
from live.records import Players

# Every number that a page may still speak. While releases change, pages of the one meet workers of the other: a release
# that brings a new number keeps the one before.
PROTOCOLS: Final = frozenset({1, 2, 3})
FRAMES: Final = ("welcome", "ev", "pong", "peer", "late", "rematch", "move", "error")  # to clients
MESSAGE_BYTES: Final = 1024  # the largest message of a client
_WHOLE_MAX: Final = 2**53 - 1  # beyond it JavaScript's numbers are not exact
_CLOCK_MAX: Final = 10**15
_RTT_MAX: Final = 60_000
_TARGET_MAX: Final = 1_000_000


class Hearer(Protocol):
    """Who hears the messages of a socket that has a place in a match. Refused if one has no place here."""

    def ping(self, socket: Socket, message: "Ping") -> None: ...

    def input(self, socket: Socket, message: "Input") -> None: ...

    def leave(self, socket: Socket) -> None: ...

    def rematch(self, socket: Socket) -> None: ...


class Message(Struct, frozen=True):
    """A message of clients: its name on the wire, what is in it, and how it is heard. All of them: MESSAGES."""

    name: ClassVar[str]

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """Out of the decoded JSON. Refused."""
        raise NotImplementedError

    def heard_by(self, match: Hearer, socket: Socket) -> None:
        """Hand it to the match, in which `socket` has a place."""
        raise NotImplementedError


class Hello(Message, frozen=True):
    """First message: the seat token and the last version that the client holds (0: none). Later fields pass.

    `owner` is that of its last welcome, "" for none: whose events it holds.
    """

    name = "hello"
    protocol: int
    token: str
    version: int
    owner: str = ""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        protocol = data.get("protocol")
        if type(protocol) is int and protocol not in PROTOCOLS:
            raise Refused(4426, f"this server speaks protocol {', '.join(map(str, sorted(PROTOCOLS)))}")
        token = data.get("token")
        if not isinstance(token, str):
            raise _malformed("token is not a text")
        owner = data.get("owner", "")
        if not isinstance(owner, str):
            raise _malformed("owner is not a text")
        return cls(protocol=_whole(data, "protocol", 1), token=token, version=_whole(data, "version", 0), owner=owner)

    def heard_by(self, match: Hearer, socket: Socket) -> None:
        raise _malformed("hello comes once, and first")


class Ping(Message, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="ping"):
    """Clock probe: the client's clock `c` (ms, given back as it came) and its last measured round trip (ms)."""

    name = "ping"
    c: Annotated[int, Meta(ge=-_CLOCK_MAX, le=_CLOCK_MAX)] | Annotated[float, Meta(ge=-_CLOCK_MAX, le=_CLOCK_MAX)]
    rtt: Annotated[float, Meta(ge=0, le=_RTT_MAX)] | None = None

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        data.setdefault("rtt", None)
        _fields(data, "c", "rtt")
        rtt = None if data["rtt"] is None else _number(data, "rtt", 0, _RTT_MAX)
        return cls(c=_number(data, "c", -_CLOCK_MAX, _CLOCK_MAX), rtt=rtt)

    def heard_by(self, match: Hearer, socket: Socket) -> None:
        match.ping(socket, self)


class Input(Message, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="in"):
    """Paddle input number `seq`, claimed to be from match time `at` (µs); `target` in u, None to stop."""

    name = "in"
    seq: Annotated[int, Meta(ge=1, le=_WHOLE_MAX)]
    at: Annotated[int, Meta(ge=-_WHOLE_MAX, le=_WHOLE_MAX)]
    target: Annotated[float, Meta(ge=-_TARGET_MAX, le=_TARGET_MAX)] | None

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        _fields(data, "seq", "at", "target")
        target = None if data["target"] is None else float(_number(data, "target", -_TARGET_MAX, _TARGET_MAX))
        return cls(seq=_whole(data, "seq", 1), at=_whole(data, "at", -_WHOLE_MAX), target=target)

    def heard_by(self, match: Hearer, socket: Socket) -> None:
        match.input(socket, self)


class Leave(Message, frozen=True):
    """Give up the match."""

    name = "leave"

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        _fields(data)
        return cls()

    def heard_by(self, match: Hearer, socket: Socket) -> None:
        match.leave(socket)


class Rematch(Message, frozen=True):
    """Ask for, or accept, another match."""

    name = "rematch"

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        _fields(data)
        return cls()

    def heard_by(self, match: Hearer, socket: Socket) -> None:
        match.rematch(socket)


MESSAGES: Final[dict[str, type[Message]]] = {kind.name: kind for kind in (Hello, Ping, Input, Leave, Rematch)}
_frequent: Final = msgspec.json.Decoder(Input | Ping)
_encode: Final = msgspec.json.Encoder().encode
# Looked up once: it counts every message.
_received: Final = {name: metrics.ws_messages.labels("match", "in", name) for name in (*MESSAGES, "other")}


def decode(text: str | None) -> Message:
    """The client's message, None for a binary one, counted. Refused with 1009, 4400 or 4426."""
    try:
        found = _decode(text)
    except Refused:
        _received["other"].inc()
        raise
    _received[found.name].inc()
    return found


def _decode(text: str | None) -> Message:
    if text is None:
        raise _malformed("binary messages are not part of the protocol")
    if len(text) > MESSAGE_BYTES or len(text.encode()) > MESSAGE_BYTES:
        raise Refused(1009, f"a message has at most {MESSAGE_BYTES} bytes")
    try:
        return _frequent.decode(text)
    except ValueError:
        return _read(text)


def _read(text: str) -> Message:
    """What is no plain `in` or `ping`: another message, or the reason why it is none."""
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed("not JSON") from error
    name = data.get("t") if isinstance(data, dict) else None
    kind = MESSAGES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _malformed("unknown message")
    return kind.read(data)


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


def _frame(name: str, **fields: Any) -> Frame:
    return Frame(name, _encode({"t": name, **fields}))


def knows_rules(protocol: int, rules: Rules) -> bool:
    """Whether a page that speaks `protocol` can play by `rules`."""
    return protocol > 1 or rules.version == 1


def tells_own_presence(protocol: int) -> bool:
    """Whether a page that speaks `protocol` is told what is left of its own grace."""
    return protocol > 1


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
) -> Frame:
    """In the client's protocol. `state` None: the client holds it already and gets the events that it missed next."""
    return _frame(
        "welcome",
        protocol=protocol,
        match=match_id,
        owner=owner,
        side=side,
        players=[player and {"side": player.side, "kind": player.kind, "name": player.name} for player in players],
        rules=rules_to_json(rules),
        now=now,
        state=state and state_to_json(state),
    )


def events(batch: list[bytes]) -> Frame:
    """Events in order of `v`, encoded as the timeline keeps them."""
    return Frame("ev", b'{"t":"ev","e":' + array(batch) + b"}")


def pong(c: float, s: int, *, protocol: int, waited: int) -> Frame:
    """`waited` (µs) is for how long the ping lay with the server before it was read: a part of the round trip."""
    if protocol < 3:
        return _frame("pong", c=c, s=s)
    return _frame("pong", c=c, s=s, lag=waited // 1000)


def echo(c: float, *, wall_ms: float, lag_ms: float) -> Frame:
    """A `pong` outside any match: the server's wall clock, and how late its event loop runs."""
    return _frame("pong", c=c, s=round(wall_ms, 1), lag=round(lag_ms, 1))


def peer(*, side: int, online: bool, ping_ms: int | None, grace_ms: int | None) -> Frame:
    """`ping_ms` None: not measured yet. `grace_ms`: left before the forfeit."""
    return _frame("peer", side=side, online=online, ping=ping_ms, grace_ms=grace_ms)


def late(seq: int) -> Frame:
    return _frame("late", seq=seq)


def rematch(*, side: int | None = None, match_id: str | None = None) -> Frame:
    """An offer by `side`, or, when both agreed, the id of the next match."""
    return _frame("rematch", id=match_id) if match_id else _frame("rematch", side=side)


def move() -> Frame:
    return _frame("move")


def error(code: int, detail: str) -> Frame:
    return _frame("error", code=code, detail=detail)
