"""The directory: who sits where, and who owns what."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import RedisError

from live import directory
from live.directory import Fenced, MatchOver, NoSuchMatch, NoWorker, Placement, SiteFull
from live.directory.model import LOAD_MAX
from live.records import Checkpoint


async def beat(house: Any, name: str, *, draining: bool = False, **owned: int) -> set[str]:
    """Answers with the matches that the worker has lost."""
    found = await house.directory.workers.beat(name, release="r1", draining=draining, owned=owned)
    return set(found.lost)


async def seat(house: Any, match_id: str, identity: str = "g:ada") -> Placement:
    taken: Placement = await house.directory.matches.seat(match_id, identity=identity, name=identity)
    return taken


async def test_matches_go_to_the_least_loaded_worker_and_all_are_used(house: Any) -> None:
    await beat(house, "alpha-8101")
    await beat(house, "alpha-8102")

    placed = [(await seat(house, await house.match())).worker for _ in range(6)]

    assert sorted(placed) == ["alpha-8101"] * 3 + ["alpha-8102"] * 3
    assert [worker.matches for worker in await house.directory.workers.alive()] == [3, 3]


async def loads(house: Any, **load: float) -> None:
    for name, share in load.items():
        await house.directory.workers.beat(f"{name}-8101", release="r1", draining=False, owned={}, load=share)


async def test_matches_go_by_what_workers_have_to_do_and_not_by_their_number(house: Any) -> None:
    await loads(house, alpha=0.5, beta=0.12)
    assert [(await seat(house, await house.match())).worker for _ in range(3)] == ["beta-8101"] * 3


async def test_full_workers_get_no_new_match_but_what_has_begun(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    await house.clock.until(lambda: ada.happened("point"))
    await house.settle()
    await house.worker_dies(next(iter(house.workers.values())))

    await loads(house, alpha=1.2, beta=0.9)
    with pytest.raises(SiteFull):
        await seat(house, await house.match())
    assert (await seat(house, ada.match_id)).worker == "beta-8101"

    await loads(house, alpha=0.8)
    assert (await seat(house, await house.match())).worker == "alpha-8101"


async def test_a_worker_tells_the_load_of_its_last_seconds(house: Any) -> None:
    await house.worker()

    async def second(busy_s: float) -> float:
        house.clock.busy += int(busy_s * 1_000_000)
        await house.clock.advance(1)
        [worker] = await house.directory.workers.alive()
        load: float = worker.load
        return load

    assert await second(1.0) < LOAD_MAX, "a second alone makes no worker full"
    assert [await second(1.0) for _ in range(8)][-1] > LOAD_MAX
    assert [await second(0.2) for _ in range(8)][-1] == pytest.approx(0.2, abs=0.1)


async def test_a_draining_worker_gets_no_new_match_but_keeps_its_own(house: Any) -> None:
    await beat(house, "alpha-8101")
    match_id = await house.match()
    await seat(house, match_id)
    await beat(house, "alpha-8101", draining=True)
    await beat(house, "alpha-8102")

    assert (await seat(house, match_id)).worker == "alpha-8101"
    assert (await seat(house, await house.match())).worker == "alpha-8102"


async def test_without_a_worker_there_is_no_seat(house: Any) -> None:
    match_id = await house.match()
    with pytest.raises(NoWorker):
        await seat(house, match_id)
    await beat(house, "alpha-8101", draining=True)
    with pytest.raises(NoWorker):
        await seat(house, match_id)


async def test_one_of_many_gets_the_free_seat_and_the_others_watch(house: Any) -> None:
    await beat(house, "alpha-8101")
    match_id = await house.match()

    seats = await asyncio.gather(*(seat(house, match_id, f"g:{number}") for number in range(8)))

    assert sorted(str(taken.side) for taken in seats) == ["1"] + ["None"] * 7
    winner = next(number for number, taken in enumerate(seats) if taken.side == 1)
    spec = await house.directory.matches.get(match_id)
    assert spec.players[1].identity == f"g:{winner}"
    assert len({taken.worker for taken in seats}) == 1


async def test_a_seat_is_kept_for_its_identity(house: Any) -> None:
    await beat(house, "alpha-8101")
    match_id = await house.match()
    await seat(house, match_id, "g:bob")

    assert (await seat(house, match_id, "g:ada")).side == 0
    assert (await seat(house, match_id, "g:bob")).side == 1
    assert (await seat(house, match_id, "g:eve")).side is None


async def test_nobody_takes_a_seat_against_the_computer(house: Any) -> None:
    await beat(house, "alpha-8101")
    assert (await seat(house, await house.match("ai"), "g:eve")).side is None


async def test_a_dead_workers_match_is_placed_anew_with_a_higher_epoch(house: Any) -> None:
    await beat(house, "alpha-8101")
    match_id = await house.match()
    await seat(house, match_id)
    first = await house.directory.leases.claim(match_id, worker="alpha-8101")
    await house.redis.delete("mp:worker:alpha-8101")
    await beat(house, "beta-8101")

    assert (await seat(house, match_id)).worker == "beta-8101"
    second = await house.directory.leases.claim(match_id, worker="beta-8101")
    assert second.epoch > first.epoch
    with pytest.raises(Fenced):
        await house.directory.leases.claim(match_id, worker="alpha-8101")
    assert await beat(house, "alpha-8101", **{match_id: first.epoch}) == {match_id}
    assert await beat(house, "beta-8101", **{match_id: second.epoch}) == set()


async def test_somebody_who_watches_takes_no_match_from_a_worker_that_looks_dead(house: Any) -> None:
    await beat(house, "alpha-8101")
    match_id = await house.match()
    await seat(house, match_id, "g:ada")
    await seat(house, match_id, "g:bob")
    await house.directory.leases.claim(match_id, worker="alpha-8101")
    await house.redis.delete("mp:worker:alpha-8101")
    await beat(house, "beta-8101")

    assert (await seat(house, match_id, "g:eve")).worker == "alpha-8101"
    assert (await seat(house, match_id, "g:bob")).worker == "beta-8101"
    assert (await seat(house, match_id, "g:eve")).worker == "beta-8101"


async def test_a_worker_that_is_silent_for_four_seconds_is_dead(house: Any) -> None:
    await beat(house, "alpha-8101")
    assert 0 < await house.redis.pttl("mp:worker:alpha-8101") <= 4_000


async def test_a_finished_match_says_so_and_an_unknown_one_too(house: Any) -> None:
    await beat(house, "alpha-8101")
    match_id = await house.match()
    await seat(house, match_id)
    claim = await house.directory.leases.claim(match_id, worker="alpha-8101")
    await house.directory.results.done(match_id, worker="alpha-8101", epoch=claim.epoch)

    with pytest.raises(MatchOver):
        await seat(house, match_id)
    with pytest.raises(MatchOver):
        await house.directory.leases.claim(match_id, worker="alpha-8101")
    with pytest.raises(NoSuchMatch):
        await seat(house, "nosuchmatch")
    assert await house.directory.matches.get(match_id) is None
    assert [worker.matches for worker in await house.directory.workers.alive()] == [0]


async def test_the_score_is_that_of_the_last_boundary(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    assert await house.directory.matches.standing(await house.match()) is None
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()

    assert (await house.directory.matches.standing(ada.match_id)).score == ada.score


async def test_no_key_is_left_when_all_is_over(house: Any) -> None:
    worker = await house.worker()
    ada, _ = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()
    await worker.stop()

    assert await house.redis.keys("*") == [f"mp:match:{ada.match_id}:over"]
    assert 0 < await house.redis.ttl(f"mp:match:{ada.match_id}:over") <= 3600


async def test_a_valkey_that_hangs_is_given_up_after_one_timeout(monkeypatch: Any, settings: Any) -> None:
    connections = 0

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    settings.VALKEY_URL = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    monkeypatch.setattr(directory, "TIMEOUT_SECONDS", 0.1)
    hanging = directory.get_directory()

    with pytest.raises(RedisError):
        await hanging.matches.get("match1")

    assert connections == 1
    await hanging.close()
    server.close()


async def test_a_boundary_that_comes_late_does_not_replace_a_newer_one(house: Any, monkeypatch: Any) -> None:
    worker = await house.worker()
    kept: list[tuple[int, Checkpoint]] = []

    async def keep(match_id: str, *, worker: str, epoch: int, checkpoint: Checkpoint, known: int) -> None:
        kept.append(({"worker": worker, "epoch": epoch}, checkpoint))

    with monkeypatch.context() as patched:
        patched.setattr(house.directory.leases, "checkpoint", keep)
        ada, _ = await house.pair(points=5)
        for played in (1, 2, 3):
            await house.clock.until(lambda played=played: sum(ada.score) == played)
            await house.settle()
    (owner, first), (_, second), (_, third) = kept[-3:]

    for checkpoint, newest in ((second, second), (first, second), (third, third)):
        await house.directory.leases.checkpoint(ada.match_id, **owner, checkpoint=checkpoint)
        assert list((await house.directory.matches.standing(ada.match_id)).score) == newest.state["score"]

    claim = await house.directory.leases.claim(ada.match_id, worker=worker.name)
    assert claim.checkpoint.timeline == third.timeline
