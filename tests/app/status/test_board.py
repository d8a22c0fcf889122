"""What a process remembers, when it asks again, and that nobody waits for long."""

import asyncio
import os
from pathlib import Path

from status.board import ASK_EVERY_S, CURRENT_S, HISTORY_EVERY_S
from status.measure import AVAILABLE, RECORDED
from status.model import DAY_S
from tests.app.status.conftest import BoardOf, Clock, FakePrometheus


async def test_without_addresses_there_are_no_measurements(board_of: BoardOf) -> None:
    assert (await board_of().read()).freshness == "not-configured"


async def test_an_answer_holds_for_a_while(board_of: BoardOf, prometheus: FakePrometheus, clock: Clock) -> None:
    board = board_of(prometheus.url)
    readings = [await board.read() for _ in range(5)]
    assert prometheus.asked.count(RECORDED) == 1
    assert {reading.freshness for reading in readings} == {"current"}
    clock.now += ASK_EVERY_S
    await board.read()
    assert prometheus.asked.count(RECORDED) == 2
    assert prometheus.asked.count(AVAILABLE % DAY_S) == 1
    clock.now += HISTORY_EVERY_S
    await board.read()
    assert prometheus.asked.count(AVAILABLE % DAY_S) == 2


async def test_many_visitors_ask_once(board_of: BoardOf, prometheus: FakePrometheus) -> None:
    board = board_of(prometheus.url)
    readings = await asyncio.gather(*(board.read() for _ in range(50)))
    assert prometheus.asked.count(RECORDED) == 1
    assert {reading.freshness for reading in readings} == {"current"}


async def test_down_from_the_start_knows_nothing(board_of: BoardOf, prometheus: FakePrometheus) -> None:
    prometheus.stop()
    reading = await board_of(prometheus.url).read()
    assert (reading.freshness, reading.now, reading.history) == ("unavailable", None, None)


async def test_down_later_keeps_what_was_known(board_of: BoardOf, prometheus: FakePrometheus, clock: Clock) -> None:
    board = board_of(prometheus.url)
    before = await board.read()
    prometheus.stop()
    clock.now += 3600
    after = await board.read()
    assert after.freshness == "last-known"
    assert (after.now, after.history) == (before.now, before.history)


async def test_a_failure_is_told_at_once_even_when_the_last_answer_is_young(
    board_of: BoardOf, prometheus: FakePrometheus, clock: Clock
) -> None:
    board = board_of(prometheus.url)
    await board.read()
    prometheus.mode = "error"
    clock.now += ASK_EVERY_S
    assert clock.now < CURRENT_S
    assert (await board.read()).freshness == "last-known"
    prometheus.mode = "ok"
    clock.now += ASK_EVERY_S
    assert (await board.read()).freshness == "current"


async def test_a_prometheus_that_is_down_is_not_asked_by_every_visitor(
    board_of: BoardOf, prometheus: FakePrometheus
) -> None:
    prometheus.mode = "error"
    board = board_of(prometheus.url)
    for _ in range(5):
        assert (await board.read()).freshness == "unavailable"
    assert len(prometheus.asked) == 1


async def test_nobody_waits_longer_than_they_are_willing_to(
    board_of: BoardOf, prometheus: FakePrometheus, clock: Clock
) -> None:
    board = board_of(prometheus.url)
    before = await board.read()
    prometheus.mode = "hang"
    clock.now += 3600
    reading = await board.read(patience_s=0.05)  # the answer takes until the end of the test
    assert (reading.freshness, reading.now) == ("last-known", before.now)


async def test_the_event_loop_goes_on_while_prometheus_hangs(board_of: BoardOf, prometheus: FakePrometheus) -> None:
    prometheus.mode = "hang"
    reading = asyncio.ensure_future(board_of(prometheus.url).read())
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await reading).freshness == "unavailable"
    assert turns > 100, "something held the event loop"


async def test_another_prometheus_answers_for_one_that_does_not(board_of: BoardOf, prometheus: FakePrometheus) -> None:
    broken = FakePrometheus()
    broken.stop()
    assert (await board_of(broken.url, prometheus.url).read()).freshness == "current"


async def test_one_that_knows_nothing_yet_gives_way_to_one_that_does(
    board_of: BoardOf, prometheus: FakePrometheus
) -> None:
    new = FakePrometheus()
    try:
        reading = await board_of(new.url, prometheus.url).read()
        assert reading.now is not None
        assert reading.now.state == "operational"
        alone = await board_of(new.url).read()
        assert alone.now is not None
        assert (alone.freshness, alone.now.state) == ("current", "unknown")
    finally:
        new.stop()


async def test_history_that_fails_does_not_take_the_present_along(
    board_of: BoardOf, prometheus: FakePrometheus
) -> None:
    prometheus.refused.add(AVAILABLE % DAY_S)
    reading = await board_of(prometheus.url).read()
    assert reading.freshness == "current"
    assert reading.history is None


async def test_what_was_known_survives_a_restart_and_is_shared(
    board_of: BoardOf, prometheus: FakePrometheus, clock: Clock, tmp_path: Path
) -> None:
    before = await board_of(prometheus.url).read()
    prometheus.stop()
    clock.now += 600
    after = await board_of(prometheus.url).read()
    assert after.freshness == "last-known"
    assert (after.now, after.history) == (before.now, before.history)
    assert os.listdir(tmp_path) == ["status.json"], "a half of a file lies about"


async def test_days_survive_a_prometheus_that_was_set_up_anew(
    board_of: BoardOf, prometheus: FakePrometheus, clock: Clock
) -> None:
    before = await board_of(prometheus.url).read()
    prometheus.history({})
    clock.now += 600
    after = await board_of(prometheus.url).read()
    assert before.history is not None
    assert after.history is not None
    assert after.history.at > before.history.at
    assert after.history.days["site"][:-1] == before.history.days["site"][:-1]


async def test_a_file_of_another_release_is_ignored(
    board_of: BoardOf, prometheus: FakePrometheus, tmp_path: Path
) -> None:
    prometheus.stop()
    for text in ("", "{", "[]", '{"now": null, "history": null}', '{"now": {"at": 1}, "history": null}'):
        (tmp_path / "status.json").write_text(text)
        assert (await board_of(prometheus.url).read()).freshness == "unavailable"


async def test_a_disk_that_takes_nothing_is_no_reason_to_fail(
    board_of: BoardOf, prometheus: FakePrometheus, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    board = board_of(prometheus.url, path=tmp_path / "file" / "status.json")
    assert (await board.read()).freshness == "current"


async def test_alerts_of_another_shape_are_no_answer(board_of: BoardOf, prometheus: FakePrometheus) -> None:
    prometheus.alerts = ["surprise", {"labels": 3}]
    assert (await board_of(prometheus.url).read()).freshness == "unavailable"
    prometheus.alerts = [{"labels": 3, "state": "firing"}]
    assert (await board_of(prometheus.url).read()).freshness == "unavailable"
