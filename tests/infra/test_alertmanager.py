"""Alertmanager runs alone, with its secrets closed, and what it sends arrives."""

import re
import time

import pytest

from tests.infra.promql import ask

testinfra_hosts = ["ansible://monitor"]
UNITS = ["prometheus-alertmanager.service"]

CONFIG = "/etc/prometheus/alertmanager.yml"
HEARTBEAT_SECONDS = 120  # its counters start anew with the process; a heartbeat a minute, a scrape later


def test_alertmanager_accepts_its_configuration_and_runs_it(host) -> None:
    assert host.run(f"amtool check-config {CONFIG}").rc == 0
    (reloaded,) = ask(host, "query?query=alertmanager_config_last_reload_successful")
    assert [one["value"][1] for one in reloaded["result"]] == ["1"] * len(reloaded["result"])
    assert reloaded["result"]


@pytest.mark.parametrize(
    ("alert", "severity", "receiver"),
    [("PostgresDown", "page", "page"), ("TargetDown", "ticket", "ticket"), ("Watchdog", "none", "deadman")],
)
def test_routes_on_the_host_lead_where_they_should(host, alert: str, severity: str, receiver: str) -> None:
    test = f"amtool config routes test --config.file={CONFIG} --verify.receivers={receiver}"
    route = host.run(f"{test} alertname={alert} severity={severity} component=x host=y")
    assert route.rc == 0, route.stdout + route.stderr


def test_alertmanager_gossips_with_nobody_and_listens_on_no_public_address(host) -> None:
    assert not host.socket("tcp://9094").is_listening
    assert not host.socket("udp://9094").is_listening
    assert not host.socket("tcp://0.0.0.0:9093").is_listening
    assert not host.socket("tcp://:::9093").is_listening


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
    deadline = time.monotonic() + HEARTBEAT_SECONDS
    while True:
        sent, failed = ask(
            host,
            "query?query=sum(alertmanager_notifications_total)",
            "query?query=sum(increase(alertmanager_notifications_failed_total[2m]))",
        )
        assert float(failed["result"][0]["value"][1]) == 0
        if not wanted or float(sent["result"][0]["value"][1]) > 0:
            return
        assert time.monotonic() < deadline, f"nothing was sent within {HEARTBEAT_SECONDS} s"
        time.sleep(2)


def test_watchdog_is_active_and_silenced_by_nobody(host) -> None:
    flags = host.file("/etc/default/prometheus-alertmanager").content_string
    address = re.search(r"--web\.listen-address=(\S+)", flags)
    assert address
    alerts = f"amtool --alertmanager.url=http://{address[1]} -o simple alert query"
    assert "Watchdog" in host.check_output(f"{alerts} --active alertname=Watchdog")
    assert "Watchdog" not in host.check_output(f"{alerts} --silenced alertname=Watchdog")


def test_alertmanager_runs_in_its_sandbox(host) -> None:
    with host.sudo():
        line = host.check_output("systemd-analyze security --no-pager prometheus-alertmanager.service | tail -n 1")
    assert float(line.split(":")[1].split()[0]) <= 1.2, line
