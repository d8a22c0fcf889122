"""PostgreSQL keeps what it is given, and each role may do what it is for and no more."""

import json
import shlex

import pytest

testinfra_hosts = ["ansible://db"]
UNITS = ["postgresql@17-main.service"]


@pytest.fixture(scope="module")
def sql(host):
    """Runs a query that answers with one value, as JSON."""

    def run(query):
        inner = f"select to_json(x) from ({query}) as t(x)"
        answer = host.check_output(f"runuser -u postgres -- psql -qAtX -d matchpoint -c {shlex.quote(inner)}")
        return json.loads(answer or "null")

    return run


def show(sql, name):
    return sql(f"select current_setting('{name}')")


def test_server_is_17_and_checks_its_pages(sql):
    assert show(sql, "server_version").startswith("17.")
    assert show(sql, "data_checksums") == "on"
    assert show(sql, "fsync") == "on"
    assert show(sql, "full_page_writes") == "on"


def test_no_setting_waits_for_a_restart(sql):
    assert sql("select coalesce(array_agg(name), '{}') from pg_settings where pending_restart") == []
    assert sql("select coalesce(array_agg(error), '{}') from pg_file_settings where error is not null") == []


def test_memory_settings_fit_the_host(sql, host):
    memory = int(host.check_output("awk '/MemTotal/ {print $2}' /proc/meminfo")) * 1024
    buffers = sql("select pg_size_bytes(current_setting('shared_buffers'))")
    assert 0.1 * memory < buffers < 0.4 * memory or buffers == 8 * 2**30


def test_every_password_is_scram_and_nobody_is_trusted(sql):
    weak = "select coalesce(array_agg(rolname), '{}') from pg_authid where rolpassword !~ '^SCRAM-SHA-256'"
    assert sql(weak) == []
    methods = set(sql("select array_agg(distinct auth_method) from pg_hba_file_rules"))
    assert methods == {"peer", "scram-sha-256"}


def test_the_app_changes_rows_and_no_tables(sql):
    assert sql("select has_schema_privilege('matchpoint_app', 'public', 'create')") is False
    tables = "from pg_tables where schemaname = 'public' and tableowner = 'matchpoint_owner'"
    assert sql(f"select count(*) {tables}") > 10
    for right in ("select", "insert", "update", "delete"):
        denied = f"not has_table_privilege('matchpoint_app', tablename::regclass, '{right}')"
        assert sql(f"select coalesce(array_agg(tablename), '{{}}') {tables} and {denied}") == [], right


def test_only_postgres_is_superuser(sql):
    assert sql("select array_agg(rolname) from pg_roles where rolsuper") == ["postgres"]


def test_exporter_reads_statistics_and_gets_in_when_all_connections_are_taken(sql):
    for group in ("pg_monitor", "pg_use_reserved_connections"):
        assert sql(f"select pg_has_role('matchpoint_exporter', '{group}', 'usage')") is True
    assert int(show(sql, "reserved_connections")) > 0


def test_statements_are_counted_in_the_games_database(sql):
    assert sql("select count(*) from pg_stat_statements") > 0


def test_server_restarts_after_a_crash_and_runs_in_its_sandbox(host):
    assert host.check_output("systemctl show -P Restart postgresql@17-main.service") == "on-failure"
    line = host.check_output("systemd-analyze security --no-pager postgresql@17-main.service | tail -n 1")
    assert float(line.split(":")[1].split()[0]) <= 1.8, line


def test_expensive_queries_work_in_the_sandbox(sql):
    """JIT would need memory that is writable and executable."""
    assert sql("select sum(a * b) from generate_series(1, 3000) a, generate_series(1, 300) b") > 0
