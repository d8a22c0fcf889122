"""Prometheus metrics of the live servers. Label sets are closed and exist from the start: rates see the first event."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

BUCKETS: Final = (0.002, 0.005, 0.01, 0.016, 0.025, 0.033, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)

CONSUMERS: Final = ("match",)
CONNECTS: Final = ("accepted", "auth_rejected", "capacity", "gone", "error")
DISCONNECTS: Final = ("client", "timeout", "server_shutdown", "error", "protocol", "over")
MODES: Final = ("ai", "friend", "canary")
LATE_BY: Final = ("player", "server")
HANDOVERS: Final = ("moved", "freed")  # freed: no other worker took matches
OUTCOMES: Final = ("completed", "forfeit", "client_left", "abandoned", "server_error")


class Tally:
    """A number that only the event loop's thread counts, so without the lock of prometheus_client's."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1


class LoopCounter(Collector):
    """A counter of what the event loop does with every message. Its values are collected at a scrape."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._tallies: dict[tuple[str, ...], Tally] = {}
        REGISTRY.register(self)

    def labels(self, *values: str) -> Tally:
        return self._tallies.setdefault(values, Tally())

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, tally in list(self._tallies.items()):
            family.add_metric(values, tally.value)
        yield family


class LoopHistogram(Collector):
    """A histogram of what only the event loop's thread observes, as `LoopCounter`. `buckets` are upper bounds."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


build_info = Gauge("matchpoint_build_info", "The release that this process runs.", ["version", "revision"])

ws_connections = Gauge("matchpoint_ws_connections", "WebSockets that are open.", ["consumer"])
polled = Gauge("matchpoint_ws_polled", "Sockets that HTTP requests carry, because no WebSocket got through.")
ws_connects = Counter("matchpoint_ws_connects_total", "WebSocket openings by result.", ["consumer", "result"])
ws_disconnects = Counter("matchpoint_ws_disconnects_total", "WebSocket ends by reason.", ["consumer", "reason"])
ws_messages = LoopCounter(
    "matchpoint_ws_messages_total", "WebSocket messages by direction and type.", ["consumer", "direction", "type"]
)

matches_active = Gauge("matchpoint_matches_active", "Matches that this worker owns and that are not over.")
matches_started = Counter("matchpoint_matches_started_total", "Matches whose first serve was announced.", ["mode"])
matches_finished = Counter("matchpoint_matches_finished_total", "Matches that are over.", ["mode", "outcome"])
takeovers = Counter("matchpoint_match_takeovers_total", "Matches that were continued after their owner had failed.")
handovers = Counter("matchpoint_match_handovers_total", "Matches that left a draining worker between rallies.", ["to"])
crashes = Counter("matchpoint_match_crashes_total", "Matches that failed and went back to their last checkpoint.")
fenced = Counter("matchpoint_match_fenced_total", "Matches that were dropped because another worker owns them.")
set_aside = Counter("matchpoint_match_unreadable_total", "Matches that nobody can read, so nobody plays on.")

input_broadcast = LoopHistogram(
    "matchpoint_input_broadcast_seconds", "From the arrival of an input to its event in all outboxes.", buckets=BUCKETS
)
inputs_late = LoopCounter(
    "matchpoint_inputs_late_total",
    "Inputs that count later than they were made: by the player's line, or in time at the host and late by the server.",
    ["by"],
)
crossing_lag = LoopHistogram(
    "matchpoint_crossing_lag_seconds", "How late a crossing was decided against its schedule.", buckets=BUCKETS
)
grace_used = LoopHistogram(
    "matchpoint_grace_used_seconds",
    "How long after a crossing the last input arrived that still counted for it, by the players' crossings.",
    buckets=(0.001, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12),
)
player_rtt = LoopHistogram(
    "matchpoint_player_rtt_seconds",
    "Round trips of players, one sample in every five seconds of each.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.06, 0.09, 0.12, 0.2, 0.3, 0.5, 1.0),
)

loop_lag = LoopHistogram(
    "matchpoint_event_loop_lag_seconds", "How late the event loop ran a due timer.", buckets=BUCKETS
)
loop_tick = Gauge("matchpoint_event_loop_last_tick_timestamp_seconds", "When the event loop last ran the lag probe.")

results_saved = Counter("matchpoint_results_saved_total", "Results that the database has committed.")
results_failed = Counter("matchpoint_results_failed_total", "Attempts to write a result that failed.")
results_spooled = Gauge("matchpoint_results_spooled", "Results on disk that the database does not have yet.")
directory_errors = Counter("matchpoint_directory_errors_total", "Outbox to the directory that failed.")
directory_beat = Gauge("matchpoint_directory_last_beat_timestamp_seconds", "When the worker last renewed its leases.")


def _create_label_sets() -> None:
    for consumer in CONSUMERS:
        ws_connections.labels(consumer)
        for result in CONNECTS:
            ws_connects.labels(consumer, result)
        for reason in DISCONNECTS:
            ws_disconnects.labels(consumer, reason)
    for to in HANDOVERS:
        handovers.labels(to)
    for by in LATE_BY:
        inputs_late.labels(by)
    for mode in MODES:
        matches_started.labels(mode)
    for mode, outcome in product(MODES, OUTCOMES):
        matches_finished.labels(mode, outcome)


_create_label_sets()
