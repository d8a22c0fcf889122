"""What the directory deals in: workers, seats, leases, and how a match finds its seat and its worker. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Self

from live.records import Checkpoint, MatchSpec, PlayerSpec

LOAD_MAX: Final = 0.85  # of a core: beyond it inputs begin to wait for each other (docs/performance.md)


class DirectoryError(Exception):
    """A request that the directory refuses."""


class NoSuchMatch(DirectoryError):
    """Unknown id, or forgotten."""


class Damaged(NoSuchMatch):
    """What is stored of the match cannot be read: as good as not there, and no reason to stop at its neighbours."""


class MatchOver(DirectoryError):
    """The match is over."""


class NoWorker(DirectoryError):
    """No live worker takes matches."""


class SiteFull(NoWorker):
    """Every live worker is near its limit, and keeps it for the matches that it has."""


class Unreadable(DirectoryError):
    """A newer release has left the match in a way that this one cannot read."""


class Fenced(DirectoryError):
    """The lease went to another owner: this one must stop."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that renews its key. `matches` counts those that it owns or was given in the last seconds.

    `schema` is the newest that it can read (live.records), `rules_version` that of the rules. A `reserve` gets matches
    only from workers that drain, or when nobody else is there. `load` is the share of a core that it uses, `watched`
    the number of those who watch, by match id, where there are any.
    """

    name: str
    matches: int
    draining: bool
    release: str
    schema: int
    reserve: bool = False
    rules_version: int = 1
    load: float = 0.0
    watched: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether more matches would cost those that it has."""
        return self.load >= LOAD_MAX

    @classmethod
    def from_json(cls, name: str, matches: int, data: Mapping[str, Any]) -> Self:
        return cls(
            name,
            matches,
            draining=data["draining"],
            release=data["release"],
            schema=data.get("schema", 1),
            reserve=data.get("reserve", False),
            rules_version=data.get("rules_version", 1),
            load=data.get("load", 0.0),
            watched=data.get("watched", {}),
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """Where to play, and as whom. `side` None is a spectator."""

    worker: str
    side: int | None
    identity: str


@dataclass(frozen=True, slots=True)
class Lease:
    """Epoch 0 was never placed; an empty worker means free."""

    epoch: int
    worker: str

    def text(self) -> str:
        return f"{self.epoch}:{self.worker}"

    def holds(self, epoch: int, worker: str) -> bool:
        """Whether the owner of `epoch` at `worker` still has the match: nobody came after it.

        An older epoch than the owner's is what a directory says that went back in time, and has to be told again. One
        that went back may also give an epoch twice, to two workers: then the one that it names has the match.
        """
        return self.epoch < epoch or (self.epoch == epoch and self.worker in ("", worker))

    @classmethod
    def parse(cls, text: str | None) -> "Lease":
        """The lease of `text`, by default one of a match that was never placed. Damaged."""
        epoch, _, worker = (text or "0:").partition(":")
        if not epoch.isdecimal():
            raise Damaged(f"a lease {text!r}")
        return cls(epoch=int(epoch), worker=worker)


@dataclass(frozen=True, slots=True)
class Standing:
    """A match at its last rally boundary. `winner` and `reason` are set when it is over."""

    score: tuple[int, int]
    is_over: bool
    winner: int | None
    reason: str | None
    started_at: datetime
    saved_at: datetime

    @classmethod
    def from_header(cls, data: Mapping[str, Any]) -> Self:
        """Out of the JSON form of a checkpoint, of whatever schema: these fields stay."""
        state = data["state"]
        left, right = state["score"]
        is_over = state["phase"] == "over"
        return cls(
            score=(left, right),
            is_over=is_over,
            winner=state["winner"],
            reason=state["reason"] if is_over else None,
            started_at=datetime.fromisoformat(data["started_at"]),
            saved_at=datetime.fromisoformat(data["saved_at"]),
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A match that a worker carries and does not own. `is_stale`: it does not count as load any more."""

    match_id: str
    lease: Lease
    has_begun: bool
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """What a renewal found out: matches that another owner has, and those that the directory does not know any more.

    `went_back`: it has lost what it was told last.
    """

    lost: frozenset[str]
    forgotten: frozenset[str]
    went_back: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner starts from."""

    spec: MatchSpec
    epoch: int
    checkpoint: Checkpoint | None


def take_seat(spec: MatchSpec, identity: str, name: str) -> tuple[MatchSpec, int | None]:
    """The spec with `identity` seated, if it has or gets a seat, and its side."""
    side = spec.side_of(identity)
    free = spec.free_side()
    if side is not None or free is None or spec.mode != "friend":
        return spec, side
    player = PlayerSpec(side=free, kind="human", identity=identity, name=name)
    left, right = spec.players
    return replace(spec, players=(player, right) if free == 0 else (left, player)), free


def place(lease: Lease, workers: Iterable[Worker], *, schema: int, leaving: str = "", is_new: bool = False) -> Lease:
    """The next lease, at the least loaded worker that takes matches and can read `schema`. NoWorker.

    Workers of another release than `leaving` come first: in a roll those of the same release will drain as well. A host
    begins its roll with its reserve, so that there always is one, and no match has to move twice. A match that has
    begun goes to a full worker rather than nowhere; one that `is_new` raises SiteFull. Load is compared in tenths of a
    core: it is that of the last seconds, and what was placed since shows in the number of matches.
    """
    takers = [worker for worker in workers if not worker.draining and worker.schema >= schema]
    if not takers:
        raise NoWorker
    if is_new:
        takers = [worker for worker in takers if not worker.is_full]
        if not takers:
            raise SiteFull

    def order(worker: Worker) -> tuple[Any, ...]:
        is_same = worker.release == leaving
        return is_same, worker.is_full, worker.reserve, int(worker.load * 10), worker.matches, worker.name

    return Lease(epoch=lease.epoch + 1, worker=min(takers, key=order).name)
