"""Events that are kept as their JSON read like a list of them."""

import json
import sys
from typing import Any

from live.events import BLOCK, EventLog, Events, array


def events(count: int) -> list[dict[str, Any]]:
    return [
        {
            "k": "pad",
            "v": number + 1,
            "t": number * 123_457,
            "side": number % 2,
            "y": number / 7,
            "target": None,
            "seq": 1,
        }
        for number in range(count)
    ]


def test_any_part_of_a_log_is_what_was_put_there() -> None:
    for count in (0, 1, BLOCK - 1, 2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK + 1, 5 * BLOCK):
        plain, log = events(count), EventLog()
        encoded = [log.add(event) for event in plain]
        assert len(log) == count
        marks = sorted({0, 1, count // 2, max(0, count - 1), count, *range(BLOCK - 1, count, BLOCK)})
        for first in marks:
            for last in (mark for mark in marks if first <= mark <= count):
                assert log.encoded(first, last) == encoded[first:last]
                assert json.loads(Events(log, last).json(first)) == plain[first:last]


def test_what_is_added_later_is_not_in_a_view_of_before() -> None:
    plain, log = events(4 * BLOCK), EventLog()
    for event in plain[: BLOCK + 3]:
        log.add(event)
    before = Events(log, len(log))
    other = before.log()
    for event in plain[BLOCK + 3 :]:
        log.add(event)

    assert before == plain[: BLOCK + 3] == list(before)
    assert before.upto(2) == plain[:2]
    assert before.upto(10 * BLOCK) == before
    other.add({"k": "end", "v": BLOCK + 4})
    assert Events(log, len(log)) == plain == Events.of(plain)
    assert (before[0], before[-1], len(before)) == (plain[0], plain[BLOCK + 2], BLOCK + 3)


def test_an_event_takes_little_more_than_its_json() -> None:
    plain, log = events(20 * BLOCK), EventLog()
    for event in plain:
        log.add(event)
    kept = sum(map(sys.getsizeof, (*log._blocks, *log._open))) + sys.getsizeof(log._blocks) + sys.getsizeof(log._open)
    assert kept < 1.1 * len(array(log.encoded(0, len(log))))
