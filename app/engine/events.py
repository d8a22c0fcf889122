"""What can happen in a match. Fields are those of the wire (docs/protocol.md): `v` version, `t` match time in µs."""

from typing import ClassVar

from msgspec import Struct


class Serve(Struct, frozen=True, tag_field="k", tag="serve"):
    """The ball leaves `(x, y)` at `t`, which may lie in the future: the countdown."""

    k: ClassVar[str] = "serve"
    v: int
    t: int
    x: float
    y: float
    vx: float
    vy: float


class Pad(Struct, frozen=True, tag_field="k", tag="pad"):
    """The paddle of `side` is at `y` and moves toward `target`; `seq` names the input that caused it (0: none)."""

    k: ClassVar[str] = "pad"
    v: int
    t: int
    side: int
    y: float
    target: float
    seq: int


class Hit(Struct, frozen=True, tag_field="k", tag="hit"):
    """The paddle of `side` returns the ball, the `n`-th hit of this rally; the velocity is the outgoing one."""

    k: ClassVar[str] = "hit"
    v: int
    t: int
    side: int
    n: int
    x: float
    y: float
    vx: float
    vy: float


class Point(Struct, frozen=True, tag_field="k", tag="point"):
    """`side` scored; `score` is (left, right) after it."""

    k: ClassVar[str] = "point"
    v: int
    t: int
    side: int
    score: tuple[int, int]


class Pause(Struct, frozen=True, tag_field="k", tag="pause"):
    """Play stops before a serve: `peer` (the player of `side` is away) or `server` (`side` is None)."""

    k: ClassVar[str] = "pause"
    v: int
    t: int
    reason: str
    side: int | None


class Resume(Struct, frozen=True, tag_field="k", tag="resume"):
    """Play goes on: the next serve may be announced."""

    k: ClassVar[str] = "resume"
    v: int
    t: int


class End(Struct, frozen=True, tag_field="k", tag="end"):
    """The match is over: `score`, `forfeit` or `abandoned` (winner None)."""

    k: ClassVar[str] = "end"
    v: int
    t: int
    winner: int | None
    reason: str
    score: tuple[int, int]


Event = Serve | Pad | Hit | Point | Pause | Resume | End
