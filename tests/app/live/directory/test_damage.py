"""A directory that is half of what it should be: gone back in time, unreadable in a place, or asked by many at once."""

import asyncio
import threading
from typing import Any

import pytest
from fakeredis import TcpFakeServer

from live import directory, metrics
from live.clock import sleep
from live.directory import Directory


async def test_a_lease_that_went_back_in_time_is_healed_by_its_owner(house: Any) -> None:
    """Valkey writes its log once a second: a crash takes the claim back that the only owner lives on."""
    worker = await house.worker()
    ada, bob = await house.pair(points=3)
    await house.clock.until(lambda: sum(ada.score) == 1)
    await house.settle()
    key = f"mp:match:{ada.match_id}:lease"
    epoch = worker.owners[ada.match_id].epoch
    await house.redis.set(key, f"{epoch - 1}:{worker.name}")

    await house.clock.advance(1.5)
    assert await house.redis.get(key) == f"{epoch}:{worker.name}"
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.redis.set(key, f"{epoch - 1}:{worker.name}")
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()

    [record] = house.saved
    assert record.score == ada.score == bob.score
    assert ada.socket.close_code is bob.socket.close_code is None
    assert await house.directory.matches.get(ada.match_id) is None


@pytest.mark.parametrize("part", ["snapshot", "lease", "timeline", ""])
async def test_an_unreadable_match_does_not_hold_up_the_others(house: Any, part: str) -> None:
    """Of three matches without an owner one cannot be read: the others go on, and the beat with them."""
    first = await house.worker("alpha-8101")
    tables = [await house.pair(points=3) for _ in range(3)]
    other = await house.worker("beta-8101")
    await house.clock.until(lambda: all(sum(ada.score) >= 1 for ada, _ in tables))
    await house.settle()
    poisoned = tables[0][0].match_id
    key = f"mp:match:{poisoned}:{part}" if part else f"mp:match:{poisoned}"
    before = metrics.set_aside._value.get()
    await house.worker_dies(first)
    if part == "timeline":
        await house.redis.rpush(key, "{")
    else:
        await house.redis.set(key, "nobody:knows" if part == "lease" else '{"schema": 1, "state"')

    await house.clock.advance(40)

    healthy = {ada.match_id for ada, _ in tables[1:]}
    assert healthy <= set(other.owners) | {record.spec.id for record in house.saved}
    assert poisoned not in other.owners
    assert metrics.set_aside._value.get() == before + 1, "it is told once, and not every second"
    assert house.clock.now() - other._renewal._heard_at < 2_000_000


@pytest.mark.parametrize("part", ["snapshot", "lease"])
async def test_an_owner_writes_anew_what_has_become_unreadable(house: Any, part: str) -> None:
    await house.worker()
    ada, bob = await house.pair(points=3)
    await house.clock.until(lambda: sum(ada.score) == 1)
    await house.settle()
    await house.redis.set(f"mp:match:{ada.match_id}:{part}", "{")

    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()

    [record] = house.saved
    assert [event["v"] for event in record.timeline] == list(range(1, len(record.timeline) + 1))


async def test_many_orphans_cost_the_adopter_no_beat(house: Any, monkeypatch: Any) -> None:
    """Each takes a while to claim: one after the other, within the beat, the adopter itself would look dead."""
    first = await house.worker("alpha-8101")
    tables = [await house.pair(points=21) for _ in range(40)]
    await house.clock.until(lambda: all(sum(ada.score) >= 1 for ada, _ in tables))
    other = await house.worker("beta-8101")
    await house.worker_dies(first)
    claim, at_once, most, oldest = house.directory.leases.claim, 0, 0, 0

    async def slow(match_id: str, *, worker: str) -> Any:
        nonlocal at_once, most, oldest
        at_once += 1
        most = max(most, at_once)
        await sleep(house.clock, 300_000)
        oldest = max(oldest, house.clock.now() - other._renewal._heard_at)
        at_once -= 1
        return await claim(match_id, worker=worker)

    monkeypatch.setattr(house.directory.leases, "claim", slow)
    await house.clock.until(lambda: len(other.owners) == len(tables), within_s=40)

    assert oldest < 2_000_000, "the beat went on"
    assert 2 <= most <= 8


async def test_players_who_come_all_at_once_wait_for_a_connection(monkeypatch: Any, settings: Any) -> None:
    """More than the pool has: an error would be taken for a directory that is away, and turn players out."""
    server = TcpFakeServer(("127.0.0.1", 0), server_type="valkey")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.VALKEY_URL = f"redis://127.0.0.1:{server.server_address[1]}"
    crowd = Directory(directory._client())
    try:
        answers = await asyncio.gather(*(crowd.matches.get(f"match{number}") for number in range(400)))
        assert answers == [None] * 400
    finally:
        await crowd.close()
        server.shutdown()
        server.server_close()
