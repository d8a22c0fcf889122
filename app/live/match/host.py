"""The way from a match to the outside world."""

from typing import TYPE_CHECKING, Protocol

from live.records import Checkpoint, FinishedMatch

if TYPE_CHECKING:
    from live.match.owner import MatchOwner


class Host(Protocol):
    """What an owner asks of its worker. None of these may block or raise."""

    def keep(self, owner: "MatchOwner", checkpoint: Checkpoint) -> None:
        """A rally, or the match, ended: keep this, and call `kept` when it is safe. Until then nobody hears of it."""

    def may_serve(self, owner: "MatchOwner") -> bool:
        """False while the worker drains: it takes the match from here, between two rallies."""

    def finished(self, owner: "MatchOwner", record: FinishedMatch | None) -> None:
        """The match is over, and that is kept; None when there is nothing to store."""

    def rematch(self, owner: "MatchOwner") -> None:
        """Both want another match: create one and call `rematch_ready`."""

    def closed(self, owner: "MatchOwner") -> None:
        """Nobody is here any more and nothing is left to do: forget this owner."""

    def crashed(self, owner: "MatchOwner", error: Exception) -> None:
        """A timer raised: let another owner take over from the last boundary."""

    def may_judge_absence(self) -> bool:
        """False while the lease may have gone to another worker, where the absent player may be."""
