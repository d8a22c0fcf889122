"""What one release leaves behind, another one reads: older ones for ever, newer ones as far as can be."""

import json
from pathlib import Path
from typing import Any

import pytest

from live.directory.model import NoWorker
from live.protocol.tokens import seat_token
from live.records import SCHEMA, FinishedMatch, UnknownSchema

FOLDER = Path(__file__).parent / "states"
STATES: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
LAST = max(STATES)


async def load(house: Any, state: dict[str, Any]) -> None:
    """Valkey as the other release left it; its worker is dead."""
    for key, value in state["valkey"].items():
        match value:
            case str():
                await house.redis.set(key, value)
            case dict():
                await house.redis.zadd(key, value)
            case list() if key == "mp:workers":
                await house.redis.sadd(key, *value)
            case list():
                await house.redis.rpush(key, *value)
    await house.redis.delete("mp:worker:alpha-8101")


async def edit(house: Any, key: str, **changes: Any) -> dict[str, Any]:
    """Change fields of a JSON value; `a__b` is the field b of a."""
    data: dict[str, Any] = json.loads(await house.redis.get(key))
    for path, value in changes.items():
        *parents, name = path.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[name] = value
    await house.redis.set(key, json.dumps(data))
    return data


async def play_on(house: Any) -> FinishedMatch:
    """Both players come to the recorded match and play it to its end."""
    ada = await house.player("match1", "g:ada").join()
    bob = await house.player("match1", "g:bob").join()
    assert sum(ada.score) > 0
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    [record] = house.saved
    assert [event["v"] for event in record.timeline] == list(range(1, len(record.timeline) + 1))
    found: FinishedMatch = record
    return found


def test_there_is_a_recorded_state() -> None:
    assert STATES


@pytest.mark.parametrize("release", STATES)
async def test_a_match_of_an_older_release_goes_on(house: Any, release: str) -> None:
    state = STATES[release]
    await load(house, state)
    await house.worker("beta-8101")

    record = await play_on(house)

    before = json.loads(state["valkey"]["mp:match:match1:timeline"][-1])
    assert before[-1] in record.timeline
    assert record.reason == "score"


@pytest.mark.parametrize("release", STATES)
async def test_a_spooled_result_of_an_older_release_is_stored(house: Any, release: str) -> None:
    worker = await house.worker()
    spooled = STATES[release]["spool"]
    house.spool.mkdir()
    (house.spool / "match1.json").write_text(json.dumps(spooled))

    assert await worker.results.retry(fresh_seconds=0) == 0

    [record] = house.saved
    assert (record.spec.id, list(record.score)) == ("match1", spooled["score"])


async def test_fields_of_a_later_release_are_passed_over(house: Any) -> None:
    await load(house, STATES[LAST])
    await edit(house, "mp:match:match1", weather="rain", players=[
        {"side": 0, "kind": "human", "identity": "g:ada", "name": "Ada", "flag": "se"},
        {"side": 1, "kind": "human", "identity": "g:bob", "name": "Bob", "flag": "no"},
    ])  # fmt: skip
    await edit(
        house, "mp:match:match1:snapshot", umpire="Eve", state__mood="good", state__rules__wind=0,
        handover={"resumable": [], "present": [True, True], "mood": "good"},
    )  # fmt: skip
    worker = await house.worker("beta-8101")
    await edit(house, "mp:worker:beta-8101", cores=4)

    assert [other.name for other in await house.directory.workers.alive()] == ["beta-8101"]
    await play_on(house)
    assert worker.name == "beta-8101"


async def test_a_newer_schema_stays_with_those_who_can_read_it(house: Any) -> None:
    await load(house, STATES[LAST])
    await edit(house, "mp:match:match1:snapshot", schema=SCHEMA + 1, state__schema=2)
    await house.worker("beta-8101")
    with pytest.raises(NoWorker):
        await house.directory.matches.seat("match1", identity="g:ada", name="Ada")

    await house.redis.set("mp:worker:new-8101", json.dumps({"draining": False, "release": "r2", "schema": SCHEMA + 1}))
    await house.redis.sadd("mp:workers", "new-8101")
    assert (await house.directory.matches.seat("match1", identity="g:ada", name="Ada")).worker == "new-8101"


async def test_a_worker_that_was_given_a_match_it_cannot_read_passes_it_on(house: Any) -> None:
    await load(house, STATES[LAST])
    await house.worker("beta-8101")
    await house.directory.matches.seat("match1", identity="g:ada", name="Ada")
    await edit(house, "mp:match:match1:snapshot", schema=SCHEMA + 1)
    await house.redis.set("mp:worker:new-8101", json.dumps({"draining": False, "release": "r2", "schema": SCHEMA + 1}))
    await house.redis.sadd("mp:workers", "new-8101")

    socket = house.socket()
    socket.open("/ws/beta-8101/match/match1")
    token = seat_token(match_id="match1", identity="g:ada", side=0, worker="beta-8101")
    socket.say("hello", protocol=1, token=token, version=0)
    await house.clock.advance(0.1)

    assert socket.close_code == 1012
    assert (await house.directory.matches.seat("match1", identity="g:ada", name="Ada")).worker == "new-8101"


async def test_a_spec_of_a_newer_schema_is_refused_and_stays(house: Any) -> None:
    await load(house, STATES[LAST])
    before = await edit(house, "mp:match:match1", schema=SCHEMA + 1)
    await house.worker("beta-8101")
    with pytest.raises(UnknownSchema):
        await house.directory.matches.seat("match1", identity="g:ada", name="Ada")
    assert json.loads(await house.redis.get("mp:match:match1")) == before
