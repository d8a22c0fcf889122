"""What a worker does again and again goes on when it fails once."""

import asyncio
from typing import Any

import pytest

from live import metrics
from live.worker import worker as live_worker


async def test_the_probe_of_the_event_loop_outlives_a_failure(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its silence would look like a loop that hangs."""
    measured: list[float] = []

    def observe(seconds: float) -> None:
        measured.append(seconds)
        if len(measured) == 1:
            raise OSError("once")

    monkeypatch.setattr(live_worker, "PROBE_SECONDS", 0.001)
    monkeypatch.setattr(live_worker, "IDLE_SECONDS", 0.001)
    monkeypatch.setattr(metrics.loop_lag, "observe", observe)
    worker = await house.worker()
    await worker.start()
    try:
        async with asyncio.timeout(5):
            while len(measured) < 3:  # noqa: ASYNC110 - it is the loop that is tested
                await asyncio.sleep(0.001)
    finally:
        for loop in worker._loops:
            loop.cancel()


async def test_a_worker_without_players_wakes_once_a_second_and_one_with_them_as_often_as_it_has_to(house: Any) -> None:
    worker = await house.worker()
    assert [worker._pause(seconds) for seconds in (0.1, 0.5, 5.0)] == [1.0, 1.0, 5.0]
    worker.connections[object()] = None
    assert [worker._pause(seconds) for seconds in (0.1, 0.5, 5.0)] == [0.1, 0.5, 5.0]
