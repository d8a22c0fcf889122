"""Every exporter of a host answers through its sandbox with what the rules need, to nobody but Prometheus."""

import re
import time

import pytest

testinfra_hosts = ["ansible://all"]

# unit, port, and series that vanish first when a sandbox or a credential is wrong
EXPORTERS = {
    "prometheus-node-exporter": (
        9100,
        ["node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_load1", "node_disk_io_time_seconds_total",
         "node_vmstat_oom_kill", "node_filesystem_avail_bytes", "node_systemd_unit_state", "node_timex_offset_seconds",
         "node_systemd_service_restart_total", "node_reboot_required"],
    ),
    "prometheus-postgres-exporter": (
        9187,
        ["pg_up 1", "pg_stat_user_tables_n_live_tup", "pg_stat_checkpointer", "pg_settings_max_connections",
         "pg_database_size_bytes", "pg_stat_statements_calls_total", "pg_database_wraparound_age",
         "pg_long_running_transactions"],
    ),
    "prometheus-redis-exporter": (9121, ["redis_up 1", "redis_memory_max_bytes", "redis_aof_last_write_status 1"]),
    "prometheus-nginx-exporter": (9113, ["nginx_up 1", "nginx_connections_active", "nginx_http_requests_total"]),
    "mtail": (3903, ["mtail_prog_loads_total{prog=\"nginx.mtail\"} 1", "nginx_log_requests_total",
                     "nginx_log_upstream_errors_total", "nginx_log_request_seconds_bucket"]),
    "prometheus-blackbox-exporter": (9115, ["blackbox_exporter_config_last_reload_successful 1"]),
}  # fmt: skip


@pytest.fixture(params=EXPORTERS)
def exporter(request, host) -> str:
    if not host.file(f"/etc/systemd/system/{request.param}.service.d/matchpoint.conf").exists:
        pytest.skip(f"{request.param} does not belong on this host")
    return request.param


def scrape(host, exporter: str) -> str:
    with host.sudo():
        flags = host.file(f"/etc/default/{exporter}").content_string
    found = re.search(r"(?:--web\.listen-address=|^HOST=)(\S+?)(?::\d+)?[\s\"]", flags, re.MULTILINE)
    assert found, "the exporter would listen on every interface"
    answer = host.run(f"curl -sS --max-time 10 http://{found[1]}:{EXPORTERS[exporter][0]}/metrics")
    journal = host.run(f"journalctl -u {exporter} -n 20 --no-pager")
    assert answer.rc == 0, f"{answer.stderr}\n{journal.stdout}"
    return answer.stdout


def test_exporter_shows_what_the_rules_need_through_its_sandbox(host, exporter: str) -> None:
    metrics = scrape(host, exporter)
    for series in EXPORTERS[exporter][1]:
        name, _, value = series.partition(" ")
        found = re.findall(rf"^{name}\w*(?:{{[^}}]*}})? (\S+)$", metrics, re.MULTILINE)
        assert found, f"{exporter} does not show {name}"
        assert not value or value in found, f"{name} is {found}"


def test_exporter_listens_on_no_public_address(host, exporter: str) -> None:
    port = EXPORTERS[exporter][0]
    assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening
    assert not host.socket(f"tcp://:::{port}").is_listening


def test_exporter_keeps_its_password_to_itself(host, exporter: str) -> None:
    with host.sudo():
        environment = host.file(f"/etc/default/{exporter}")
        assert (environment.user, environment.group, environment.mode) == ("root", "root", 0o640)
        command = host.check_output("ps -o args= -C %s || true", exporter[:15])
        password = re.search(r"(?:PASSWORD=\"|://\w+:)([^\"@]+)", environment.content_string)
    if password:
        assert password[1] not in command


def test_valkey_has_a_memory_limit_for_its_alert_to_compare_with(host) -> None:
    name = "prometheus-redis-exporter"
    if not host.file(f"/etc/systemd/system/{name}.service.d/matchpoint.conf").exists:
        pytest.skip("no Valkey on this host")
    found = re.search(r"^redis_memory_max_bytes (\S+)$", scrape(host, name), re.MULTILINE)
    assert found
    assert float(found[1]) > 0


def test_all_collectors_of_postgres_succeed(host) -> None:
    name = "prometheus-postgres-exporter"
    if not host.file(f"/etc/systemd/system/{name}.service.d/matchpoint.conf").exists:
        pytest.skip("no PostgreSQL on this host")
    failed = re.findall(r'^pg_scrape_collector_success{collector="(\w+)"} 0$', scrape(host, name), re.MULTILINE)
    assert not failed


def test_certificates_and_release_are_metrics_and_fresh(host) -> None:
    metrics = scrape(host, "prometheus-node-exporter")
    if host.file("/opt/matchpoint/current").exists:
        assert re.search(r'^matchpoint_deploy_timestamp_seconds{release="\w+"} \d', metrics, re.MULTILINE)
    if host.file("/etc/matchpoint/tls").exists:
        assert re.search(r"^matchpoint_cert_not_after_seconds{path=\"[^\"]+\"} \d", metrics, re.MULTILINE)
    written = re.search(r'^node_textfile_mtime_seconds{file="[^"]*matchpoint.prom"} (\S+)$', metrics, re.MULTILINE)
    assert written
    assert float(host.check_output("date +%s")) - float(written[1]) < 180
    assert "node_textfile_scrape_error 0" in metrics


def test_the_end_of_the_last_deploy_is_a_metric(host) -> None:
    deadline = time.monotonic() + 90  # it is told once a minute, and a deploy may have ended just now
    found = None
    while found is None and time.monotonic() < deadline:
        found = re.search(
            r"^matchpoint_deploy_last_result ([01])$", scrape(host, "prometheus-node-exporter"), re.MULTILINE
        )
    assert found


def test_requests_are_counted_from_the_logs(host, facts, public) -> None:
    """A page of this edge shows in the figures of its log."""
    if "edge" not in facts["group_names"]:
        pytest.skip("no nginx on this host")

    def counted() -> dict[str, float]:
        found = re.findall(r'^nginx_log_requests_total{location="(\w+)",status_class="2xx"} (\S+)$',
                           scrape(host, "mtail"), re.MULTILINE)  # fmt: skip
        return {location: float(value) for location, value in found}

    before = counted()
    to = f"--resolve {public.domain}:443:127.0.0.1 --insecure"
    host.check_output(f"curl -sS -o /dev/null {to} https://{public.domain}/")
    deadline = time.monotonic() + 20
    while counted()["page"] <= before["page"] and time.monotonic() < deadline:
        pass  # each look is a round trip to the host
    assert counted()["page"] > before["page"]
