"""Results reach the database once, whatever fails on the way."""

import dataclasses
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from live.directory import MatchOver
from live.records import FinishedMatch, MatchSpec, PlayerSpec
from live.worker.results import ResultWriter


@pytest.fixture
def record() -> FinishedMatch:
    players = (
        PlayerSpec(side=0, kind="human", identity="g:ada", name="Ada"),
        PlayerSpec(side=1, kind="ai", identity="ai:easy", name="Computer"),
    )
    spec = MatchSpec(
        id="abc123", mode="ai", level="easy", points=3, players=players, created_at="2026-01-01T12:00:00+00:00"
    )
    return FinishedMatch(
        spec=spec,
        started_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
        finished_at=datetime(2026, 1, 1, 12, 3, tzinfo=UTC),
        duration_us=180_000_000,
        winner=0,
        reason="score",
        score=(3, 1),
        rules_version=1,
        timeline=[{"k": "end", "v": 1, "t": 5, "winner": 0, "reason": "score", "score": [3, 1]}],
    )


class Database:
    def __init__(self) -> None:
        self.rows: dict[str, FinishedMatch] = {}
        self.attempts = 0
        self.is_down = False

    def save(self, record: FinishedMatch) -> bool:
        self.attempts += 1
        if self.is_down:
            raise ConnectionError("down")
        is_new = record.spec.id not in self.rows
        self.rows.setdefault(record.spec.id, record)
        return is_new


def spooled(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.glob("*"))


async def test_a_result_that_is_saved_leaves_nothing_in_the_spool(tmp_path: Path, record: FinishedMatch) -> None:
    database = Database()
    writer = ResultWriter(tmp_path, database.save)

    assert await writer.write(record)

    assert database.rows == {"abc123": record}
    assert spooled(tmp_path) == []


async def test_a_result_waits_on_disk_while_the_database_is_down(tmp_path: Path, record: FinishedMatch) -> None:
    database = Database()
    database.is_down = True
    assert not await ResultWriter(tmp_path, database.save).write(record)
    assert spooled(tmp_path) == ["abc123.json"]

    # Another process of the same host finds it.
    other = ResultWriter(tmp_path, database.save)
    assert await other.retry(fresh_seconds=0) == 1
    database.is_down = False
    assert await other.retry(fresh_seconds=0) == 0

    assert database.rows == {"abc123": record}
    assert spooled(tmp_path) == []


async def test_a_write_that_is_repeated_saves_once(tmp_path: Path, record: FinishedMatch) -> None:
    database = Database()
    writer = ResultWriter(tmp_path, database.save)
    assert await writer.write(record)
    assert await writer.write(record)
    assert len(database.rows) == 1


async def test_files_that_are_being_written_are_left_alone(tmp_path: Path, record: FinishedMatch) -> None:
    database = Database()
    database.is_down = True
    writer = ResultWriter(tmp_path, database.save)
    await writer.write(record)
    database.attempts = 0

    assert await writer.retry() == 1
    assert database.attempts == 0


async def test_a_damaged_file_does_not_hold_up_the_others(tmp_path: Path, record: FinishedMatch) -> None:
    database = Database()
    (tmp_path / "aaa.json").write_text("{")
    (tmp_path / "abc123.json").write_text(json.dumps(record.to_json()))

    assert await ResultWriter(tmp_path, database.save).retry(fresh_seconds=0) == 1

    assert database.rows == {"abc123": record}
    assert spooled(tmp_path) == ["aaa.json"]


async def test_an_entry_that_cannot_be_opened_does_not_hold_up_the_others(
    tmp_path: Path, record: FinishedMatch
) -> None:
    database = Database()
    (tmp_path / "aaa.json").mkdir()
    (tmp_path / "abb.json").write_text("[]")
    (tmp_path / "abc123.json").write_text(json.dumps(record.to_json()))

    await ResultWriter(tmp_path, database.save).retry(fresh_seconds=0)

    assert database.rows == {"abc123": record}


async def test_a_result_that_the_database_refuses_does_not_hold_up_the_others(
    tmp_path: Path, record: FinishedMatch
) -> None:
    database = Database()

    def save(record: FinishedMatch) -> bool:
        if record.spec.id == "aaa":
            raise ValueError("a constraint")
        return database.save(record)

    refused = dataclasses.replace(record, spec=dataclasses.replace(record.spec, id="aaa"))
    for waiting in (refused, record):
        (tmp_path / f"{waiting.spec.id}.json").write_text(json.dumps(waiting.to_json()))

    assert await ResultWriter(tmp_path, save).retry(fresh_seconds=0) == 1

    assert list(database.rows) == ["abc123"]
    assert spooled(tmp_path) == ["aaa.json"]


async def test_a_database_that_is_down_is_asked_once_a_round(tmp_path: Path, record: FinishedMatch) -> None:
    for match_id in ("aaa", "bbb"):
        waiting = dataclasses.replace(record, spec=dataclasses.replace(record.spec, id=match_id))
        (tmp_path / f"{match_id}.json").write_text(json.dumps(waiting.to_json()))
    asked = 0

    def match_finish(*, record: FinishedMatch) -> bool:
        nonlocal asked
        asked += 1
        raise OperationalError("connection refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matches.services.match_finish", match_finish)
        assert await ResultWriter(tmp_path).retry(fresh_seconds=0) == 2
    assert asked == 1


async def test_without_a_disk_the_database_still_gets_it(tmp_path: Path, record: FinishedMatch) -> None:
    spool = tmp_path / "file"
    spool.write_text("in the way")
    database = Database()
    writer = ResultWriter(spool, database.save)

    assert await writer.write(record)
    assert database.rows
    database.is_down = True
    with pytest.raises(ConnectionError):
        await writer.write(dataclasses.replace(record))


async def test_a_match_is_over_in_the_directory_only_when_its_result_is_durable(house: Any) -> None:
    worker = await house.worker()
    house.is_database_down = True
    ada, _ = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()
    assert [path.name for path in house.spool.glob("*")] == [f"{ada.match_id}.json"]

    assert (await house.directory.matches.standing(ada.match_id)).is_over
    with pytest.raises(MatchOver):
        await ada.join()

    house.is_database_down = False
    await worker.results.retry(fresh_seconds=0)
    await worker.ending.retry()

    [record] = house.saved
    assert record.score == ada.score
    assert list(house.spool.glob("*")) == []
    assert await house.redis.keys("mp:match:*") == [f"mp:match:{ada.match_id}:over"]


async def test_a_result_outlives_the_host_that_spooled_it(house: Any) -> None:
    """The database was away at the end, and the host is lost with its disk: Valkey still knows how it ended."""
    first = await house.worker("alpha-8101")
    house.is_database_down = True
    ada, _ = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()
    for path in house.spool.glob("*"):
        path.unlink()
    await house.worker_dies(first)
    house.is_database_down = False
    other = await house.worker("beta-8101")

    await other.ending.retry()
    assert not house.saved, "whoever has it is given time"
    await house.redis.zadd("mp:results", {ada.match_id: 0})
    await other.ending.retry()

    [record] = house.saved
    assert (record.score, record.reason, record.winner) == (ada.score, "score", ada.state.winner)
    assert await house.redis.zcard("mp:results") == 0
    assert await house.directory.matches.get(ada.match_id) is None


async def test_a_match_whose_result_is_on_its_way_is_not_played_again(house: Any) -> None:
    await house.worker()
    house.database_answers.clear()
    ada, bob = await house.pair()
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    for player in (ada, bob):
        player.socket.drop()
    await house.clock.advance(1)

    again = await house.player(ada.match_id, "g:ada").join()
    assert again.socket.close_code == 4404

    house.database_answers.set()
    await house.settle()
    assert len(house.saved) == 1
    with pytest.raises(MatchOver):
        await again.join()


@pytest.mark.django_db(transaction=True)
async def test_the_database_gets_seats_and_timeline(house: Any, tmp_path: Path) -> None:
    from matches.models import Match

    house.saves_in_database = True
    await house.worker()
    ada, _ = await house.pair()
    await house.clock.until(lambda: ada.is_over)
    await house.settle()

    match = await Match.objects.select_related("timeline").aget(public_id=ada.match_id)
    assert match.score == ada.score
    assert [seat.name async for seat in match.seats.order_by("side")] == ["Ada", "Bob"]
    assert match.timeline.events[-1]["k"] == "end"


async def test_a_spooled_result_is_on_the_disk_with_its_name(
    tmp_path: Path, record: FinishedMatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that loses its power keeps what was synced: the file before it gets its name, then the name."""
    synced: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((path.name, path.stat().st_size if path.is_file() else 0))

    monkeypatch.setattr("live.worker.results.os.fsync", fsync)
    writer = ResultWriter(tmp_path / "results", lambda record: True)
    await writer.write(record)
    writer.close()

    assert [name for name, _ in synced] == [f"{record.spec.id}.part", "results"]
    assert synced[0][1] == len(json.dumps(record.to_json()))
