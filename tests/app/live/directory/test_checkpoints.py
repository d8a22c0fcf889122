"""Checkpoints of many matches travel in one call, and each is judged by itself."""

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from redis.exceptions import RedisError

from live.directory import Fenced, NoSuchMatch
from live.records import Checkpoint


@pytest.fixture
async def checkpoint(house: Any) -> Checkpoint:
    """One of a match that has been played for a while."""
    worker = await house.worker()
    ada, _ = await house.pair(points=5)
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()
    kept: Checkpoint = worker.owners[ada.match_id].checkpoint
    return kept


async def lease(house: Any, match_id: str, text: str = "3:alpha-8101") -> str:
    await house.redis.set(f"mp:match:{match_id}:lease", text)
    return match_id


def as_owner(house: Any) -> Any:
    """The call that keeps a checkpoint, of the owner that such a lease names."""
    return partial(house.directory.leases.checkpoint, worker="alpha-8101", epoch=3)


async def stored(house: Any, match_id: str) -> list[Any]:
    """The stored timeline."""
    pieces = await house.redis.lrange(f"mp:match:{match_id}:timeline", 0, -1)
    return [event for piece in pieces for event in json.loads(piece)]


def earlier(checkpoint: Checkpoint, version: int) -> Checkpoint:
    return replace(
        checkpoint, state={**checkpoint.state, "version": version}, timeline=checkpoint.timeline.upto(version)
    )


async def test_what_is_wrong_with_one_is_no_matter_for_the_others(
    house: Any, checkpoint: Checkpoint, monkeypatch: Any
) -> None:
    calls: list[str] = []
    execute = type(house.redis).execute_command

    async def count(client: Any, *words: Any, **options: Any) -> Any:
        calls.append(words[0])
        return await execute(client, *words, **options)

    keep = as_owner(house)
    await keep(await lease(house, "before"), checkpoint=checkpoint)  # Valkey knows the script from here on
    healthy = [await lease(house, f"healthy{number}") for number in range(100)]
    fenced = [await lease(house, "newer", "4:beta-8101"), await lease(house, "other", "3:beta-8101")]
    poisoned = await lease(house, "poisoned")
    await house.redis.set(f"mp:match:{poisoned}:timeline", "no list")

    monkeypatch.setattr(type(house.redis), "execute_command", count)
    outcomes = await asyncio.gather(
        *(keep(match_id, checkpoint=checkpoint) for match_id in (*fenced, "unknown", poisoned, *healthy)),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes[:3]] == [Fenced, Fenced, NoSuchMatch]
    assert set(outcomes[3:]) == {None}
    assert calls == ["EVALSHA", "EVALSHA"], "one for all, and one more for what was no timeline"
    monkeypatch.undo()
    for match_id in (poisoned, healthy[0], healthy[99]):
        assert await stored(house, match_id) == checkpoint.timeline
    for match_id in (*fenced, "unknown"):
        assert not await house.redis.exists(f"mp:match:{match_id}:snapshot", f"mp:match:{match_id}:timeline")


@pytest.mark.parametrize("loses", ["nothing", "the last one", "everything", "what an older release can find"])
async def test_a_timeline_has_no_gap_whatever_was_stored_before(house: Any, checkpoint: Checkpoint, loses: str) -> None:
    """The owner sends what came since its last checkpoint, which Valkey may have lost, or have without its knowing."""
    keep, match_id = as_owner(house), await lease(house, "match2")
    snapshot, timeline = f"mp:match:{match_id}:snapshot", f"mp:match:{match_id}:timeline"
    last = len(checkpoint.timeline)
    await keep(match_id, checkpoint=earlier(checkpoint, 1))
    before = await house.redis.get(snapshot)
    await keep(match_id, checkpoint=earlier(checkpoint, 3), known=1)
    match loses:
        case "the last one":
            await house.redis.set(snapshot, before)
            await house.redis.rpop(timeline)
        case "everything":
            await house.redis.delete(snapshot, timeline)
        case "what an older release can find":
            header = json.loads(await house.redis.get(snapshot))
            await house.redis.set(snapshot, json.dumps({name: header[name] for name in header if name != "version"}))

    await keep(match_id, checkpoint=checkpoint, known=3)
    assert await stored(house, match_id) == checkpoint.timeline
    assert json.loads(await house.redis.get(snapshot))["version"] == last

    await keep(match_id, checkpoint=checkpoint, known=3)  # its answer was lost
    await keep(match_id, checkpoint=earlier(checkpoint, 3), known=1)  # and one that was held up
    assert await stored(house, match_id) == checkpoint.timeline
    assert json.loads(await house.redis.get(snapshot))["version"] == last


async def test_a_call_that_fails_fails_for_all_that_travelled_with_it(house: Any, checkpoint: Checkpoint) -> None:
    keep, ids = as_owner(house), [await lease(house, f"match{number}") for number in (2, 3)]
    house.valkey.connected = False
    outcomes = await asyncio.gather(
        *(keep(match_id, checkpoint=checkpoint) for match_id in ids), return_exceptions=True
    )
    assert all(isinstance(outcome, RedisError) for outcome in outcomes)

    house.valkey.connected = True
    await asyncio.gather(*(keep(match_id, checkpoint=checkpoint) for match_id in ids))
    assert await stored(house, ids[1]) == checkpoint.timeline
