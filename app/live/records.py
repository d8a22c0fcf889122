"""What live servers, pages and the database tell each other about a match: frozen values with a JSON form.

`schema` is the major version of the JSON. Within one, fields are only added: readers pass over those that they do not
know, and have a default for those that older releases did not write. A newer schema is refused (UnknownSchema), so
that two releases that run side by side never misread each other; whoever can read it takes the match. A value carries
the least schema that its reader must know. It grows as well when the schema of the engine's states or the version of
its rules does: 2 is a match by the second version of the rules.
`tests/app/live/states/` has what each release wrote.
"""

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, Self

import engine
from engine import UnknownSchema as UnknownSchema  # of these values as well
from engine.ai import Level
from live.events import Events

SCHEMA: Final = 2  # the newest that is known here
ID_ALPHABET: Final = string.ascii_letters + string.digits
ID_LENGTH: Final = 12  # of the ids of players' matches
CANARY: Final = "canary"  # how the ids of the canary's matches begin, before as many characters as others have
POINTS_DEFAULT, POINTS_MIN, POINTS_MAX = 7, 3, 21  # that win a match of players

Mode = Literal["ai", "friend"]
Players = tuple["PlayerSpec | None", "PlayerSpec | None"]


def match_id_new(*, is_canary: bool = False) -> str:
    """A random id (71 bits): it is the invitation, so it must not be guessed."""
    return (CANARY if is_canary else "") + "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


@dataclass(frozen=True, slots=True)
class PlayerSpec:
    """Who sits on a side. `identity` is `u:<user pk>`, `g:<guest id>` or `ai:<level>`."""

    side: int
    kind: Literal["human", "ai"]
    identity: str
    name: str

    def to_json(self) -> dict[str, Any]:
        return {"side": self.side, "kind": self.kind, "identity": self.identity, "name": self.name}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(side=data["side"], kind=data["kind"], identity=data["identity"], name=data["name"])


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """A match as it was asked for. `players` by side; None is a seat that is still free. `created_at` is ISO 8601.

    `rules_version` is the newest that the match may be played by. `is_probe`: two bots try a worker; no statistics, no
    result. `strength` is the mean rating of strangers, whose match others may watch, also when they play again.
    """

    id: str
    mode: Mode
    level: Level | None
    points: int
    players: Players
    created_at: str
    is_probe: bool = False
    rules_version: int = engine.RULES.version
    strength: float | None = None
    schema: int = 1

    @property
    def is_canary(self) -> bool:
        """Bots of the site try the way of players. Ids of players are shorter than any with this beginning."""
        return self.id.startswith(CANARY) and len(self.id) > ID_LENGTH

    @property
    def counted_as(self) -> str:
        """The mode in the metrics."""
        return "canary" if self.is_canary else self.mode

    def side_of(self, identity: str) -> int | None:
        """The side on which `identity` plays, or None."""
        return next((player.side for player in self.players if player and player.identity == identity), None)

    def swapped(self) -> "MatchSpec":
        """The match with the sides changed, as friends do for a rematch."""
        left, right = self.players
        if self.mode == "ai" or left is None or right is None:
            return self
        return replace(self, players=(replace(right, side=0), replace(left, side=1)))

    def free_side(self) -> int | None:
        """The first seat that nobody has taken, or None."""
        return next((side for side in (0, 1) if self.players[side] is None), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "id": self.id,
            "mode": self.mode,
            "level": self.level,
            "points": self.points,
            "players": [player.to_json() if player else None for player in self.players],
            "created_at": self.created_at,
            "probe": self.is_probe,
            "rules_version": self.rules_version,
            "strength": self.strength,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The spec of `to_json`. UnknownSchema."""
        _check_schema(data)
        left, right = (PlayerSpec.from_json(player) if player else None for player in data["players"])
        return cls(
            id=data["id"],
            mode=data["mode"],
            level=data["level"],
            points=data["points"],
            players=(left, right),
            created_at=data["created_at"],
            is_probe=data.get("probe", False),
            rules_version=data.get("rules_version", 1),
            strength=data.get("strength"),
        )


@dataclass(frozen=True, slots=True)
class FinishedMatch:
    """A match that is over, as the database keeps it. `timeline` are the events of docs/protocol.md, from version 1.

    `epoch` is that of the owner who tells: of two results of a match that of the newer owner is the true one.
    """

    spec: MatchSpec
    started_at: datetime
    finished_at: datetime
    duration_us: int
    winner: int | None
    reason: str
    score: tuple[int, int]
    rules_version: int
    timeline: list[dict[str, Any]]
    epoch: int = 0
    schema: int = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "epoch": self.epoch,
            "spec": self.spec.to_json(),
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "duration_us": self.duration_us,
            "winner": self.winner,
            "reason": self.reason,
            "score": list(self.score),
            "rules_version": self.rules_version,
            "timeline": self.timeline,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The record of `to_json`. UnknownSchema."""
        _check_schema(data)
        left, right = data["score"]
        return cls(
            spec=MatchSpec.from_json(data["spec"]),
            started_at=datetime.fromisoformat(data["started_at"]),
            finished_at=datetime.fromisoformat(data["finished_at"]),
            duration_us=data["duration_us"],
            winner=data["winner"],
            reason=data["reason"],
            score=(left, right),
            rules_version=data["rules_version"],
            timeline=list(data["timeline"]),
            epoch=data.get("epoch", 0),
        )


@dataclass(frozen=True, slots=True)
class Handover:
    """What the next owner may build on, because the one before has stopped on purpose and said nothing since.

    `present` tells by side who was connected and so will be back in a moment.
    """

    present: tuple[bool, bool]

    def to_json(self) -> dict[str, Any]:
        # Workers of the release before this one read the former
        return {"resumable": [], "present": list(self.present)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        left, right = data["present"]
        return cls(present=(left, right))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A match at a rally boundary: all that another worker needs to go on from there.

    `state` is a key frame of the engine with no ball in play, `timeline` every event up to it. `now` is the match time
    (µs) at `saved_at` (wall clock), `away` the reconnect grace (µs) that each side has used up. `owner` is the id of
    who tells this timeline, "" where that was not kept yet. `handover` is there until the next owner begins.
    """

    state: dict[str, Any]
    timeline: Events
    now: int
    saved_at: datetime
    started_at: datetime
    away: tuple[int, int]
    owner: str = ""
    handover: Handover | None = None

    @property
    def schema(self) -> int:
        return int(self.state["rules"].get("version", 1))

    def header(self, *, handover: bool = True) -> dict[str, Any]:
        """The JSON form without the timeline, which is stored beside it, piece by piece."""
        return {
            "version": self.state["version"],  # first, where the directory's script looks for it
            "schema": self.schema,
            "state": self.state,
            "now": self.now,
            "saved_at": self.saved_at.isoformat(),
            "started_at": self.started_at.isoformat(),
            "away": list(self.away),
            "owner": self.owner,
            "handover": self.handover.to_json() if self.handover and handover else None,
        }

    @classmethod
    def from_header(cls, data: Mapping[str, Any], timeline: list[dict[str, Any]]) -> Self:
        """The checkpoint of `header` and its timeline. UnknownSchema; ValueError if the state is none."""
        _check_schema(data)
        engine.state_from_json(data["state"])
        left, right = data["away"]
        handover = data.get("handover")
        return cls(
            state=data["state"],
            timeline=Events.of(timeline),
            now=data["now"],
            saved_at=datetime.fromisoformat(data["saved_at"]),
            started_at=datetime.fromisoformat(data["started_at"]),
            away=(left, right),
            owner=str(data.get("owner", "")),
            handover=Handover.from_json(handover) if handover else None,
        )


def _check_schema(data: Mapping[str, Any]) -> None:
    schema = data.get("schema")
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise UnknownSchema(f"schema {schema!r} is not known here (known: up to {SCHEMA})")
