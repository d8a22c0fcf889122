"""What was lost comes back: from the store, to a moment, with everything that was written before it."""

import json

import pytest

from tests.conftest import Lab, poll


def sql(site: Lab, statement: str) -> str:
    return site.run("mp1", "sudo -u postgres psql -d matchpoint -XqAt", stdin=statement)


def test_a_mistake_is_undone_and_what_came_before_it_is_there(site: Lab) -> None:
    """Rows that came after the last backup, then a mistake; the moment between the two is restored."""
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

        told = " ".join(site.make("restore", f"TIME={moment}", "CONFIRM=matchpoint.localhost").split())
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
