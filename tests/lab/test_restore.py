"""What was lost comes back: from the store, to a moment, with everything that was written before it."""

import json
import subprocess

import pytest

from tests.conftest import ENVIRONMENT, ROOT, Lab, poll
from tests.processes import started

UNIT = "matchpoint-restore.service"
CONSENT = "CONFIRM=matchpoint.localhost"


def sql(site: Lab, statement: str) -> str:
    return site.run("mp1", "sudo -u postgres psql -d matchpoint -XqAt", stdin=statement)


def cut_short(site: Lab, *arguments: str) -> None:
    """A restore whose playbook is killed as soon as the database is being replaced."""
    command = ["make", "-C", str(ROOT), "restore", *arguments, f"LAB={site.name}", "PUBLISH=0"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, grace_s=0):
        poll(
            lambda: site.run("mp1", f"systemctl is-active {UNIT} || true") == "active",
            within_s=180, every_s=0.2, what="the restore to begin",
        )  # fmt: skip


def test_a_restore_that_fails_leaves_the_game_running(site: Lab) -> None:
    site.run("mp1", f"systemctl mask --runtime {UNIT}")
    try:
        with pytest.raises(AssertionError) as failed:
            site.make("restore", CONSENT)
    finally:
        site.run("mp1", f"systemctl unmask --runtime {UNIT}")
    told = " ".join(str(failed.value).split())
    assert f"Nothing was changed. The game is running again. To go on: `make restore {CONSENT}`" in told
    assert '"ready": true' in site.run("mp1", "curl -sS --fail http://127.0.0.1:8101/readyz")


def test_a_mistake_is_undone_and_what_came_before_it_is_there(site: Lab) -> None:
    """Rows that came after the last backup, then a mistake; the moment between the two is restored.

    The playbook is killed in the middle of it; the next one goes on, and restores nothing a second time.
    """
    sql(site, "create table keepsake (n int primary key); insert into keepsake select generate_series(1, 1000);")
    try:
        seen = sql(site, "select sum(n) from keepsake")
        matches = sql(site, "select count(*) from matches_match")
        moment = sql(site, "select clock_timestamp()")
        sql(site, "delete from keepsake where n > 10")
        with pytest.raises(AssertionError) as refused:
            site.make("restore", f"TIME={moment}")
        assert "make restore CONFIRM=matchpoint.localhost" in " ".join(str(refused.value).split())
        assert sql(site, "select count(*) from keepsake") == "10"

        before = site.run("mp1", "date +%s")
        cut_short(site, f"TIME={moment}", CONSENT)
        told = " ".join(site.make("restore", f"TIME={moment}", CONSENT).split())
        begun = site.run("mp1", f"journalctl -u {UNIT} --since @{before} --grep '^Started' --output cat | wc -l")
        assert begun == "1"
        assert "a match was played and is there" in told
        assert sql(site, "select sum(n) from keepsake") == seen
        assert int(sql(site, "select count(*) from matches_match")) > int(matches)
        assert sql(site, "select count(*) from pg_settings where pending_restart") == "0"
        assert site.run("mp1", "ls -d /var/lib/postgresql/17/main.before-restore-*")
    finally:
        sql(site, "drop table if exists keepsake")
    poll(lambda: has_archived(site), within_s=120, what="the log of the restored database to reach the store")


def has_archived(site: Lab) -> bool:
    """Whether the restored database's own timeline is archived."""
    archived = "select coalesce(last_archived_wal, '') from pg_stat_archiver"
    return sql(site, archived)[:8] == sql(site, "select left(pg_walfile_name(pg_current_wal_lsn()), 8)")


def test_a_backup_by_hand_is_listed(site: Lab) -> None:
    told = site.make("backup")
    newest = json.loads(site.run("mp1", "sudo -u postgres pgbackrest info --output=json --log-level-console=off"))
    assert newest[0]["backup"][-1]["label"] in told
