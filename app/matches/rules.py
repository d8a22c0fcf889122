"""What may be asked of `POST /api/matches`."""

from dataclasses import dataclass
from typing import Any, get_args

from engine.ai import Level
from live.records import POINTS_DEFAULT, POINTS_MAX, POINTS_MIN, Mode


class BadRequest(ValueError):
    """The body is not what docs/protocol.md describes; the message is a sentence for the caller."""


@dataclass(frozen=True, slots=True)
class MatchRequest:
    """A checked wish for a match. `level` is None against a friend."""

    mode: Mode
    level: Level | None
    points: int
    is_canary: bool = False

    @classmethod
    def parse(cls, body: Any) -> "MatchRequest":
        """The request in a decoded JSON body. BadRequest when a field is missing, unknown or out of range."""
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.")
        mode: Any = body.get("mode")
        level: Any = body.get("level")
        points: Any = body.get("points", POINTS_DEFAULT)
        if mode not in get_args(Mode):
            raise BadRequest("mode must be ai or friend.")
        if mode == "friend":
            level = None
        elif (level := level or "normal") not in get_args(Level):
            raise BadRequest("level must be easy, normal or hard.")
        if type(points) is not int or not POINTS_MIN <= points <= POINTS_MAX:
            raise BadRequest(f"points must be a whole number from {POINTS_MIN} to {POINTS_MAX}.")
        return cls(mode=mode, level=level, points=points)


# What the canary plays (live.protocol.canary): one point between two bots
CANARY_REQUEST = MatchRequest(mode="friend", level=None, points=1, is_canary=True)
