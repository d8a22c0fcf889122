"""The numbers of the game, as one value that travels with every match."""

from msgspec import Struct

SECOND = 1_000_000  # µs


class Rules(Struct, frozen=True):
    """Rules of one match. Lengths in field units (u), speeds in u/s, times in µs; see docs/protocol.md.

    `version` changes when the same events would mean something else; a reader refuses versions that it does not know.
    """

    points: int = 7
    width: float = 1000.0
    height: float = 600.0
    ball_radius: float = 10.0
    paddle_half: float = 50.0
    paddle_speed: float = 900.0
    serve_speed: float = 560.0
    speed_gain: float = 1.05
    speed_max: float = 1500.0
    slope_max: float = 0.85
    grace_max: int = 120_000
    version: int = 1

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(f"rules version {self.version} is not known here (known: 1)")
        if self.points < 1:
            raise ValueError(f"a match needs at least 1 point, not {self.points}")

    @property
    def reach(self) -> float:
        """Largest distance (u) between the centres of ball and paddle at which the paddle still returns the ball."""
        return self.paddle_half + self.ball_radius

    @property
    def flight_min(self) -> int:
        """Shortest time (µs) between two hits: the ball crosses the whole field at its highest speed."""
        return int(self.width * SECOND / self.speed_max)


RULES = Rules()
