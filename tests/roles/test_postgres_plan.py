"""What deploy, promotion and rejoin make of the database hosts: never two primaries, always a way out."""

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "roles/postgres/filter_plugins/postgres_plan.py"
spec = importlib.util.spec_from_file_location("postgres_plan", SOURCE)
plan = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plan)


def cluster(state, *, virgin=False, masked=False, superseded="", by_file=False, timeline=1, receiver=None, peers=None):
    found = {
        "state": state, "is_virgin": virgin, "is_masked": masked, "superseded": superseded,
        "is_standby_by_file": by_file, "timeline": timeline, "system": "7", "lsn": "0/5000000", "peers": peers or {},
    }  # fmt: skip
    return found | ({"receiver": receiver} if receiver else {})


def receiver(streams=True, hears=False, received="0/5000078"):
    return {"streams": streams, "hears": hears, "received_lsn": received, "lag_bytes": 0, "replayed_age_s": 1.0}


PRIMARY = cluster("primary")
NEW_PRIMARY = cluster("primary", timeline=2) | {"lsn": "0/6000000"}
STANDBY = cluster("standby", by_file=True, receiver=receiver())
ORPHAN = cluster("standby", by_file=True, receiver=receiver(streams=False))
STOPPED = cluster("stopped")
STOPPED_STANDBY = cluster("stopped", by_file=True)
MASKED = cluster("stopped", masked=True)
SUPERSEDED = cluster("stopped", superseded="db2 was promoted")
MISSING = cluster("missing", virgin=True)
EMPTY = cluster("stopped", virgin=True)
EMPTY_RUNNING = cluster("primary", virgin=True)
SILENT = cluster("silent")
BROKEN = cluster("missing") | {"fault": "/var/lib/postgresql/17/main is incomplete"}
DEAD = {"unreachable": True, "msg": "no route to host"}


def pair(one, two):
    return {"db1": one, "db2": two}


@pytest.mark.parametrize(
    ("one", "two", "roles", "actions"),
    [
        (MISSING, MISSING, ["primary", "standby"], ["start", "clone"]),
        (EMPTY, EMPTY_RUNNING, ["primary", "standby"], ["start", "clone"]),
        (PRIMARY, EMPTY, ["primary", "standby"], ["start", "clone"]),
        (EMPTY, PRIMARY, ["standby", "primary"], ["clone", "start"]),
        (PRIMARY, STANDBY, ["primary", "standby"], ["start", "start"]),
        (PRIMARY, STOPPED_STANDBY, ["primary", "standby"], ["start", "start"]),
        (STANDBY, NEW_PRIMARY, ["standby", "primary"], ["start", "start"]),
        (MASKED, NEW_PRIMARY, ["fenced", "primary"], ["none", "start"]),
        (SUPERSEDED, NEW_PRIMARY, ["fenced", "primary"], ["none", "start"]),
    ],
)
def test_deploy_keeps_the_roles_it_finds(one, two, roles, actions):
    plans = [plan.postgres_plan(pair(one, two), name) for name in ("db1", "db2")]
    assert [each["faults"] for each in plans] == [[], []]
    assert [each["role"] for each in plans] == roles
    assert [each["action"] for each in plans] == actions


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        (PRIMARY, NEW_PRIMARY, ["2 primaries", "db2", "mask --now postgresql@17-main` on db1", "rejoin HOST=db1"]),
        (STOPPED, STANDBY, ["db1 is stopped", "db2 is a standby", "start postgresql@17-main` on db1", "promote"]),
        (MASKED, ORPHAN, ["db1 is fenced", "db2 is a standby", "make promote"]),
        (DEAD, ORPHAN, ["db1 did not answer", "db2 is a standby", "make promote"]),
        (ORPHAN, ORPHAN, ["db1 is a standby", "db2 is a standby", "make promote"]),
        (EMPTY, ORPHAN, ["db1 has an empty cluster", "db2 is a standby", "make promote"]),
        (EMPTY, STOPPED, ["db1 has an empty cluster", "start the primary", "on db2"]),
        (MASKED, MASKED, ["db1 is fenced", "db2 is fenced", "systemctl unmask"]),
        (EMPTY, DEAD, ["db1 has an empty cluster", "db2 did not answer", "no new database is made"]),
        (STOPPED, NEW_PRIMARY, ["db1 is stopped, with data of its own", "make rejoin HOST=db1"]),
        (BROKEN, NEW_PRIMARY, ["db1: /var/lib/postgresql/17/main is incomplete"]),
        (SILENT, STANDBY, ["db1 runs PostgreSQL, which does not answer"]),
        (PRIMARY, STANDBY | {"system": "8"}, ["db2 is a standby of another cluster", "make rejoin HOST=db2"]),
    ],
)  # fmt: skip
def test_deploy_stops_where_it_could_lose_writes(one, two, told):
    for name in ("db1", "db2"):
        (fault,) = plan.postgres_plan(pair(one, two), name)["faults"]
        assert [words for words in told if words not in fault] == [], fault


def test_deploy_asks_the_network_about_a_host_outside_of_the_run():
    answer = {"answers": True, "is_primary": True, "timeline": 2}
    assert plan.postgres_plan(pair(None, STANDBY | {"peers": {"db1": answer}}), "db2")["faults"] == []
    (fault,) = plan.postgres_plan(pair(None, PRIMARY | {"peers": {"db1": answer}}), "db2")["faults"]
    assert "2 primaries" in fault
    assert "on db2" in fault  # the older timeline


@pytest.mark.parametrize("state", [MISSING, EMPTY, EMPTY_RUNNING, PRIMARY, STOPPED])
def test_a_single_host_is_started(state):
    found = plan.postgres_plan({"db1": state}, "db1")
    assert (found["faults"], found["role"], found["action"]) == ([], "primary", "start")


@pytest.mark.parametrize("state", [MASKED, SUPERSEDED, STANDBY, SILENT])
def test_a_single_host_that_must_not_start_is_left_alone(state):
    assert plan.postgres_plan({"db1": state}, "db1")["faults"]


GAME = ["app1 has run the game", "app2 could not be asked"]


@pytest.mark.parametrize("states", [{"db1": MISSING}, {"db1": EMPTY}, pair(MISSING, EMPTY_RUNNING)])
def test_a_new_database_takes_consent_where_there_was_one(states):
    assert plan.postgres_new(states, []) == []
    (fault,) = plan.postgres_new(states, GAME)
    told = [*GAME, "new, empty database", "NEW_DATABASE=1", "make restore", "make promote", "db1 has an empty cluster"]
    assert [words for words in told if words not in fault] == [], fault


def test_old_data_beside_an_empty_cluster_say_that_there_was_one():
    kept = "/var/lib/postgresql/17/main.before-restore-20260101T000000Z"
    (fault,) = plan.postgres_new({"db1": MISSING | {"kept": [kept]}}, [])
    assert kept in fault


@pytest.mark.parametrize(
    "states", [{"db1": PRIMARY}, {"db1": STOPPED}, pair(EMPTY, PRIMARY), pair(MISSING, NEW_PRIMARY), pair(EMPTY, DEAD)]
)
def test_no_consent_is_asked_for_where_no_database_is_made(states):
    assert plan.postgres_new(states, GAME) == []


@pytest.mark.parametrize(
    ("one", "options", "stop", "mask"),
    [
        (PRIMARY, {"fence": True}, True, True),
        (STOPPED, {}, False, True),
        (MASKED, {}, False, True),
        (SUPERSEDED, {}, False, True),
        (DEAD, {"confirm": "db1"}, False, False),
    ],
)
def test_promotion_fences_the_old_primary(one, options, stop, mask):
    standby = ORPHAN if one is DEAD else STANDBY
    found = plan.postgres_promotion(pair(one, standby), **options)
    assert found["faults"] == []
    assert (found["standby"], found["old"], found["stop"], found["mask"]) == ("db2", "db1", stop, mask)
    assert "make rejoin HOST=db1" in found["advice"]


@pytest.mark.parametrize(
    ("one", "two", "options", "told"),
    [
        (PRIMARY, STANDBY, {}, "db1 still serves"),
        (PRIMARY, STANDBY, {"confirm": "db1"}, "db1 still serves"),
        (PRIMARY, ORPHAN, {"fence": True}, "db2 does not stream from it"),
        (PRIMARY, NEW_PRIMARY, {"fence": True}, "2 primaries"),
        (MASKED, NEW_PRIMARY, {}, "db2 is the primary already"),
        (DEAD, NEW_PRIMARY, {"confirm": "db1"}, "db2 is the primary already"),
        (STOPPED, STOPPED_STANDBY, {}, "no running standby"),
        (DEAD, DEAD, {"confirm": "db1"}, "no running standby"),
        (PRIMARY | {"peers": {"db2": {"answers": True, "is_primary": False, "timeline": 1}}}, DEAD, {"fence": True},
         "db2 is a standby, but did not answer over SSH"),
        (SILENT, ORPHAN, {}, "runs PostgreSQL, which does not answer"),
        (DEAD, ORPHAN, {}, "make promote CONFIRM=db1"),
        (DEAD, ORPHAN, {"fence": True}, "make promote CONFIRM=db1"),
        (DEAD, ORPHAN, {"confirm": "db2"}, "which CONFIRM=db2 does not name"),
        (DEAD, STANDBY | {"receiver": receiver(hears=True)}, {"confirm": "db1"}, "still receives from it"),
        (DEAD, ORPHAN | {"peers": {"db1": {"answers": True, "is_primary": True, "timeline": 1}}}, {"confirm": "db1"},
         "its PostgreSQL answers db2 as a primary"),
        (STOPPED | {"lsn": "0/7000000"}, ORPHAN, {},
         "db1 is stopped and has written up to 0/7000000; db2 has received up to 0/5000078"),
    ],
)  # fmt: skip
def test_promotion_refuses_where_two_could_serve(one, two, options, told):
    (fault,) = plan.postgres_promotion(pair(one, two), **options)["faults"]
    assert told in fault


def test_promotion_goes_without_what_was_not_received_when_that_was_said():
    found = plan.postgres_promotion(pair(STOPPED | {"lsn": "0/7000000"}, ORPHAN), confirm="db1")
    assert (found["faults"], found["standby"], found["mask"]) == ([], "db2", True)


@pytest.mark.parametrize("heard", [receiver(), receiver(streams=False, hears=True)])
def test_promotion_refuses_beside_a_primary_that_has_no_line_any_more(heard):
    (fault,) = plan.postgres_promotion({"db2": STANDBY | {"receiver": heard}})["faults"]
    assert "no host of this inventory" in fault


def test_of_two_standbys_the_one_that_received_more_is_promoted():
    behind = STANDBY | {"receiver": receiver(received="0/FFFFFFF0")}
    ahead = STANDBY | {"receiver": receiver(received="1/10")}
    assert plan.postgres_promotion(pair(behind, ahead))["standby"] == "db2"
    assert plan.postgres_promotion(pair(ahead, behind))["standby"] == "db1"


def test_a_planned_switch_waits_for_the_last_record():
    assert plan.postgres_received({"receiver": receiver(received="0/5000078")}, "0/5000000")
    assert not plan.postgres_received({"receiver": receiver(received="0/5000000")}, "0/5000000")
    assert not plan.postgres_received({"receiver": receiver(received="0/F0000000")}, "1/0")


@pytest.mark.parametrize(
    ("one", "keep"),
    [
        (MASKED, True), (STOPPED, True), (SUPERSEDED, True), (ORPHAN, False), (STOPPED_STANDBY, False), (EMPTY, False),
        (ORPHAN | {"receiver": receiver(streams=False, received="0/7000000")}, True),
        (STOPPED_STANDBY | {"lsn": "0/7000000"}, True), (STOPPED_STANDBY | {"timeline": 3}, True),
        (STOPPED_STANDBY | {"system": "8"}, True),
    ],
)  # fmt: skip
def test_rejoin_keeps_what_may_exist_nowhere_else(one, keep):
    found = plan.postgres_rejoin(pair(one, NEW_PRIMARY), "db1")
    assert (found["faults"], found["primary"], found["keep"]) == ([], "db2", keep)


@pytest.mark.parametrize(
    ("one", "two", "target", "told"),
    [
        (MASKED, NEW_PRIMARY, "db2", "db2 is the primary"),
        (STANDBY, NEW_PRIMARY, "db1", "already streams"),
        (MASKED, NEW_PRIMARY, "mp1", "HOST=mp1 is no database host"),
        (MASKED, ORPHAN, "db1", "no primary that answers"),
        (PRIMARY, NEW_PRIMARY, "db1", "2 primaries"),
        (SILENT, NEW_PRIMARY, "db1", "must answer first"),
    ],
)
def test_rejoin_refuses_what_would_lose_data(one, two, target, told):
    (fault,) = plan.postgres_rejoin(pair(one, two), target)["faults"]
    assert told in fault
