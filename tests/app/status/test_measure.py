"""What the answers of Prometheus mean for players."""

import json
from typing import Any

import pytest

from status.measure import (
    BEST_LATELY,
    ERRORS,
    RECORDED,
    RESULTS_WAITING,
    WAYS,
    incidents_of,
    measure_history,
    measure_now,
)
from status.model import DAY_S, DAYS, PARTS, Day, Now, State, availability, merged
from status.prometheus import Prometheus, Unavailable
from tests.app.status.conftest import NOON, FakePrometheus


def now_of(fake: FakePrometheus) -> Now:
    with Prometheus(fake.url, seconds=5) as prometheus:
        return measure_now(prometheus, at=NOON)


def alert(name: str = "PostgresDown", **changes: Any) -> dict[str, Any]:
    labels = {"alertname": name, "severity": "page", "component": "postgres", "host": "db1"}
    annotations = {"impact": "Nobody can sign in.", "description": "db1 is down", "runbook_url": "https://x/ops/"}
    return {
        "labels": labels | changes.pop("labels", {}),
        "annotations": annotations | changes.pop("annotations", {}),
        "state": "firing",
        "activeAt": "2026-03-10T11:40:00.123456789Z",
        "value": "0e+00",
        **changes,
    }


def test_a_good_site_is_operational(prometheus: FakePrometheus) -> None:
    now = now_of(prometheus)
    assert now.parts == dict.fromkeys(PARTS, "operational")
    assert (now.state, now.incidents) == ("operational", ())


@pytest.mark.parametrize(
    ("ratio", "state"),
    [("1", "operational"), ("0.75", "operational"), ("0.5", "degraded"), ("0", "down"), ("NaN", "unknown")],
)
def test_the_site_is_as_good_as_its_probe(prometheus: FakePrometheus, ratio: str, state: State) -> None:
    prometheus.ratios(site=ratio, matches="1")
    assert now_of(prometheus).parts["site"] == state


def test_one_failed_canary_is_not_the_end_but_two_are(prometheus: FakePrometheus) -> None:
    prometheus.ratios(site="1", matches="0")
    assert now_of(prometheus).parts["matches"] == "down"
    prometheus.instants[BEST_LATELY] = [({"part": "matches"}, "1")]
    assert now_of(prometheus).parts["matches"] == "degraded"


def test_a_game_that_only_misses_its_database_is_played(prometheus: FakePrometheus) -> None:
    prometheus.ratios(site="1", matches="0", connections="1", accounts="0")
    now = now_of(prometheus)
    assert (now.parts["matches"], now.parts["accounts"], now.state) == ("degraded", "down", "degraded")
    prometheus.ratios(site="1", matches="0", connections="0", accounts="0")
    assert now_of(prometheus).parts["matches"] == "down"


@pytest.mark.parametrize(
    ("query", "vector", "part"),
    [
        (WAYS, [({"probe": "https_home"}, "0")], "site"),
        (WAYS, [({"probe": "wss"}, "0")], "connections"),
        (ERRORS, [({"sloth_slo": "page-availability"}, "0.2")], "site"),
        (ERRORS, [({"sloth_slo": "match-availability"}, "0.2")], "matches"),
        (ERRORS, [({"sloth_slo": "socket-connect"}, "0.2")], "connections"),
        (RESULTS_WAITING, [({}, "3")], "accounts"),
    ],
)
def test_what_fails_in_part_degrades_its_part_alone(
    prometheus: FakePrometheus, query: str, vector: list[Any], part: str
) -> None:
    prometheus.instants[query] = vector
    now = now_of(prometheus)
    assert now.parts == dict.fromkeys(PARTS, "operational") | {part: "degraded"}
    assert now.state == "degraded"


def test_errors_below_what_players_notice_change_nothing(prometheus: FakePrometheus) -> None:
    prometheus.instants[ERRORS] = [({"sloth_slo": "page-availability"}, "0.01"), ({"sloth_slo": "new"}, "1")]
    assert now_of(prometheus).state == "operational"


def test_what_is_not_measured_is_unknown(prometheus: FakePrometheus) -> None:
    prometheus.instants = {}
    now = now_of(prometheus)
    assert now.parts == dict.fromkeys(PARTS, "unknown")
    assert now.state == "unknown"


def test_partial_data_says_what_it_knows(prometheus: FakePrometheus) -> None:
    prometheus.instants = {RECORDED: [({"part": "site"}, "1")]}
    now = now_of(prometheus)
    assert now.parts == {"site": "operational", "matches": "unknown", "connections": "unknown", "accounts": "unknown"}
    assert now.state == "unknown"
    prometheus.ratios(site="0.5")
    assert now_of(prometheus).state == "degraded"


def test_an_incident_of_no_part_degrades_the_whole(prometheus: FakePrometheus) -> None:
    prometheus.alerts = [alert("HostFilesystemReadOnly", labels={"component": "host"})]
    now = now_of(prometheus)
    assert now.parts == dict.fromkeys(PARTS, "operational")
    assert now.state == "degraded"
    prometheus.ratios(site="0", matches="1")
    assert now_of(prometheus).state == "down"


def test_a_page_is_an_incident_and_degrades_what_it_is_about(prometheus: FakePrometheus) -> None:
    prometheus.alerts = [alert()]
    now = now_of(prometheus)
    (incident,) = now.incidents
    assert incident.parts == ("accounts",)
    assert incident.impacts == ("Nobody can sign in.",)
    assert incident.since == pytest.approx(NOON - 20 * 60, abs=1)
    assert now.parts["accounts"] == "degraded"
    assert "db1" not in json.dumps([incident.impacts, incident.parts])


@pytest.mark.parametrize(
    "silent",
    [
        alert(labels={"severity": "ticket"}),
        alert(labels={"severity": "none"}),
        alert(state="pending"),
        alert(annotations={"impact": "None yet. When it is full, nobody can sign in."}),
    ],
)
def test_what_players_do_not_notice_is_no_incident(silent: dict[str, Any]) -> None:
    assert incidents_of([silent]) == ()


def test_alerts_about_one_thing_are_one_incident_since_the_first() -> None:
    first = alert(activeAt="2026-03-10T09:00:00Z")
    same = alert(labels={"host": "db2"})
    other = alert("PostgresTwoPrimaries", annotations={"impact": "Results are late."})
    elsewhere = alert("HostOnFire", labels={"component": "host"}, activeAt="2026-03-10T08:00:00Z")
    incidents = incidents_of([other, same, first, elsewhere])
    assert [incident.parts for incident in incidents] == [(), ("accounts",)]
    assert incidents[1].since == NOON - 3 * 3600
    assert incidents[1].impacts == ("Nobody can sign in.", "Results are late.")


@pytest.mark.parametrize(
    "impact",
    [
        "Players on db1 wait.",
        "Players on DB1 wait.",
        "See http://wiki/",
        "10.0.3.17 is gone.",
        "fd00:aa:bb::17 is gone.",
        "Worker app1-8101 is gone.",
        "localhost is gone.",
        "PostgreSQL and Valkey stop writing when it is full.",
        "Players who are seated on this worker cannot join.",
        "",
    ],
)
def test_an_impact_that_names_the_inside_is_not_told(impact: str) -> None:
    told = alert(annotations={"impact": impact}, labels={"instance": "db1:9187", "worker": "app1-8101"})
    (incident,) = incidents_of([told])
    assert incident.impacts == ("",)


def test_the_canary_is_about_matches() -> None:
    (incident,) = incidents_of([alert("CanaryFailing", labels={"component": "app"})])
    assert incident.parts == ("matches",)


def test_ordinary_sentences_are_told() -> None:
    impact = "Since 10:30, nobody can sign in: the history waits; matches go on (and/or pause). It's <b>bad</b>."
    (incident,) = incidents_of([alert(annotations={"impact": impact})])
    assert incident.impacts == (impact,)


def test_an_alert_without_anything_is_survived() -> None:
    assert incidents_of([{}, {"labels": None, "state": "firing"}]) == ()
    (incident,) = incidents_of([alert(activeAt="nonsense", annotations={})])
    assert incident.since > NOON


def history_of(fake: FakePrometheus) -> Any:
    with Prometheus(fake.url, seconds=5) as prometheus:
        return measure_history(prometheus, at=NOON)


def test_ninety_days_end_today_and_gaps_are_gaps(prometheus: FakePrometheus) -> None:
    history = history_of(prometheus)
    days = history.days["site"]
    assert len(days) == DAYS
    assert (days[0].date, days[-1].date) == ("2025-12-11", "2026-03-10")
    assert days[-1] == Day("2026-03-10", 1.0, 1.0)
    assert days[-2] == Day("2026-03-09", 1.0, 1.0)
    assert [day.available for day in days[:-4]] == [None] * 86
    assert availability(days) == (1.0, 4)
    assert [day.seconds for day in history.latency["pages"][-4:]] == [0.0184, 0.0184, 0.0184, 0.02]
    assert history.latency["moves"][0].seconds is None


def test_a_day_that_was_measured_in_part_says_how_much(prometheus: FakePrometheus) -> None:
    prometheus.history({"site": {"2026-03-08": "0.9", "2026-03-09": "NaN"}}, minutes="360")
    days = {day.date: day for day in history_of(prometheus).days["site"]}
    assert days["2026-03-08"] == Day("2026-03-08", 0.9, 0.25)
    assert days["2026-03-09"].available is None


def test_the_oldest_day_is_kept_and_the_one_before_is_not(prometheus: FakePrometheus) -> None:
    prometheus.history({"site": {"2025-12-10": "0.1", "2025-12-11": "0.2"}})
    days = history_of(prometheus).days["site"]
    assert [day.available for day in days[:2]] == [0.2, None]


def test_what_prometheus_has_forgotten_is_still_known(prometheus: FakePrometheus) -> None:
    old = history_of(prometheus)
    # The 7th is gone, and of the 8th a quarter
    prometheus.history({"site": {"2026-03-08": "0.5", "2026-03-10": "0.9"}}, minutes="1080")
    with Prometheus(prometheus.url, seconds=5) as asked:
        new = measure_history(asked, at=NOON + DAY_S)
    days = {day.date: day for day in merged(new, old).days["site"]}
    assert len(days) == DAYS
    assert days["2026-03-07"] == Day("2026-03-07", 1.0, 1.0)
    assert days["2026-03-08"] == Day("2026-03-08", 1.0, 1.0)
    assert days["2026-03-10"] == Day("2026-03-10", 0.9, 0.75), "more than what was known of it at noon"
    assert days["2026-03-11"] == Day("2026-03-11", 1.0, 1.0)
    assert "2025-12-11" not in days


def test_availability_weighs_days_by_what_was_measured() -> None:
    days = (Day("2026-03-08", 1.0, 1.0), Day("2026-03-09", 0.0, 0.25), Day("2026-03-10"))
    assert availability(days) == (0.8, 2)
    assert availability((Day("2026-03-10"),)) == (None, 0)


@pytest.mark.parametrize("mode", ["error", "garbage", "shape", "hang", "drip"])
def test_bad_answers_are_unavailable_in_time(prometheus: FakePrometheus, mode: str) -> None:
    prometheus.mode = mode
    with Prometheus(prometheus.url, seconds=0.3) as asked, pytest.raises(Unavailable):
        measure_now(asked, at=NOON)


def test_the_deadline_is_for_all_questions_together(prometheus: FakePrometheus) -> None:
    ticks = iter(range(100))
    asked = Prometheus(prometheus.url, seconds=6, clock=lambda: float(next(ticks)))
    with asked, pytest.raises(Unavailable, match="out of time"):
        measure_now(asked, at=NOON)
    assert len(prometheus.asked) < 6
