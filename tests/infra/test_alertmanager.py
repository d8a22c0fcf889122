"""Alertmanager runs alone or knows its peers, its secrets are closed, and what it sends arrives."""

import json

import pytest

from tests.conftest import poll
from tests.infra.promql import ask

testinfra_hosts = ["ansible://monitor"]
UNITS = ["prometheus-alertmanager.service"]
WAITS = True

CONFIG = "/etc/prometheus/alertmanager.yml"
HEARTBEAT_SECONDS = 120  # its counters start anew with the process; a heartbeat a minute, a scrape later


def test_alertmanager_accepts_its_configuration_and_runs_it(host) -> None:
    assert host.run(f"amtool check-config {CONFIG}").rc == 0

    def reloaded() -> list[str]:
        (found,) = ask(host, "query?query=alertmanager_config_last_reload_successful")
        return [one["value"][1] for one in found["result"]]

    assert set(poll(reloaded, within_s=60, every_s=2, what="Prometheus to have scraped an Alertmanager")) == {"1"}


@pytest.mark.parametrize(
    ("alert", "severity", "receiver"),
    [("PostgresDown", "page", "page"), ("TargetDown", "ticket", "ticket"), ("Watchdog", "none", "deadman")],
)
def test_routes_on_the_host_lead_where_they_should(host, alert: str, severity: str, receiver: str) -> None:
    test = f"amtool config routes test --config.file={CONFIG} --verify.receivers={receiver}"
    route = host.run(f"{test} alertname={alert} severity={severity} component=x host=y")
    assert route.rc == 0, route.stdout + route.stderr


def api(host, facts, path: str):
    return json.loads(host.check_output("curl -sS -m 5 http://%s/api/v2/%s", facts["alertmanager_listen"], path))


def test_an_alertmanager_alone_gossips_with_nobody(host, facts) -> None:
    if facts["alertmanager_cluster_listen"]:
        pytest.skip("there are several")
    assert not host.socket("tcp://9094").is_listening
    assert not host.socket("udp://9094").is_listening
    assert api(host, facts, "status")["cluster"]["status"] == "disabled"


def test_alertmanagers_know_each_other_by_their_private_addresses(host, facts, public) -> None:
    if not facts["alertmanager_cluster_listen"]:
        pytest.skip("there is one only")
    wanted = {public.hosts[name]["alertmanager_cluster_listen"] for name in facts["tiers"]["monitor"]}

    def complete() -> bool:
        cluster = api(host, facts, "status")["cluster"]
        (members,) = ask(host, "query?query=alertmanager_cluster_members")
        told = {one["value"][1] for one in members["result"]}
        return (cluster["status"], {peer["address"] for peer in cluster["peers"]}, told) == (
            "ready", wanted, {str(len(wanted))},
        )  # fmt: skip

    poll(complete, within_s=60, every_s=2, what=f"the Alertmanagers {', '.join(sorted(wanted))} to be one cluster")


def test_nobody_joins_their_gossip_without_a_certificate(host, facts) -> None:
    if not facts["alertmanager_cluster_listen"]:
        pytest.skip("there is one only")
    address, port = facts["alertmanager_cluster_listen"].rsplit(":", 1)
    assert not host.socket("udp://9094").is_listening
    connect = f"openssl s_client -connect {address}:{port} -CAfile /etc/matchpoint/mesh/ca.pem -verify_return_error"
    # TLS 1.3 tells a client that it is sent away only when it reads; this one waits for that
    assert "certificate required" in host.run(f"sleep 2 | {connect} -ign_eof").stderr
    pair = "-cert /etc/matchpoint/mesh/host.crt -key /etc/matchpoint/mesh/host.key"
    assert "Verify return code: 0 (ok)" in host.run(f"echo | {connect} {pair}").stdout


def test_alertmanager_is_asked_on_loopback_only(host, facts) -> None:
    assert host.socket(f"tcp://{facts['alertmanager_listen']}").is_listening
    lines = host.check_output("ss -Hltn 'sport = :9093'").splitlines()
    assert all(line.split()[3].startswith(("127.", facts["host_private_address"])) for line in lines)


def test_secrets_are_readable_by_alertmanager_alone(host) -> None:
    with host.sudo():
        names = host.check_output("ls /etc/prometheus/alertmanager-secrets").split()
        folder = host.file("/etc/prometheus/alertmanager-secrets")
        assert (folder.user, folder.group, folder.mode) == ("root", "prometheus", 0o750)
        for name in names:
            secret = host.file(f"/etc/prometheus/alertmanager-secrets/{name}")
            assert (secret.user, secret.group, secret.mode) == ("root", "prometheus", 0o640)
            value = secret.content_string.strip()
            assert not value or value not in host.file(CONFIG).content_string


def test_heartbeat_is_sent_and_arrives(host) -> None:
    with host.sudo():
        wanted = host.file("/etc/prometheus/alertmanager-secrets/deadman-url").content_string.strip()

    def sent() -> bool:
        sums = ask(
            host,
            "query?query=sum(alertmanager_notifications_total)",
            "query?query=sum(increase(alertmanager_notifications_failed_total[2m]))",
        )
        if not all(one["result"] for one in sums):  # not scraped twice yet
            return False
        total, failed = (float(one["result"][0]["value"][1]) for one in sums)
        assert failed == 0
        return not wanted or total > 0

    poll(sent, within_s=HEARTBEAT_SECONDS, every_s=2, what="the first heartbeat")


def test_watchdog_is_active_and_silenced_by_nobody(host) -> None:
    alerts = "amtool -o simple alert query"  # it knows where to ask
    assert "Watchdog" in host.check_output(f"{alerts} --active alertname=Watchdog")
    assert "Watchdog" not in host.check_output(f"{alerts} --silenced alertname=Watchdog")
