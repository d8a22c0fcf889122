"""The database is in a store off the host, by day and minute, and comes back from there. Reads only."""

import json
import time

import pytest

from tests.conftest import left

testinfra_hosts = ["ansible://db"]
UNITS = ["matchpoint-backup.service", "matchpoint-restore-test.service"]
WAITS = True  # the first backup and its test follow the first deploy
SETTLE_SECONDS = 120
INFO = "runuser -u postgres -- pgbackrest --stanza=matchpoint info --output=json --log-level-console=off"


@pytest.fixture(scope="module", autouse=True)
def store(facts):
    if not facts["backup_url"]:
        pytest.skip("the site has no backup store (matchpoint_backup_url: none)")
    return facts["backup_url"]


def sql(host, query):
    return host.check_output(f'runuser -u postgres -- psql -XqAtd postgres -c "{query}"')


@pytest.fixture(scope="module")
def primary(host):
    if sql(host, "select pg_is_in_recovery()") == "t":
        pytest.skip("this host is the standby")


def backups(host):
    return json.loads(host.check_output(INFO))[0]["backup"]


def test_last_backup_is_of_the_last_day_and_encrypted(host):
    def missing():
        fresh = [one for one in backups(host) if time.time() - one["timestamp"]["stop"] < 26 * 3600]
        return [] if fresh else ["a backup of the last 26 hours"]

    assert left(missing, within_s=SETTLE_SECONDS, every_s=5) == []
    assert json.loads(host.check_output(INFO))[0]["cipher"] == "aes-256-cbc"


def test_a_backup_was_restored_and_found_good(host, primary):
    state = "/var/lib/postgresql/pgbackrest/state.json"

    def missing():
        result = json.loads(host.file(state).content_string).get("matchpoint_restore_test_last_result", {})
        return [] if result.get("") == 1 else ["a good restore test"]

    assert left(missing, within_s=SETTLE_SECONDS, every_s=5) == []
    assert not host.file("/var/lib/postgresql/restore-test").exists


def test_the_store_is_there_and_has_this_database(host, primary):
    """Of pgBackRest's `check` the part that writes nothing; the other one is the next test."""
    own = sql(host, "select system_identifier from pg_control_system()")
    stanza = json.loads(host.check_output(INFO))[0]
    assert (stanza["status"]["code"], str(stanza["db"][-1]["system-id"])) == (0, own)


def test_log_is_archived_and_nothing_waits(host, primary):
    assert sql(host, "select current_setting('archive_mode')") == "on"
    assert "archive-push" in sql(host, "select current_setting('archive_command')")
    old = "modification < now() - interval '90 s'"
    ready = f"select count(*) from pg_ls_archive_statusdir() where name like '%.ready' and {old}"

    def waiting():
        count = int(sql(host, ready))
        return [f"{count} segments wait to be archived"] if count else []

    assert left(waiting, within_s=SETTLE_SECONDS, every_s=5) == []
    failing = "select last_failed_time > coalesce(last_archived_time, '-infinity') from pg_stat_archiver"
    assert sql(host, failing) in ("f", "")


def test_a_standby_is_ready_to_go_on(host):
    """Both hosts have the same key, place and command, whoever is the primary."""
    assert "archive-push" in sql(host, "select current_setting('archive_command')")
    host.check_output("runuser -u postgres -- matchpoint-backup list")


def test_secrets_are_readable_by_postgres_alone(host):
    for name in ("pgbackrest.conf", "id_ed25519"):
        file = host.file(f"/etc/pgbackrest/{name}")
        assert (file.user, file.mode) == ("postgres", 0o600)
    assert "repo1-cipher-pass" not in host.check_output("ps -eo args")


def test_another_store_that_takes_its_place_is_refused(host):
    """The keys that it may show are pinned."""
    assert "repo1-sftp-host-key-check-type" not in host.file("/etc/pgbackrest/pgbackrest.conf").content_string
    pgbackrest = "runuser -u postgres -- pgbackrest --stanza=matchpoint --log-level-file=off"
    refused = host.run(f"{pgbackrest} --repo1-sftp-known-host=/dev/null info")
    assert "known hosts" in refused.stdout + refused.stderr


def test_backups_and_tests_come_by_themselves(host):
    for unit in ("matchpoint-backup", "matchpoint-restore-test"):
        timer = host.service(f"{unit}.timer")
        assert (timer.is_running, timer.is_enabled) == (True, True)
        assert host.check_output(f"systemctl show --property=Nice --value {unit}.service") == "19"
