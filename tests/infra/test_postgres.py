"""PostgreSQL keeps what it is given, on a standby as well where there is one, and each role may do what it is for."""

import json
import shlex
import time

import pytest

testinfra_hosts = ["ansible://db"]
UNITS = ["postgresql@17-main.service"]
DATA = "/var/lib/postgresql/17/main"


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


@pytest.fixture(scope="module")
def peers(_inventory_host, public):
    """The other database hosts."""
    names = [name for name, facts in public.hosts.items() if "db" in facts["group_names"]]
    return [name for name in names if name != _inventory_host]


@pytest.fixture(scope="module")
def pair(peers):
    if not peers:
        pytest.skip("there is one database host, so nothing is replicated")
    return peers


@pytest.fixture(scope="module")
def is_standby(sql):
    return sql("select pg_is_in_recovery()")


@pytest.fixture
def primary(pair, is_standby):
    if is_standby:
        pytest.skip("this host is the standby")


@pytest.fixture
def standby(pair, is_standby):
    if not is_standby:
        pytest.skip("this host is the primary")


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


def test_server_restarts_after_a_crash(host):
    assert host.check_output("systemctl show -P Restart postgresql@17-main.service") == "on-failure"


def test_expensive_queries_work_in_the_sandbox(sql):
    """JIT would need memory that is writable and executable."""
    assert sql("select sum(a * b) from generate_series(1, 3000) a, generate_series(1, 300) b") > 0


def test_one_host_takes_writes(host, sql, peers, is_standby):
    """Asked from every database host, the others answer what they are: one is a primary, whatever their number."""
    said = json.loads(host.check_output("runuser -u postgres -- /usr/local/sbin/postgres-peers ask"))
    assert sorted(said) == sorted(peers)
    assert [name for name, answer in said.items() if not answer["answers"]] == []
    primaries = [answer["is_primary"] for answer in said.values()] + [not is_standby]
    assert primaries.count(True) == 1
    assert {answer["system"] for answer in said.values()} <= {
        sql("select system_identifier::text from pg_control_system()")
    }


def test_primary_keeps_what_its_standby_has_yet_to_receive(sql, primary, pair):
    slots = sql("select coalesce(json_object_agg(slot_name, active), '{}') from pg_replication_slots")
    assert slots == {f"standby_{name.replace('-', '_')}": True for name in pair}
    assert sql("select array_agg(distinct wal_status) from pg_replication_slots") in (["reserved"], ["extended"])
    kept = sql("select pg_size_bytes(current_setting('max_slot_wal_keep_size'))")
    assert kept > 0, "a standby that is away would fill the disk of the primary"


def test_standby_streams_what_the_primary_writes(sql, standby, pair):
    """What has been received is replayed, and something arrives at least every few seconds."""
    assert sql("select status from pg_stat_wal_receiver") == "streaming"
    assert sql("select slot_name from pg_stat_wal_receiver") == show(sql, "primary_slot_name")
    lag = "select pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
    behind = "select pg_wal_lsn_diff(latest_end_lsn, pg_last_wal_receive_lsn()) from pg_stat_wal_receiver"
    deadline = time.monotonic() + 30
    while sql(lag) > 1_000_000 or sql(behind) > 1_000_000:
        assert time.monotonic() < deadline, f"{sql(lag)} bytes to replay, {sql(behind)} to receive"
        time.sleep(0.5)
    assert sql("select last_msg_receipt_time > clock_timestamp() - interval '30 s' from pg_stat_wal_receiver") is True


def test_standby_reads_and_refuses_writes(host, sql, standby):
    assert sql("select count(*) from pg_tables where tableowner = 'matchpoint_owner'") > 10
    refused = host.run("runuser -u postgres -- psql -qAtX -d matchpoint -c 'create table refused ()'")
    assert refused.rc != 0
    assert "read-only transaction" in refused.stderr


def test_replication_password_is_in_no_command_line_and_readable_by_postgres_alone(host, sql, pair):
    passfile = host.file("/etc/postgresql/17/main/replication.pass")
    assert (passfile.user, passfile.mode) == ("postgres", 0o600)
    assert "password" not in show(sql, "primary_conninfo")
    assert sql("select rolsuper from pg_roles where rolname = 'matchpoint_replication'") is False
    users = "select array_agg(distinct array_to_string(user_name, ',')) from pg_hba_file_rules"
    assert sql(f"{users} where 'replication' = any(database)") == ["matchpoint_replication"]


def test_guard_stands_before_every_start(host, pair):
    """In the unit, in its sandbox; what it says of this host is that it may run."""
    guard = "/usr/local/sbin/postgres-peers guard"
    assert guard in host.check_output("systemctl show --property=ExecCondition --value postgresql@17-main.service")
    assert not host.file(f"{DATA}/superseded").exists
    asked = host.run(f"runuser -u postgres -- {guard}")
    assert asked.rc == 0, asked.stderr


def test_a_primary_that_is_taken_over_from_while_it_runs_would_be_stopped(host, pair):
    assert host.service("postgres-watch.timer").is_running
    assert host.service("postgres-watch.timer").is_enabled
    last = "systemctl show --property=Result --value postgres-watch.service"
    assert host.check_output(last) == "success"
    assert host.check_output("systemctl show --property=ExecMainStartTimestampMonotonic --value postgres-watch") != "0"


def test_a_single_host_asks_nobody_before_it_starts(host, peers):
    if peers:
        pytest.skip("there is a pair of database hosts")
    assert not host.service("postgres-watch.timer").is_running
    assert host.check_output("systemctl show --property=ExecCondition --value postgresql@17-main.service") == ""
