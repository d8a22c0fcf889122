"""A match is played by rules that its pages and workers know, and by those that it began with to its end."""

import json
from typing import Any

import pytest

from live.directory import NoWorker
from live.records import MatchSpec


async def rules_of_result(house: Any, ada: Any) -> int:
    await house.clock.until(lambda: ada.is_over, 120)
    await house.settle()
    [record] = house.saved
    version: int = record.rules_version
    return version


async def test_pages_of_this_release_play_by_the_newest_rules(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    assert ada.state.rules == bob.state.rules
    assert await rules_of_result(house, ada) == 2


async def test_a_page_of_an_older_release_is_met_by_rules_that_it_knows(house: Any) -> None:
    await house.worker()
    match_id = await house.match()
    ada = await house.player(match_id, "g:ada").join()
    assert ada.state.rules.version == 2
    bob = house.player(match_id, "g:bob")
    bob.protocol = 1
    await bob.join()

    assert (ada.state.rules.version, bob.state.rules.version) == (1, 1)
    assert len(ada.socket.heard("welcome")) == 2
    assert await rules_of_result(house, ada) == 1


async def test_a_page_of_an_older_release_is_sent_for_a_new_one_when_it_is_too_late_to_agree(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    old = house.player(ada.match_id, "g:bob")
    watcher = house.player(ada.match_id, "g:eve")
    for page in (old, watcher):
        page.protocol = 1
        await page.join()
        await house.clock.advance(0.1)
        assert page.socket.close_code == 4426
        assert not page.socket.heard("welcome")
    assert bob.socket.close_code is None  # it has kept its seat
    assert await rules_of_result(house, ada) == 2


async def test_while_releases_change_a_match_is_played_by_what_every_worker_knows(house: Any) -> None:
    await house.worker()
    older = {"draining": True, "release": "r0", "schema": 1}
    await house.redis.set("mp:worker:old-8101", json.dumps(older))
    await house.redis.sadd("mp:workers", "old-8101")
    ada, _bob = await house.pair()
    assert ada.state.rules.version == 1
    assert await rules_of_result(house, ada) == 1


async def test_a_match_by_newer_rules_is_not_given_to_a_worker_that_does_not_know_them(house: Any) -> None:
    worker = await house.worker()
    ada, _bob = await house.pair()
    await house.clock.until(lambda: sum(ada.score) == 1)
    await house.settle()
    await house.redis.set("mp:worker:old-8101", json.dumps({"draining": False, "release": "r0", "schema": 1}))
    await house.redis.sadd("mp:workers", "old-8101")
    await house.worker_dies(worker)
    with pytest.raises(NoWorker):
        await house.directory.matches.seat(ada.match_id, identity="g:ada", name="Ada")


def test_a_match_that_an_older_release_has_opened_is_played_by_its_rules() -> None:
    spec = MatchSpec("m", "friend", None, 7, (None, None), "2026-01-01T00:00:00+00:00")
    data = spec.to_json()
    assert MatchSpec.from_json(data) == spec
    del data["rules_version"]
    assert MatchSpec.from_json(data).rules_version == 1
