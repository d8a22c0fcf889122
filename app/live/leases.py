"""What the directory deals in: workers, seats, leases, and how a match finds its seat and its worker. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from live.records import MatchSpec, PlayerSpec, Snapshot


class DirectoryError(Exception):
    """A request that the directory refuses."""


class NoSuchMatch(DirectoryError):
    """Unknown id, or forgotten."""


class MatchOver(DirectoryError):
    """The match is over."""


class NoWorker(DirectoryError):
    """No live worker takes matches."""


class Fenced(DirectoryError):
    """The lease went to another owner: this one must stop."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that renews its key. `matches` counts those that it owns or was given in the last seconds."""

    name: str
    matches: int
    draining: bool
    release: str


@dataclass(frozen=True, slots=True)
class Seat:
    """Where to play. `side` None is a spectator."""

    worker: str
    side: int | None


@dataclass(frozen=True, slots=True)
class Lease:
    """Epoch 0 was never placed; an empty worker means free."""

    epoch: int
    worker: str

    def text(self) -> str:
        return f"{self.epoch}:{self.worker}"

    @classmethod
    def parse(cls, text: str | None) -> "Lease":
        epoch, _, worker = (text or "0:").partition(":")
        return cls(epoch=int(epoch), worker=worker)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a renewal found out: matches that another owner has, and matches that the directory does not know."""

    lost: frozenset[str]
    forgotten: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claim:
    """What an owner starts from."""

    spec: MatchSpec
    epoch: int
    snapshot: Snapshot | None


def take_seat(spec: MatchSpec, identity: str, name: str) -> tuple[MatchSpec, int | None]:
    """The spec with `identity` seated, if it has or gets a seat, and its side."""
    side = spec.side_of(identity)
    free = spec.free_side()
    if side is not None or free is None or spec.mode != "friend":
        return spec, side
    player = PlayerSpec(side=free, kind="human", identity=identity, name=name)
    left, right = spec.players
    return replace(spec, players=(player, right) if free == 0 else (left, player)), free


def place(lease: Lease, workers: Iterable[Worker]) -> Lease:
    """The next lease, at the least loaded worker that takes matches. NoWorker."""
    takers = [worker for worker in workers if not worker.draining]
    if not takers:
        raise NoWorker
    chosen = min(takers, key=lambda worker: (worker.matches, worker.name))
    return Lease(epoch=lease.epoch + 1, worker=chosen.name)
