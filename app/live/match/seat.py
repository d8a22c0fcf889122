"""A player's side of a match: who sits there, through which socket, with what latency, and for how long it was away."""

from dataclasses import dataclass, field
from typing import Final

from live.clock import SECOND
from live.match.claims import Claims
from live.match.latency import LatencyMeter
from live.protocol.socket import Socket
from live.records import PlayerSpec

AWAY_US: Final = 30 * SECOND  # reconnect grace of a player, for the whole match
QUIET_US: Final = 1_500_000  # a page pings every second: who says nothing for so long is not served to
LOST_US: Final = 2 * SECOND  # of that at least for each lost socket: nobody puts serves off by coming and going


@dataclass(slots=True, eq=False)
class Seat:
    """One side of a match. Times in µs on the match's clock."""

    side: int
    player: PlayerSpec | None
    meter: LatencyMeter
    socket: Socket | None = None
    last_seq: int = 0
    used: int = 0  # how far back an input has counted since the last crossing of this side, at most
    away_used: int = 0
    away_since: int | None = None  # set while the grace runs
    away_least: int = 0  # what the absence that runs costs in any case
    wish: float | None = None  # where its paddle is to go when the match begins
    wants_rematch: bool = False
    reported_at: int = -60_000_000  # long ago: the first round trip is told at once
    claims: Claims = field(default_factory=Claims)

    @property
    def is_ai(self) -> bool:
        return self.player is not None and self.player.kind == "ai"

    @property
    def present(self) -> bool:
        return self.is_ai or self.socket is not None

    @property
    def is_quiet(self) -> bool:
        """Whether a player who is here has said nothing for longer than pages do."""
        return self.socket is not None and self.socket.silence() >= QUIET_US

    @property
    def grace(self) -> int:
        return 0 if self.is_ai else self.meter.grace

    def away_left(self, now: int) -> int:
        """What is left of the reconnect grace."""
        running = 0 if self.away_since is None else now - self.away_since
        return max(0, AWAY_US - self.away_used - running)

    def socket_lost(self, silence: int) -> None:
        """The player's socket ended while the match went on, after a `silence` that was an absence already."""
        self.away_least = LOST_US
        if silence >= QUIET_US:
            self.away_used += silence

    def away_start(self, now: int) -> None:
        self.away_since = now

    def away_stop(self, now: int) -> None:
        if self.away_since is not None:
            self.away_used += max(now - self.away_since, self.away_least)
            self.away_since, self.away_least = None, 0

    def input_counted(self, *, effective: int, arrived: int) -> None:
        """Remember how far back an input counts, also one that comes in time for the crossing."""
        self.used = max(self.used, arrived - effective)

    def crossing_decided(self) -> int:
        """Charge the quota; answers with what was used."""
        used, self.used = self.used, 0
        self.meter.crossing(used)
        return used
