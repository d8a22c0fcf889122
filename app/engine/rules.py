"""The numbers of the game, as one value that travels with every match, and what each version makes of them."""

from msgspec import Struct

SECOND = 1_000_000  # µs


class Rules(Struct, frozen=True):
    """Rules of one match. Lengths in field units (u), speeds in u/s, times in µs; see docs/protocol.md.

    `version` changes when the same events would mean something else. A match ends by the rules that it began with, so
    every version stays; a reader refuses one that it does not know. `hits` below are those of the rally so far.
    """

    points: int = 7
    width: float = 1000.0
    height: float = 600.0
    ball_radius: float = 10.0
    paddle_half: float = 50.0
    paddle_speed: float = 900.0
    serve_speed: float = 560.0
    speed_max: float = 1500.0
    slope_max: float = 0.85
    grace_max: int = 120_000
    version: int = 0

    def __post_init__(self) -> None:
        if self.points < 1:
            raise ValueError(f"a match needs at least 1 point, not {self.points}")

    @property
    def margin(self) -> float:
        """Least distance (u) of a paddle's centre from the walls."""
        raise NotImplementedError

    def half_at(self, hits: int) -> float:
        """Half of the paddles' height (u) in a rally of so many hits."""
        raise NotImplementedError

    def speed_after(self, speed: float, hits: int, offset: float) -> float:
        """Horizontal speed (u/s) of a ball that came with `speed` and met the paddle at `offset`, -1 to 1."""
        raise NotImplementedError

    def reach_at(self, hits: int) -> float:
        """Largest distance (u) between the centres of ball and paddle at which the paddle still returns the ball."""
        return self.half_at(hits) + self.ball_radius

    @property
    def flight_min(self) -> int:
        """Shortest time (µs) between two hits: the ball crosses the whole field at its highest speed."""
        return int(self.width * SECOND / self.speed_max)


class Rules1(Rules, frozen=True):
    """Each hit makes the ball faster by a factor; paddles are always the same."""

    version: int = 1
    speed_gain: float = 1.05

    @property
    def margin(self) -> float:
        return self.paddle_half

    def half_at(self, hits: int) -> float:
        return self.paddle_half

    def speed_after(self, speed: float, hits: int, offset: float) -> float:
        faster = speed * self.speed_gain
        return self.speed_max if faster > self.speed_max else faster


class Rules2(Rules, frozen=True):
    """Rallies come to an end: paddles burn shorter, and a ball from the edge of a paddle is fast for one flight.

    The margin is that of the shortest paddle, so that a move does not depend on the rally; the end of a longer one
    slides behind the wall.
    """

    paddle_half: float = 52.0
    paddle_speed: float = 560.0
    speed_max: float = 1667.0
    slope_max: float = 1.4
    grace_max: int = 150_000
    version: int = 2
    paddle_half_min: float = 26.0
    shrink: float = 2.0
    shrink_after: int = 2
    speed_step: float = 50.0
    speed_base: float = 1300.0
    smash: float = 1.2

    @property
    def margin(self) -> float:
        return self.paddle_half_min

    def half_at(self, hits: int) -> float:
        if hits <= self.shrink_after:
            return self.paddle_half
        half = self.paddle_half - self.shrink * (hits - self.shrink_after)
        return half if half > self.paddle_half_min else self.paddle_half_min

    def speed_after(self, speed: float, hits: int, offset: float) -> float:
        base = self.serve_speed + self.speed_step * (hits + 1)
        if base > self.speed_base:
            base = self.speed_base
        faster = base * (1.0 + self.smash * offset * offset)
        return self.speed_max if faster > self.speed_max else faster


VERSIONS: dict[int, type[Rules]] = {1: Rules1, 2: Rules2}
RULES: Rules = Rules2()


def rules_of(version: int, points: int) -> Rules:
    """The standard rules of a version. ValueError if it is not known here."""
    if version not in VERSIONS:
        raise ValueError(f"rules version {version} is not known here (known: up to {max(VERSIONS)})")
    return VERSIONS[version](points=points)
