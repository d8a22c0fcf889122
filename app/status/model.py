"""What the status page knows, in players' terms. Nothing in here names a host, a version or an address."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

State = Literal["operational", "degraded", "down", "unknown"]
Freshness = Literal["current", "last-known", "unavailable", "not-configured"]

PARTS: Final = ("site", "matches", "connections", "accounts")
LATENCIES: Final = ("pages", "moves")
DAYS: Final = 90
DAY_S: Final = 86_400
QUANTILE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that players notice now. `since`: seconds since 1970. An impact that must not be told is ""."""

    parts: tuple[str, ...]
    since: float
    impacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Now:
    """How it is at `at` (seconds since 1970)."""

    at: float
    parts: dict[str, State]
    incidents: tuple[Incident, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Whether anything is known of any part."""
        return set(self.parts.values()) != {"unknown"}

    @property
    def state(self) -> State:
        """The worst of the parts, but down only when there is no site or no game, and operational only when all are."""
        states = set(self.parts.values())
        if "down" in (self.parts["site"], self.parts["matches"]):
            return "down"
        if self.incidents or states & {"down", "degraded"}:
            return "degraded"
        return "unknown" if "unknown" in states else "operational"


@dataclass(frozen=True, slots=True)
class Day:
    """A day of UTC. `available` (0 to 1, None: not measured), for `coverage` (0 to 1) of the day's minutes."""

    date: str
    available: float | None = None
    coverage: float = 0.0


@dataclass(frozen=True, slots=True)
class LatencyDay:
    """`seconds` within which 95 of 100 were done on a day of UTC; None: not measured."""

    date: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The last 90 days as of `at` (seconds since 1970), oldest first, the last one being today so far."""

    at: float
    days: dict[str, tuple[Day, ...]]
    latency: dict[str, tuple[LatencyDay, ...]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known, and whether that is how things are now."""

    freshness: Freshness
    now: Now | None = None
    history: History | None = None

    def to_json(self) -> dict[str, Any]:
        return {"now": self.now and asdict(self.now), "history": self.history and asdict(self.history)}


def now_from_json(data: dict[str, Any]) -> Now:
    """ValueError, KeyError or TypeError when `data` is not what `Reading.to_json` wrote."""
    incidents = tuple(
        Incident(tuple(one["parts"]), float(one["since"]), tuple(one["impacts"])) for one in data["incidents"]
    )
    return Now(float(data["at"]), {part: data["parts"][part] for part in PARTS}, incidents)


def history_from_json(data: dict[str, Any]) -> History:
    """As `now_from_json`."""
    return History(
        float(data["at"]),
        {part: tuple(Day(**day) for day in data["days"][part]) for part in PARTS},
        {kind: tuple(LatencyDay(**day) for day in data["latency"][kind]) for kind in LATENCIES},
    )


def availability(days: tuple[Day, ...]) -> tuple[float | None, int]:
    """The average of all measured minutes of these days (None without any), and how many days have some."""
    measured = [(day.available, day.coverage) for day in days if day.available is not None and day.coverage > 0]
    weight = sum(coverage for _, coverage in measured)
    total = sum(available * coverage for available, coverage in measured)
    return (total / weight if weight else None), len(measured)


def merged(new: History, old: History) -> History:
    """`new`, with the days of its 90 that `old` knows more about: Prometheus forgets, or was set up anew."""

    def minutes(day: Day, history: History) -> float:
        """The last day of a history is not over, and covered as far as it has come."""
        is_today = day.date == history.days[PARTS[0]][-1].date
        return day.coverage * (history.at % DAY_S / DAY_S if is_today else 1.0)

    def better(part: str) -> tuple[Day, ...]:
        known = {day.date: day for day in old.days[part]}
        return tuple(
            known[day.date] if day.date in known and minutes(known[day.date], old) > minutes(day, new) else day
            for day in new.days[part]
        )

    def filled(kind: str) -> tuple[LatencyDay, ...]:
        known = {day.date: day for day in old.latency[kind]}
        return tuple(known.get(day.date, day) if day.seconds is None else day for day in new.latency[kind])

    return History(new.at, {part: better(part) for part in PARTS}, {kind: filled(kind) for kind in LATENCIES})
