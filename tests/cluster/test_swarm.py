"""The judgement of the cluster tests, on made-up logs: it lets a good run pass and finds each kind of harm."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from live.bot.site import Site
from tests.cluster.judge import Report, Run, Stored, faults, pauses, percentile, report, resumed
from tests.cluster.load import undisturbed, unnoticed
from tests.cluster.swarm import Log, Visitor

Records = list[dict[str, Any]]


def seat(side: int, worker: str = "a-1") -> dict[str, Any]:
    return {"m": "m1", "side": side, "worker": worker}


def opened(t: float, side: int, worker: str = "a-1", v: int = 0, score: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    return {"k": "open", "t": t, **seat(side, worker), "edge": "e1", "v": v, "score": list(score)}


def serve(t: float, side: int, v: int, flies: float, worker: str = "a-1") -> dict[str, Any]:
    return {"k": "serve", "t": t, **seat(side, worker), "v": v, "flies": flies}


def point(t: float, side: int, v: int, score: tuple[int, int], worker: str = "a-1") -> dict[str, Any]:
    by = 0 if score[0] > 0 else 1
    return {"k": "point", "t": t, **seat(side, worker), "v": v, "mt": v * 1000, "by": by, "score": list(score)}


def closed(t: float, side: int, code: int, worker: str = "a-1") -> dict[str, Any]:
    return {"k": "close", "t": t, **seat(side, worker), "code": code}


def over(t: float, side: int, v: int, score: tuple[int, int], reason: str = "score") -> dict[str, Any]:
    return {"k": "over", "t": t, **seat(side), "v": v, "score": list(score), "reason": reason, "winner": 0}


def stored(t: float, score: tuple[int, int] = (2, 0), reason: str = "score") -> dict[str, Any]:
    return {"k": "stored", "t": t, "m": "m1", "score": list(score), "winner": 0, "reason": reason}


def page(t: float, edge: str = "e1", why: str = "", ms: float = 10.0) -> dict[str, Any]:
    return {"k": "http", "t": t, "by": "page", "edge": edge, "status": 0 if why else 200, "ms": ms, "why": why}


def good(worker: str = "a-1") -> Records:
    """A match to two points; the second rally is on `worker`, where both players move between the rallies."""
    records: Records = [{"k": "match", "t": 10.0, "m": "m1"}, {"k": "playing", "t": 10.0, "n": 1}]
    for side in (0, 1):
        records += [
            opened(11.0, side),
            serve(11.1, side, 1, 14.0),
            point(18.0, side, 5, (1, 0)),
            *([closed(18.1, side, 0), opened(18.4, side, worker, 5, (1, 0))] if worker != "a-1" else []),
            serve(18.5, side, 6, 19.7, worker),
            point(23.0, side, 9, (2, 0), worker),
            over(23.0, side, 10, (2, 0)),
            closed(23.1, side, 1000, worker),
        ]
    return [*records, {"k": "playing", "t": 23.1, "n": 0}, stored(23.5)]


ROW = Stored((2, 0), 0, "score", ((5, 5000, 0, (1, 0)), (9, 9000, 0, (2, 0))))


def wrong(records: Records, *rows: Stored) -> str:
    run = Run.of(sorted(records, key=lambda record: record["t"]))
    return "; ".join(faults(run.matches["m1"], rows or (ROW,)))


@pytest.mark.parametrize("worker", ["a-1", "b-1"])
def test_a_match_that_all_saw_alike_has_no_fault(worker: str) -> None:
    assert wrong(good(worker)) == ""


def test_a_row_is_read_from_the_stored_timeline() -> None:
    timeline = [
        {"v": 1, "k": "serve", "t": 1000},
        {"v": 5, "k": "point", "t": 5000, "side": 0, "score": [1, 0]},
        {"v": 9, "k": "point", "t": 9000, "side": 0, "score": [2, 0]},
    ]
    assert Stored.of([2, 0], 0, "score", timeline) == ROW


def test_a_match_that_never_ends_is_a_fault() -> None:
    assert "not ended" in wrong([record for record in good() if record["k"] != "over"])


def test_a_player_who_could_not_go_on_is_a_fault() -> None:
    lost = {"k": "lost", "t": 20.0, **seat(1), "why": "no way in"}
    assert "no way in" in wrong([*good(), lost])


def test_an_end_that_a_player_missed_is_a_fault_unless_sockets_were_cut() -> None:
    missed = {"k": "missed", "t": 26.0, **seat(1)}
    records = [record for record in good() if (record["k"], record.get("side")) != ("over", 1)]
    assert "not ended" in wrong(records)
    assert wrong([*records, missed]) == "side 1 was away when it ended"
    run = Run.of(sorted([*records, missed], key=lambda record: record["t"]))
    assert faults(run.matches["m1"], [ROW], may_miss=True) == []


def test_a_match_that_ends_by_forfeit_is_a_fault() -> None:
    records = [record | ({"reason": "forfeit"} if record["k"] in ("over", "stored") else {}) for record in good()]
    assert "ended by forfeit" in wrong(records, Stored((2, 0), 0, "forfeit", ROW.points))


def test_players_who_saw_different_ends_are_a_fault() -> None:
    records = [record | ({"score": [0, 2]} if record["k"] == "over" and record["side"] else {}) for record in good()]
    assert "different ends" in wrong(records)


def test_a_point_that_is_counted_twice_is_a_fault() -> None:
    again = [opened(20.0, 0, "b-1", 3, (0, 0)), point(22.0, 0, 5, (1, 0), "b-1")]
    assert "was welcomed with 0:0 after 1:0" in wrong([*good(), *again])


def test_a_point_that_nobody_counted_for_one_player_is_a_fault() -> None:
    records = [record for record in good() if not (record["k"] == "point" and record["v"] == 5 and record["side"] == 1)]
    assert "saw a point that makes it 2:0 after 0:0" in wrong(records)


def test_a_point_that_was_told_by_a_key_frame_only_is_no_fault() -> None:
    records = [
        record for record in good("b-1") if not (record["k"] == "point" and record["v"] == 5 and record["side"] == 1)
    ]
    assert wrong(records) == ""


def test_a_rally_that_is_stored_otherwise_than_it_was_seen_is_a_fault() -> None:
    other = Stored((2, 0), 0, "score", ((5, 5000, 0, (1, 0)), (11, 11000, 0, (2, 0))))
    assert "not so in the stored timeline" in wrong(good(), other)


@pytest.mark.parametrize("rows", [(ROW, ROW), ()])
def test_each_match_is_stored_exactly_once(rows: tuple[Stored, ...]) -> None:
    run = Run.of(good())
    assert faults(run.matches["m1"], rows) == [f"it is stored {len(rows)} times"]


def test_a_stored_score_that_is_not_the_seen_one_is_a_fault() -> None:
    assert "the database has" in wrong(good(), Stored((2, 1), 0, "score", ROW.points))


def test_a_result_that_is_not_acknowledged_is_a_fault() -> None:
    records = [record for record in good() if record["k"] != "stored"]
    assert "not acknowledged" in wrong([*records, {"k": "missing", "t": 90.0, "m": "m1", "why": "live"}])


def test_a_pause_is_what_goes_beyond_the_countdown() -> None:
    records = good("b-1")
    for record in records:
        if record["k"] == "serve" and record["v"] == 6:
            record["flies"] = 18.0 + 1.2 + 0.8
    found = pauses(Run.of(records).matches["m1"], 0, 99)
    assert [(round(pause.s, 6), pause.is_moved) for pause in found] == [(0.8, True), (0.8, True)]


def test_a_pause_ends_with_the_serve_that_was_played() -> None:
    withdrawn = [serve(18.05, 0, 6, 19.25)]  # on the worker that then gave the match away
    found = pauses(Run.of(sorted([*good("b-1"), *withdrawn], key=lambda one: one["t"])).matches["m1"], 0, 99)
    assert [round(pause.s, 6) for pause in found] == [0.5, 0.5]


def test_a_match_goes_on_when_the_ball_flies_on_another_worker_for_both() -> None:
    died_at = 18.05
    (found,) = resumed(Run.of(good("b-1")), "a-1", died_at)
    assert (found.match, round(found.s, 6), found.worker) == ("m1", 1.65, "b-1")


def test_a_match_that_stays_dead_never_goes_on() -> None:
    records = [record for record in good("b-1") if record["t"] < 18.3]
    assert [found.s for found in resumed(Run.of(records), "a-1", 18.05)] == [float("inf")]


def test_a_match_of_another_worker_is_not_concerned() -> None:
    assert resumed(Run.of(good()), "b-1", 18.05) == []


def test_the_report_counts_what_players_noticed_in_the_window_only() -> None:
    records = [
        *good("b-1"),
        closed(20.0, 0, 1006, "b-1"),
        closed(21.0, 0, -1, "b-1"),
        page(12.0),
        page(13.0, why="503"),
    ]
    records += [page(14.0, "e2", "no route"), page(35.0, why="begun in time", ms=10_000), page(50.0, why="later")]
    told = report(Run.of(sorted(records, key=lambda one: one["t"])), {"m1": [ROW]}, 5.0, 30.0, dead_edges=["e2"])
    assert (told.matches, told.wrong, told.requests, len(told.failed)) == (1, {}, 3, 2)
    assert (told.reconnects_max, told.moves_max) == (2, 1)
    assert len(told.moved_pauses) == 2
    assert all(told.lines())


@pytest.mark.parametrize(("status", "why"), [(200, ""), (201, ""), (409, ""), (503, "no worker"), (404, "no worker")])
def test_what_a_bot_did_not_want_is_written_down_as_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, why: str
) -> None:
    monkeypatch.setattr(Site, "_request", lambda *_: (status, "no worker"))
    visitor = Visitor("https://pong.example.com", ca=None, edges=["192.0.2.1"], first=0, log=Log(tmp_path / "log"))
    visitor._request("POST", "/api/matches")
    (record,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (record["status"], record["why"]) == (status, why)


def load_told(**changed: Any) -> Report:
    """What players are told to notice of a drill without harm, with one thing changed."""
    told = report(Run.of(good("b-1")), {"m1": [ROW]}, 0, 100)
    fine = {"playing_min": 40, "pages": 2000, "reconnects": Counter(), "pauses": [0.1]}
    moved = {"moves": Counter({("m1", 0): 1}), "moved_pauses": [0.1]}
    return replace(told, **fine | moved | changed)


def test_a_drill_without_the_whole_load_proves_nothing() -> None:
    unnoticed(load_told())
    for less in ({"playing_min": 39}, {"pages": 900}, {"moves": Counter()}):
        with pytest.raises(AssertionError):
            unnoticed(load_told(**less))


def test_players_of_a_release_that_never_served_notice_nothing() -> None:
    undisturbed(load_told())
    for more in ({"reconnects": Counter({("m1", 0): 1})}, {"pauses": [0.1, 1.6]}):
        with pytest.raises(AssertionError):
            undisturbed(load_told(**more))


def test_the_report_names_the_match_with_a_fault() -> None:
    assert list(report(Run.of(good()), {}, 0.0, 99.0).wrong) == ["m1"]


def test_percentiles_are_values_that_occurred() -> None:
    assert [percentile(range(1, 101), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([], 0.99) == 0


def test_a_log_that_still_grows_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    *before, last = [json.dumps(record) for record in good()]
    path.write_text("\n".join([*before, last[:9]]))
    run = Run()
    run.follow(path)
    assert not run.matches["m1"].stored
    path.write_text("\n".join([*before, last, ""]))
    run.follow(path)
    assert run.matches["m1"].stored
