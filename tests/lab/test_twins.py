"""Two hosts that stand in for each other, from nothing: shared certificate, mesh, peers, and a database that moves."""

from collections.abc import Callable

import pytest

from tests.cluster.load import primary, takes_writes
from tests.conftest import Lab, recap, verify


@pytest.fixture(scope="module")
def twins(twin_lab: Lab) -> Lab:
    """Two hosts, deployed once."""
    done = recap(twin_lab.make("deploy"))
    assert (done["failed"], done["unreachable"]) == (0, 0)
    return twin_lab


def test_second_deploy_of_two_hosts_changes_nothing(twins: Lab) -> None:
    again = recap(twins.make("deploy"))
    assert (again["changed"], again["failed"], again["unreachable"]) == (0, 0, 0)


def test_verify_of_two_hosts_passes(twins: Lab, record_property: Callable[[str, object], None]) -> None:
    # What dashboards ask of Prometheus is verified on one host, and it is the same on two
    verify(twins, record_property, "ARGS=--ignore=tests/infra/test_dashboards.py")


def test_the_database_moves_to_the_standby_and_the_old_primary_joins_it(twins: Lab) -> None:
    old = primary(twins)
    (new,) = set(twins.hosts("db")) - {old}
    matches = "select to_json(count(*)) from matches_match"
    kept = twins.query(matches, host=old)
    twins.make("promote", "FENCE=1")
    assert primary(twins) == new
    assert not takes_writes(twins, old)
    assert twins.query(matches, host=new) >= kept
    twins.make("rejoin", f"HOST={old}")
    assert twins.query("select json_agg(state) from pg_stat_replication", host=new) == ["streaming"]
    assert twins.query("select to_json(pg_is_in_recovery())", host=old)
    assert primary(twins) == new
    twins.make("gate")
    assert twins.query(matches, host=new) > kept, "the game does not write to the database that moved"


def test_a_dead_host_is_named_and_the_others_are_deployed_without_it(twins: Lab) -> None:
    """The dead one gets the certificate for both, and has the cache."""
    twins.kill("mp1")
    with pytest.raises(AssertionError) as failure:
        twins.make("deploy")
    told = " ".join(str(failure.value).split())
    assert "No answer from mp1" in told
    assert "make deploy LIMIT='!mp1'" in told
    output = twins.make("deploy", "LIMIT=!mp1")
    assert recap(output)["failed"] == 0
    assert "mp1, which gets the certificate, does not answer. mp2 goes on with the one it has" in " ".join(
        output.split()
    )
    assert "https://" in twins.make("staff", "NAME=night-shift", "EMAIL=night-shift@example.com"), "mp1 was asked"
    twins.start("mp1")
    again = recap(twins.make("deploy"))
    assert (again["changed"], again["failed"], again["unreachable"]) == (0, 0, 0)
