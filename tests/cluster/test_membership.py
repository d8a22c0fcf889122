"""Hosts leave a cluster and join it while people play: `make test-membership`."""

import yaml

from tests.cluster.drills import Releases, refused, running
from tests.cluster.load import Load, primary, unharmed
from tests.cluster.test_cluster import releases_of
from tests.conftest import Lab

FIREWALL = "/etc/nftables-matchpoint.conf"
OTHERS_KNOW = (
    f"test -s {FIREWALL} && {{ find /etc/nginx /etc/haproxy /etc/prometheus /etc/matchpoint {FIREWALL} -type f"
    " -exec grep -lw app2 {} + 2>/dev/null || true; }"
)
STARTS_BY_ITSELF = (
    "systemctl list-unit-files --state=enabled --plain --no-legend 'matchpoint-*' 'prometheus*' haproxy.service"
    " | cut -d' ' -f1"
)


def test_a_host_leaves_and_joins_while_people_play(lab: Lab, releases: Releases, load: Load) -> None:
    before = running(lab)
    release = releases.working("first")
    with load.window("app2 leaves"):
        lab.make("remove-host", "HOST=app2", release)
    assert {worker.split(" ")[0] for worker in running(lab)} == {"app1"}
    assert "app2" not in yaml.safe_load((lab.state / "secrets.yml").read_text())["authority"]["hosts"]
    assert lab.run("app2", STARTS_BY_ITSELF) == "matchpoint-firewall.service"
    for host in set(lab.hosts()) - {"app2"}:
        assert lab.run(host, OTHERS_KNOW) == "", host
    with load.window("app2 joins"):
        lab.make("add-host", "HOST=app2", release)
    assert set(running(lab)) == set(before)
    assert len(releases_of(lab)) == 1
    for drill in ("app2 leaves", "app2 joins"):
        unharmed(load.judge(drill))


def test_a_standby_leaves_stays_away_when_it_boots_and_joins(lab: Lab, releases: Releases, load: Load) -> None:
    release = releases.working("first")
    serves = primary(lab)
    (standby,) = set(lab.hosts("db")) - {serves}
    started = lab.query("select to_json(pg_postmaster_start_time())", host=serves)
    with load.window("the standby leaves"):
        lab.make("remove-host", f"HOST={standby}", release)
    assert lab.query("select to_json(count(*)) from pg_replication_slots", host=serves) == 0
    lab.reboot(standby)
    assert lab.run(standby, "pgrep --count --exact postgres || true") == "0"
    with load.window("the standby joins"):
        lab.make("add-host", f"HOST={standby}", release)
    assert lab.query("select json_agg(state) from pg_stat_replication", host=serves) == ["streaming"]
    assert lab.query("select to_json(pg_is_in_recovery())", host=standby)
    assert lab.query("select to_json(pg_postmaster_start_time())", host=serves) == started
    for drill in ("the standby leaves", "the standby joins"):
        unharmed(load.judge(drill))


def test_the_primary_database_cannot_be_removed(lab: Lab) -> None:
    before = primary(lab)
    assert f"{before} has the primary database" in refused(lab, "remove-host", f"HOST={before}")
    assert primary(lab) == before


def test_the_cache_cannot_be_removed(lab: Lab) -> None:
    assert "edge1 is the cache" in refused(lab, "remove-host", "HOST=edge1")
