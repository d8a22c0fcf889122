"""Values and numbers: records and metrics."""

import dataclasses
from itertools import product
from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from live.metrics import LoopCounter, LoopHistogram
from live.protocol.tokens import SeatClaim
from live.records import FinishedMatch, MatchSpec, PlayerSpec
from live.transport import socket as live_socket

OUTCOMES = ("completed", "forfeit", "client_left", "abandoned", "server_error")


def test_records_survive_json() -> None:
    spec = MatchSpec(
        id="a1",
        mode="friend",
        level=None,
        points=7,
        players=(PlayerSpec(0, "human", "u:1", "Ada"), None),
        created_at="",
    )
    assert MatchSpec.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match="schema 3"):
        MatchSpec.from_json(spec.to_json() | {"schema": 3})


async def test_a_finished_match_survives_json(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()
    [record] = house.saved
    assert FinishedMatch.from_json(record.to_json()) == record
    assert dataclasses.replace(record).spec.players[1].name == "Bob"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_match_shows_in_the_metrics(house: Any) -> None:
    await house.worker()
    before = {
        name: value(name, **labels)
        for name, labels in {
            "matchpoint_matches_started_total": {"mode": "friend"},
            "matchpoint_matches_finished_total": {"mode": "friend", "outcome": "completed"},
            "matchpoint_crossing_lag_seconds_count": {},
            "matchpoint_grace_used_seconds_count": {},
            "matchpoint_results_saved_total": {},
        }.items()
    }
    ada, bob = await house.pair()
    assert value("matchpoint_matches_active") == 1
    assert value("matchpoint_ws_connections", consumer="match") == 2
    ada.move(100.0)
    await house.clock.until(lambda: ada.is_over)
    await house.settle()

    assert value("matchpoint_matches_active") == 0
    assert value("matchpoint_matches_started_total", mode="friend") == before["matchpoint_matches_started_total"] + 1
    finished = value("matchpoint_matches_finished_total", mode="friend", outcome="completed")
    assert finished == before["matchpoint_matches_finished_total"] + 1
    for name in list(before)[2:]:
        assert value(name) > before[name], name
    ada.socket.drop()
    bob.socket.drop()
    await house.clock.advance(0.1)
    assert value("matchpoint_ws_connections", consumer="match") == 0


async def test_the_canary_is_counted_apart(house: Any) -> None:
    names = {"started": {}, "finished": {"outcome": "completed"}}

    def counted(mode: str) -> list[float]:
        return [value(f"matchpoint_matches_{name}_total", mode=mode, **more) for name, more in names.items()]

    await house.worker()
    players, canary = counted("friend"), counted("canary")
    match_id = await house.match(points=1, match_id="canaryAAAAAAAAAAAA")
    ada = await house.player(match_id).join()
    await house.player(match_id, "g:bob").join()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()
    assert counted("friend") == players
    assert counted("canary") == [count + 1 for count in canary]
    assert [record.spec.id for record in house.saved] == [match_id]


async def test_a_fault_of_ours_at_the_door_counts_as_an_error(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(token: str) -> SeatClaim:
        raise RuntimeError("broken")

    results = ("accepted", "error", "gone")
    before = [value("matchpoint_ws_connects_total", consumer="match", result=result) for result in results]
    await house.worker()
    ada, _ = await house.pair()
    monkeypatch.setattr(live_socket, "seat_token_read", fails)
    eve = await house.player(ada.match_id, "g:eve").join(pings=False)
    with pytest.raises(RuntimeError, match="broken"):
        await eve.socket.ended()
    after = [value("matchpoint_ws_connects_total", consumer="match", result=result) for result in results]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 0]


def test_the_objective_of_the_latency_is_a_bucket() -> None:
    for name in ("input_broadcast", "event_loop_lag"):
        assert REGISTRY.get_sample_value(f"matchpoint_{name}_seconds_bucket", {"le": "0.05"}) is not None


def test_what_is_counted_without_locks_reads_as_other_metrics_do() -> None:
    counter = LoopCounter("matchpoint_spoons_total", "Spoons.", ["size"])
    histogram = LoopHistogram("matchpoint_spoon_seconds", "Spoons in time.", buckets=(0.5, 1.0))
    try:
        for size in ("small", "large", "small"):
            counter.labels(size).inc()
        for seconds in (0.25, 0.5, 0.75, 8):
            histogram.observe(seconds)
        text = generate_latest().decode()
        assert value("matchpoint_spoons_total", size="small") == 2
        buckets = [value("matchpoint_spoon_seconds_bucket", le=bound) for bound in ("0.5", "1.0", "+Inf")]
        assert buckets == [2, 3, 4]
        assert (value("matchpoint_spoon_seconds_count"), value("matchpoint_spoon_seconds_sum")) == (4, 9.5)
        assert "# TYPE matchpoint_spoons_total counter" in text
    finally:
        REGISTRY.unregister(counter)
        REGISTRY.unregister(histogram)


def test_label_sets_exist_before_the_first_event() -> None:
    for result in ("accepted", "auth_rejected", "capacity", "error"):
        labels = {"consumer": "match", "result": result}
        assert REGISTRY.get_sample_value("matchpoint_ws_connects_total", labels) is not None
    for mode, outcome in product(("ai", "friend", "canary"), OUTCOMES):
        labels = {"mode": mode, "outcome": outcome}
        assert REGISTRY.get_sample_value("matchpoint_matches_finished_total", labels) is not None
