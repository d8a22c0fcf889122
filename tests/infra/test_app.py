"""Every worker is ready, runs the release that is current, and the release is what was built."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

testinfra_hosts = ["ansible://app"]
UNITS = ["matchpoint-web@8001.service", "matchpoint-live@8101.service"]

# Prints the files of the current release and its libraries that are not what their manifests say
CHANGED = """
import hashlib, json, pathlib
release = pathlib.Path("/opt/matchpoint/current")
for root in (release, release / "lib"):
    for name, digest in json.loads((root / "manifest.json").read_text())["files"].items():
        if hashlib.sha256((root / name).read_bytes()).hexdigest() != digest:
            print(name)
"""


@pytest.fixture(scope="module")
def workers(facts):
    """Unit name -> port."""
    web = {f"matchpoint-web@{port}": port for port in facts["app_web_ports"]}
    return web | {f"matchpoint-live@{port}": port for port in facts["app_live_ports"]}


@pytest.fixture(scope="module")
def release(host):
    return json.loads(host.file("/opt/matchpoint/current/manifest.json").content_string)["release"]


def test_every_worker_is_ready_and_starts_at_boot(host, facts, workers):
    for unit, port in workers.items():
        answer = host.run(f"curl -sS --max-time 5 -w '\\n%{{http_code}}' http://{facts['host_address']}:{port}/readyz")
        assert answer.stdout.endswith("200"), f"{unit}: {answer.stdout} {answer.stderr}"
        assert host.service(unit).is_enabled, unit


def test_live_workers_have_no_pages(host, facts):
    for port in facts["app_live_ports"]:
        where = f"http://{facts['host_address']}:{port}/accounts/login/"
        assert host.check_output(f"curl -sS --max-time 5 -o /dev/null -w '%{{http_code}}' {where}") == "404"


def test_systemd_hears_from_the_loop_of_every_worker(host, workers):
    for unit in workers:
        shown = host.check_output("systemctl show -P WatchdogUSec -P WatchdogTimestampMonotonic %s", unit).split()
        assert shown[0] == "1min"
        assert int(shown[1]) > 0


def test_every_worker_runs_the_current_release(host, workers, release):
    for unit in workers:
        pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
        environment = host.check_output(f"tr '\\0' '\\n' < /proc/{pid}/environ")
        assert f"/opt/matchpoint/releases/{release}/app" in environment, unit


def test_no_worker_is_left_over(host, workers):
    units = host.check_output(
        "systemctl list-units --plain --no-legend 'matchpoint-web@*' 'matchpoint-live@*'"
    ).splitlines()
    assert {unit.split()[0].removesuffix(".service") for unit in units} == set(workers)


def test_every_worker_shows_its_metrics(host, facts, workers):
    for unit, port in workers.items():
        metrics = host.check_output(f"curl -sS --max-time 5 http://{facts['host_address']}:{port + 10000}/metrics")
        assert "process_start_time_seconds" in metrics, unit


def test_every_live_worker_plays_a_match(host, facts):
    def play(worker):
        return host.run("matchpoint-manage probe_match --worker %s --address %s", *worker)

    with ThreadPoolExecutor() as pool:
        for played in pool.map(play, facts["app_live_addresses"].items()):
            assert played.rc == 0, played.stderr


def test_a_worker_that_stops_has_the_time_to_move_its_matches(host, workers):
    for unit in workers:
        shown = host.check_output("systemctl show --property=KillMode,TimeoutStopUSec,After %s", unit)
        assert "KillMode=mixed" in shown, unit  # only the process that drains is told to stop
        assert "TimeoutStopUSec=1min 15s" in shown, unit
        assert "haproxy.service" in shown, unit  # at a shutdown, the way to the other hosts closes after the worker


def test_release_is_what_was_built(host):
    assert host.check_output(f"python3 -c '{CHANGED}'") == ""


def test_migrations_are_applied_and_production_settings_are_sound(host):
    assert host.run("matchpoint-manage migrate --check").rc == 0
    checks = host.run("matchpoint-manage check --deploy --fail-level WARNING")
    assert checks.rc == 0, checks.stderr


def test_secrets_are_readable_by_the_game_alone(host):
    environment = host.file("/etc/matchpoint/app.env")
    assert (environment.user, environment.group, environment.mode) == ("root", "matchpoint", 0o640)
    owner = host.file("/etc/matchpoint/migrate.env")  # may change tables: not even the game reads it
    assert (owner.user, owner.mode) == ("root", 0o600)
