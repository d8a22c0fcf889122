"""Every app host plays through the site's public name, and nobody's statistics notice."""

import re
import time

import pytest

testinfra_hosts = ["ansible://app"]
UNITS = ["matchpoint-canary.service"]
WAITS = True
PAGE = "/var/lib/prometheus/node-exporter/canary.prom"
CPU_SECONDS_MAX = 2


def told(host) -> dict[str, float]:
    text = host.run("cat %s", PAGE).stdout
    return {
        name: float(value) for name, value in re.findall(r"^matchpoint_canary_last_(\w+) (\S+)$", text, re.MULTILINE)
    }


@pytest.fixture(scope="module")
def match(host) -> str:
    """The id of a match that the canary played just now."""
    before = told(host).get("run_timestamp_seconds", 0.0)
    deadline = time.monotonic() + 150
    while told(host).get("run_timestamp_seconds", 0.0) <= before and time.monotonic() < deadline:
        time.sleep(1)
    said = host.check_output("journalctl -u matchpoint-canary.service -o cat -n 20")
    assert told(host)["result"] == 1, said
    return re.findall(r'"match": "(canary\w+)"', said)[-1]


def test_a_match_came_through_within_the_last_minutes(host, match):
    now = float(host.check_output("date +%s"))
    assert now - told(host)["success_timestamp_seconds"] < 150
    assert 0 < told(host)["duration_seconds"] < 45


def test_it_is_stored(public, match):
    answer = public.get(f"/api/matches/{match}")
    assert answer.status == 200
    assert b'"status": "finished"' in answer.text


def test_it_is_cheap_and_never_runs_twice(host, match):
    used = host.check_output("systemctl show -P CPUUsageNSec matchpoint-canary.service")
    assert used == "[not set]" or int(used) / 1e9 < CPU_SECONDS_MAX
    assert host.check_output("systemctl show -P Type matchpoint-canary.service") == "oneshot"


def test_what_it_says_is_its_own(host):
    page = host.file(PAGE)
    assert (page.user, page.mode) == ("root", 0o644)
    assert not host.file("/var/lib/prometheus/node-exporter").mode & 0o002
