"""Prometheus metrics of the lobby, in web processes. Label sets are closed and exist from the start."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

CONNECTS: Final = ("accepted", "refused", "gone", "error")
PAIRS: Final = ("made", "declined", "absent")  # and what became of some: one declined, or one did not come

sockets = Gauge("matchpoint_lobby_sockets", "Lobby sockets that are open.")
connects = Counter("matchpoint_lobby_connects_total", "Lobby sockets by how they began.", ["result"])
waiting = Gauge("matchpoint_lobby_waiting", "Players of this process who wait for another one.")
pairs = Counter("matchpoint_lobby_pairs_total", "Pairs by what became of them.", ["outcome"])
waited = Histogram(
    "matchpoint_lobby_waiting_seconds",
    "How long players of a pair had waited.",
    buckets=(0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300),
)
failures = Counter("matchpoint_lobby_failures_total", "Beats of the lobby that failed.")

for _result in CONNECTS:
    connects.labels(_result)
for _outcome in PAIRS:
    pairs.labels(_outcome)
