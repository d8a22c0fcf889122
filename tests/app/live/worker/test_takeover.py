"""Matches that change their owner without being asked: crashes, restarts, partitions."""

import asyncio
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer

from live.directory import Directory, Fenced, MatchOver
from live.worker.worker import CLAIMS_MAX, Worker


async def two_points(house: Any) -> tuple[Worker, list[Any]]:
    """A match on the first of two workers, two points in, with a ball in the air."""
    first = await house.worker("alpha-8101")
    players = await house.pair(points=3)
    await house.worker("beta-8101")
    ada = players[0]
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()
    await house.clock.until(lambda: ada.now > ada.state.ball.t + 500_000)
    return first, players


async def test_a_crash_costs_the_rally_but_no_point(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    score, version = ada.score, ada.version
    await house.worker_dies(first)
    for player in (ada, bob):
        player.socket.drop()
    await house.clock.advance(2)

    await ada.join()
    await bob.join()

    assert ada.score == bob.score == score
    assert ada.version < version + 3, "the rally that was lost is played again"
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    [record] = house.saved
    assert record.reason == "score"
    assert sum(score) < sum(record.score)
    assert [event["v"] for event in record.timeline] == list(range(1, len(record.timeline) + 1))
    times = [event["t"] for event in record.timeline if event["k"] == "point"]
    assert times == sorted(times)


async def test_match_time_goes_on_over_a_takeover(house: Any) -> None:
    first, (ada, _) = await two_points(house)
    before = ada.now
    await house.worker_dies(first)
    await house.clock.advance(7)
    await ada.join()

    assert abs(ada.now - before - 7_000_000) < 10_000


async def test_a_takeover_gives_a_match_no_more_time(house: Any) -> None:
    first = await house.worker()
    ada, bob = await house.pair(aims=(0, 0))
    await house.clock.advance(25 * 60)
    await house.worker("beta-8101")
    await house.worker_dies(first)
    for player in (ada, bob):
        player.socket.drop()
    await ada.join()
    await bob.join()
    assert not ada.is_over

    await house.clock.until(lambda: ada.is_over, within_s=6 * 60)
    assert ada.state.reason == "abandoned"


async def test_a_worker_that_restarts_under_its_name_goes_on(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    score = ada.score
    del house.workers[first.name]
    await house.worker(first.name)

    await ada.join()
    await bob.join()

    assert ada.score == score
    await house.clock.until(lambda: ada.is_over and bob.is_over)


async def test_the_true_result_is_kept_whoever_else_ends_the_match(house: Any) -> None:
    """A worker that alone is cut off from the directory goes on; who stayed there leaves, and nobody hears of it."""
    first, (ada, bob) = await two_points(house)
    cut_off = Directory(FakeAsyncRedis(server=FakeServer(), decode_responses=True))
    cut_off._client.connection_pool.connection_kwargs["server"].connected = False
    first._directory = first.ending._directory = cut_off
    await house.worker_vanishes(first)
    stale = bob.socket
    await ada.join()
    await bob.join()

    stale.say("leave")
    await house.clock.advance(1)
    assert not house.saved
    assert not [event for frame in stale.heard("ev") for event in frame["e"] if event["k"] == "end"]
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()

    [record] = house.saved
    assert (record.reason, record.score) == ("score", ada.score)


async def test_a_stale_owner_is_fenced(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    stale = [player.socket for player in (ada, bob)]
    await house.worker_vanishes(first)
    await ada.join()
    await bob.join()

    await first.beat()
    await house.clock.advance(1)

    assert {socket.close_code for socket in stale} == {1012}
    assert all(socket.heard("move") for socket in stale)
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    assert len(house.saved) == 1


async def test_a_stale_owner_can_write_nothing(house: Any) -> None:
    first, (ada, _) = await two_points(house)
    old = await house.directory.leases.claim(ada.match_id, worker=first.name)
    await house.worker_vanishes(first)
    await ada.join()

    assert old.checkpoint
    owner = {"worker": first.name, "epoch": old.epoch}
    with pytest.raises(Fenced):
        await house.directory.leases.checkpoint(ada.match_id, **owner, checkpoint=old.checkpoint)
    with pytest.raises(Fenced):
        await house.directory.results.done(ada.match_id, **owner)
    with pytest.raises(Fenced):
        await house.directory.leases.release(ada.match_id, **owner)


async def test_nobody_forfeits_while_the_lease_is_in_doubt(house: Any) -> None:
    worker = await house.worker()
    ada, bob = await house.pair(points=21)
    bob.socket.drop()

    house.valkey.connected = False
    await house.clock.advance(50)
    assert not ada.is_over

    house.valkey.connected = True
    await worker.beat()
    await house.clock.advance(2)
    assert ada.state.reason == "forfeit"


async def test_a_match_waits_at_its_point_for_a_directory_that_is_away(house: Any) -> None:
    """Whether it is away for all or only for this worker, nobody here can tell: no point is told, and none is lost."""
    worker = await house.worker()
    ada, bob = await house.pair(points=3)
    points = 0
    while not ada.is_over:
        points += 1
        house.valkey.connected = False
        await house.clock.until(lambda points=points: sum(worker.owners[ada.match_id]._state.score) == points)
        await house.clock.advance(20)
        assert sum(ada.score) == sum(bob.score) == points - 1
        assert not house.saved

        house.valkey.connected = True
        await house.clock.advance(1)
        assert sum(ada.score) == sum(bob.score) == points

    assert bob.is_over
    await house.settle()
    assert [record.score for record in house.saved] == [ada.score]
    assert await house.directory.matches.get(ada.match_id) is None


@pytest.mark.parametrize("database", ["answers", "is away", "was away"])
async def test_an_end_that_the_directory_has_forgotten_is_told_again(house: Any, database: str) -> None:
    """Its file lacks the last second: it would give the match, one point before its end, to whoever looks."""
    worker = await house.worker()
    house.is_database_down = database != "answers"
    ada, _ = await house.pair(points=3)
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()
    keys = [f"mp:match:{ada.match_id}", "mp:worker:local-8101:load"]
    keys += [f"{keys[0]}:{part}" for part in ("lease", "snapshot", "timeline")]
    before = {key: await house.redis.dump(key) for key in keys}
    await house.clock.until(lambda: ada.is_over)
    await house.settle()
    if database == "was away":
        house.is_database_down = False
        await worker.results.retry(fresh_seconds=0)
        await worker.ending.retry()

    for key, value in before.items():
        await house.redis.delete(key)
        await house.redis.restore(key, 0, value)
    await house.redis.delete(f"{keys[0]}:over")
    await worker.ending.retry()
    await house.settle()

    assert await house.redis.get(f"{keys[0]}:over")
    is_stored = database != "is away"
    assert (await house.directory.matches.get(ada.match_id) is None) == is_stored
    assert bool(house.saved) == is_stored


async def test_of_two_owners_of_one_epoch_the_one_that_the_directory_names_goes_on(house: Any) -> None:
    """The directory lost the claim of one, and gave its epoch to another."""
    first, (ada, _) = await two_points(house)
    match_id, [owner] = ada.match_id, first.owners.values()
    await house.redis.set(f"mp:match:{match_id}:lease", f"{owner.epoch}:beta-8101")

    with pytest.raises(Fenced):
        await house.directory.leases.checkpoint(
            match_id, worker=first.name, epoch=owner.epoch, checkpoint=owner.checkpoint
        )
    assert not await house.directory.leases.is_owned(match_id, worker=first.name, epoch=owner.epoch)
    assert await house.directory.leases.is_owned(match_id, worker="beta-8101", epoch=owner.epoch)
    await first.beat()

    assert not first.owners
    await house.clock.until(lambda: ada.socket.heard("move"))


async def test_a_point_that_the_directory_has_lost_is_told_to_it_again(house: Any) -> None:
    """Its file lacked the last second when it came back; the lease is older, and nothing else tells of it."""
    worker = await house.worker()
    ada, _ = await house.pair(points=3)
    keys = [f"mp:match:{ada.match_id}:snapshot", f"mp:match:{ada.match_id}:timeline", f"mp:worker:{worker.name}:calls"]
    await house.clock.until(lambda: sum(ada.score) == 1)
    await house.settle()
    before = {key: await house.redis.dump(key) for key in keys}
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()
    for key, value in before.items():
        await house.redis.delete(key)
        await house.redis.restore(key, 0, value)

    await worker.beat()
    await house.settle()

    assert (await house.directory.matches.standing(ada.match_id)).score == ada.score


async def test_a_directory_that_loses_everything_learns_it_again(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    score = ada.score
    await house.redis.flushall()
    await house.clock.advance(2.5)
    await house.settle()
    await house.worker_dies(first)
    for player in (ada, bob):
        player.socket.drop()

    await ada.join()
    await bob.join()

    assert sum(ada.score) >= sum(score)
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    assert [event["v"] for event in house.saved[0].timeline] == list(range(1, len(house.saved[0].timeline) + 1))


async def test_a_stale_owner_writes_no_result(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    await house.worker_vanishes(first)
    await house.directory.matches.seat(ada.match_id, identity=ada.identity, name="Ada")  # another tab of hers
    eve = house.player(ada.match_id, "g:eve")
    await eve.join()  # the match is placed anew and taken over, while both players are still with the old owner
    await house.clock.until(lambda: ada.socket.close_code or ada.is_over)
    await first.settle()

    assert not house.saved
    await ada.join()
    await bob.join()
    await house.clock.until(lambda: ada.is_over and bob.is_over and eve.is_over)
    await house.settle()
    assert [record.timeline for record in house.saved] == [house.saved[0].timeline]
    assert house.saved[0].score == eve.score


async def test_a_point_is_told_when_it_cannot_be_lost_any_more(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=3)
    kept: list[tuple[int, int]] = []
    save = house.directory.leases.checkpoint

    async def watch(match_id: str, **fields: Any) -> None:
        assert sum(ada.score) == sum(bob.score) <= len(kept)
        await save(match_id, **fields)
        kept.append(fields["checkpoint"].state["score"])

    house.directory.leases.checkpoint = watch
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    assert list(ada.score) == kept[-1]
    assert len(kept) == sum(ada.score)


async def test_a_point_is_not_told_by_a_worker_that_may_have_lost_the_match(house: Any) -> None:
    """Its directory is slow, so slow that another worker has been given the match meanwhile."""
    first = await house.worker("alpha-8101")
    ada, bob = await house.pair(points=9)
    await house.worker("beta-8101")
    save, answers = house.directory.leases.checkpoint, asyncio.Event()

    async def slow(match_id: str, **fields: Any) -> None:
        await answers.wait()
        await save(match_id, **fields)

    house.directory.leases.checkpoint = slow
    await house.worker_vanishes(first)
    await house.clock.advance(4.5)
    before = ada.score
    await house.clock.advance(4)
    assert first.owners[ada.match_id]._state.score != before
    assert ada.score == bob.score == before

    for player in (ada, bob):
        player.follow()
    await house.directory.matches.seat(ada.match_id, identity=bob.identity, name="Bob")
    answers.set()
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    assert (ada.opened, bob.opened) == (2, 2)
    [record] = house.saved
    assert record.score == ada.score == bob.score


async def test_a_result_outlives_the_worker_that_dies_with_it(house: Any) -> None:
    first = await house.worker("alpha-8101")
    ada, bob = await house.pair()

    async def hang(record: Any) -> bool:
        await asyncio.Event().wait()
        return False

    first.results.write = hang
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    second = await house.worker("beta-8101")
    await house.worker_dies(first)
    for player in (ada, bob):
        player.socket.drop()

    await house.clock.advance(30)
    await house.settle()

    assert second.owners[ada.match_id].is_over
    [record] = house.saved
    assert (record.reason, record.score, record.winner) == ("score", ada.score, ada.state.winner)
    assert record.timeline == ada.events


async def test_a_match_whose_players_never_return_ends_all_the_same(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    for player in (ada, bob):
        player.socket.drop()
    await house.worker_dies(first)

    await house.clock.advance(19)
    assert not house.workers["beta-8101"].owners
    await house.clock.advance(15)
    assert ada.match_id in house.workers["beta-8101"].owners
    await house.clock.advance(61)
    await house.settle()

    [record] = house.saved
    assert (record.reason, record.score) == ("abandoned", ada.score)
    assert await house.redis.smembers("mp:workers") == {"beta-8101"}


async def test_a_worker_that_restarts_adopts_what_its_players_do_not_ask_for(house: Any) -> None:
    first, (ada, bob) = await two_points(house)
    for player in (ada, bob):
        player.socket.drop()
    del house.workers[first.name]
    again = await house.worker(first.name)
    await house.clock.advance(2)
    assert not again.owners

    await house.clock.advance(3)
    assert ada.match_id in again.owners
    await ada.join()
    await bob.join()
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    assert len(house.saved) == 1


async def test_a_match_that_was_never_begun_is_nobodys_business(house: Any) -> None:
    worker = await house.worker()
    match_id = await house.match()
    await house.directory.matches.seat(match_id, identity="g:ada", name="Ada")
    await house.clock.advance(10)
    assert not worker.owners
    assert (await house.directory.workers.alive())[0].matches == 1


async def test_a_match_that_fails_again_and_again_ends_with_the_score_so_far(house: Any, monkeypatch: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()
    for player in (ada, bob):
        player.follow()

    def fail(state: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr("engine.decide", fail)
    await house.clock.until(lambda: house.saved)

    [record] = house.saved
    assert (record.reason, record.winner, record.score) == ("abandoned", None, ada.score)
    assert record.timeline[-1]["k"] == "end"
    await house.settle()
    with pytest.raises(MatchOver):
        await ada.join()


async def test_a_worker_that_was_replaced_under_its_name_takes_nothing_away(house: Any) -> None:
    first = await house.worker("alpha-8101")
    del house.workers["alpha-8101"]
    await house.worker("alpha-8101")

    await house.directory.workers.gone("alpha-8101", run=first._renewal.run)

    assert [worker.name for worker in await house.directory.workers.alive()] == ["alpha-8101"]


async def test_many_matches_are_claimed_in_turn_and_all_their_players_get_in(house: Any, monkeypatch: Any) -> None:
    await house.worker()
    claim, answers, asked = house.directory.leases.claim, asyncio.Event(), []

    async def slow(match_id: str, **options: Any) -> Any:
        asked.append(match_id)
        await answers.wait()
        return await claim(match_id, **options)

    monkeypatch.setattr(house.directory.leases, "claim", slow)
    players = [house.player(await house.match(mode="ai")) for _ in range(CLAIMS_MAX + 10)]
    for player in players:
        await player.join(pings=False)
    assert len(asked) == CLAIMS_MAX
    answers.set()
    await house.clock.until(lambda: all(player.state for player in players), 5)


async def test_a_claim_does_not_wait_for_the_calls_of_other_matches(house: Any) -> None:
    worker = await house.worker()
    await house.pair()
    [owner] = worker.owners.values()
    worker.outbox.put(owner, "snapshot", asyncio.Event().wait)
    other = await house.player(await house.match(mode="ai")).join()
    await house.clock.until(lambda: other.state, 5)
    worker.outbox.drop(owner)
