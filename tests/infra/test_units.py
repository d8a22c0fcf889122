"""Every service of the site has a sandbox, limits, and its place in the order in which memory is taken away."""

import re
import sys

import pytest

testinfra_hosts = ["ansible://all"]

# By beginnings of names: exposure by systemd-analyze (0 is best), and the lowest and highest OOM score that fits. The
# game dies before its stores
GATES = {
    "matchpoint-web@": (1.2, 100, 300),
    "matchpoint-live@": (1.2, 100, 300),
    "matchpoint-mail.service": (1.2, 100, 300),
    "matchpoint-canary.service": (2.5, 300, 500),
    "matchpoint-housekeeping.service": (1.6, 300, 500),
    "matchpoint-textfile.service": (2.5, 300, 500),
    "matchpoint-backup.service": (1.6, 300, 500),
    "matchpoint-restore-test.service": (1.6, 300, 500),
    "matchpoint-certificates.service": (3.0, 300, 500),
    "certbot.service": (3.0, 300, 500),
    "matchpoint-firewall.service": (2.0, 0, 0),
    "prometheus.service": (1.2, 50, 100),
    "prometheus-alertmanager.service": (1.2, 50, 100),
    "prometheus-node-exporter.service": (2.0, 100, 100),
    "prometheus-postgres-exporter.service": (1.2, 100, 100),
    "prometheus-redis-exporter.service": (1.2, 100, 100),
    "prometheus-nginx-exporter.service": (1.2, 100, 100),
    "prometheus-blackbox-exporter.service": (1.2, 100, 100),
    "mtail.service": (1.6, 100, 100),
    "grafana-server.service": (3.0, 100, 200),
    "nginx.service": (2.6, -400, -200),
    "haproxy.service": (2.6, -400, -200),
    "valkey-server.service": (1.6, -600, -400),
    "postgresql@17-main.service": (1.8, -900, -900),
    "postgres-watch.service": (2.6, 0, 0),
    "postgres-alive.service": (2.6, -900, -700),
    "patroni@": (3.0, -900, -900),
    "etcd.service": (2.0, -900, -700),
}


@pytest.fixture(scope="module")
def units(host, facts):
    """Units of this host that have a gate -> what systemd knows of them."""
    loaded = host.check_output("systemctl list-units --all --plain --no-legend --type=service").split("\n")
    files = host.check_output("systemctl list-unit-files --plain --no-legend --type=service").split("\n")
    names = {line.split()[0] for line in (*loaded, *files) if line} - {
        "matchpoint-web@.service",
        "matchpoint-live@.service",
    }
    if "edge" in facts["group_names"] and facts["certbot_issuer"] not in ("", facts["host_links"]["name"]):
        names.discard("certbot.service")  # Debian's, which this edge has no use for: another one gets the certificate
    names = sorted(name for name in names if name.startswith(tuple(GATES)) and not name.endswith("@.service"))
    asked = "Id,LoadState,UnitFileState,MemoryMax,TasksMax,LimitNOFILE,OOMScoreAdjust"
    blocks = host.check_output("systemctl show --property=%s " + " ".join(names), asked).split("\n\n")
    shown = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    return {unit["Id"]: unit for unit in shown if unit["LoadState"] == "loaded"}


def gate(name):
    return next(value for start, value in GATES.items() if name.startswith(start))


def test_no_unit_is_more_exposed_than_it_has_to_be(host, units):
    lines = host.check_output(
        "for unit in " + " ".join(units) + "; do systemd-analyze security --no-pager $unit | tail -n 1; done"
    )
    found = dict(re.findall(r"level for (\S+): ([0-9.]+)", lines))
    assert found.keys() == units.keys()
    sys.stdout.write("".join(f"\n{found[name]:>4} of {gate(name)[0]} {name}" for name in units) + "\n")
    assert {name: value for name, value in found.items() if float(value) > gate(name)[0]} == {}


def test_every_unit_has_limits(units):
    for limit in ("MemoryMax", "TasksMax", "LimitNOFILE"):
        assert [name for name, unit in units.items() if unit[limit] == "infinity"] == [], limit


def test_memory_is_taken_from_the_game_before_its_stores(units):
    scores = {name: int(unit["OOMScoreAdjust"]) for name, unit in units.items()}
    assert {name: score for name, score in scores.items() if not gate(name)[1] <= score <= gate(name)[2]} == {}


def test_every_service_of_ours_has_a_gate(host, facts):
    """What a role publishes, and what begins with our name."""
    files = host.check_output("systemctl list-unit-files --plain --no-legend --type=service").splitlines()
    known = {line.split()[0] for line in files}
    ours = {name for name in known if name.startswith("matchpoint-")}
    ours |= {unit for unit in facts["host_published"]["units"] if unit in known} - {"postgresql.service"}
    assert {name for name in ours if not name.startswith(tuple(GATES))} == set()
