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
