"""What can happen in a match. Fields are those of the wire (docs/protocol.md): `v` version, `t` match time in µs."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Serve:
    """The ball leaves `(x, y)` at `t`, which may lie in the future: the countdown."""

    k: ClassVar[str] = "serve"
    v: int
    t: int
    x: float
    y: float
    vx: float
    vy: float


@dataclass(frozen=True, slots=True)
class Pad:
    """The paddle of `side` is at `y` and moves toward `target`; `seq` names the input that caused it (0: none)."""

    k: ClassVar[str] = "pad"
    v: int
    t: int
    side: int
    y: float
    target: float
    seq: int


@dataclass(frozen=True, slots=True)
class Hit:
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


@dataclass(frozen=True, slots=True)
class Point:
    """`side` scored; `score` is (left, right) after it."""

    k: ClassVar[str] = "point"
    v: int
    t: int
    side: int
    score: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pause:
    """Play stops before a serve: `peer` (the player of `side` is away) or `server` (`side` is None)."""

    k: ClassVar[str] = "pause"
    v: int
    t: int
    reason: str
    side: int | None


@dataclass(frozen=True, slots=True)
class Resume:
    """Play goes on: the next serve may be announced."""

    k: ClassVar[str] = "resume"
    v: int
    t: int


@dataclass(frozen=True, slots=True)
class End:
    """The match is over: `score`, `forfeit` or `abandoned` (winner None)."""

    k: ClassVar[str] = "end"
    v: int
    t: int
    winner: int | None
    reason: str
    score: tuple[int, int]


Event = Serve | Pad | Hit | Point | Pause | Resume | End
