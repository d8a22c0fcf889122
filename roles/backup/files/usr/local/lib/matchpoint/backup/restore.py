"""Putting a backup in the place of the data, and the weekly proof that it could be done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import detached
from common import RefusedError, Settings, ask, is_standby, listed, megabytes, pgbackrest, remember_test, run, say, when

RESERVE_BYTES = 512 * 2**20  # for the log that is replayed on top, and for all others on the disk
ARCHIVED_S = 180
KEPT = re.compile(r".+\.before-restore-\d{8}T\d{6}Z")
STAMP = "%Y%m%dT%H%M%SZ"
LAST = "select coalesce(extract(epoch from pg_last_xact_replay_timestamp()), 0)"
TEST_CONFIG = """
listen_addresses = ''
unix_socket_directories = '{scratch}'
port = {port}
hba_file = '{scratch}/test_hba.conf'
ident_file = '{scratch}/test_ident.conf'
hot_standby = off
max_connections = 20
shared_buffers = 32MB
jit = off
fsync = off
"""


def room(settings: Settings, backup: dict[str, Any]) -> None:
    """Raises RefusedError when the disk has no room for another copy."""
    needed = backup["info"]["size"] * 1.1 + RESERVE_BYTES
    free = shutil.disk_usage(settings.data.parent).free
    if free < needed:
        raise RefusedError(
            f"The disk of {settings.data} has {megabytes(free)} free, and a restore beside the data takes "
            f"{megabytes(needed)}. Nothing was changed."
        )


def chosen(settings: Settings, target: str) -> dict[str, Any]:
    """The backup that a restore begins with. Raises RefusedError."""
    backups = listed(settings)["backup"]
    if not backups:
        raise RefusedError(f"The store {settings.store} has no backup of this site.")
    if not target:
        return backups[-1]
    try:
        wanted = datetime.fromisoformat(target)
    except ValueError as error:
        raise RefusedError(f"TIME is '{target}': it must be like '2026-11-28 12:00:00+00' ({error}).") from error
    if wanted.tzinfo is None:
        raise RefusedError(f"TIME is '{target}' and names no time zone: '{target}+00' is UTC.")
    if wanted.timestamp() > time.time():
        raise RefusedError(f"TIME is '{target}', which is yet to come.")
    before = [one for one in backups if one["timestamp"]["stop"] < wanted.timestamp()]
    if not before:
        raise RefusedError(
            f"TIME is '{target}', and the oldest backup ended at {when(backups[0]['timestamp']['stop'])}: nothing from "
            "before that can be had."
        )
    return before[-1]


def plan(settings: Settings, target: str) -> dict[str, Any]:
    """What a restore would do here, for people and for the playbook. Raises RefusedError."""
    if told := detached.under_way(settings, target):
        return {"role": "primary", "told": told}
    return plan_anew(settings, target)


def plan_anew(settings: Settings, target: str) -> dict[str, Any]:
    """What it would do where none is under way. Raises RefusedError."""
    if (settings.data / "standby.signal").exists():
        return {"role": "standby", "told": "is a standby"}
    backup = chosen(settings, target)
    room(settings, backup)
    size = megabytes(backup["info"]["size"])
    until = f"the moment {target}" if target else "the last of the archived log"
    of = f"{backup['label']} of {when(backup['timestamp']['stop'])} ({size})"
    return {"role": "primary", "told": f"gets backup {of}, rolled forward to {until}"}


def systemctl(verb: str, unit: str) -> None:
    done = subprocess.run(["/usr/bin/systemctl", verb, unit], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"`systemctl {verb} {unit}` failed: {' '.join(done.stderr.split())}")


def poll(settings: Settings, what: str, is_so: Callable[[], bool], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise RefusedError(f"{what} took longer than {within_s:.0f} s")
        time.sleep(0.5)


def has_recovered(settings: Settings) -> bool:
    """Whether the restored database takes writes. Raises RefusedError when it has given up."""
    try:
        return not is_standby(settings)
    except RefusedError:
        state = ["/usr/bin/systemctl", "is-active", settings.unit]
        if subprocess.run(state, capture_output=True, text=True, check=False).stdout.strip() in ("failed", "inactive"):
            raise RefusedError("PostgreSQL stopped in the middle; its log in /var/log/postgresql tells why") from None
        return False


def make_folder(path: Path) -> None:
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def restore(settings: Settings, target: str) -> dict[str, Any]:
    """Puts a backup in the place of the data, which are kept beside it. What there was comes back when that fails."""
    chosen_plan = plan_anew(settings, target)
    if chosen_plan["role"] != "primary":
        raise RefusedError("The database here is a standby: restore its primary, then `make rejoin` this one.")
    older = sorted(path for path in settings.data.parent.iterdir() if KEPT.fullmatch(path.name))
    systemctl("stop", settings.unit)
    if (settings.data / "global/pg_control").exists() or not older:
        aside = settings.data.with_name(f"{settings.data.name}.before-restore-{time.strftime(STAMP, time.gmtime())}")
        settings.data.rename(aside)
    else:  # left by a restore that was killed, which writes that file last: the data are what was kept then
        aside = older.pop()
        if settings.data.exists():  # it may have been killed before it made that folder
            shutil.rmtree(settings.data)
    try:
        make_folder(settings.data)
        options = ["--type=time", f"--target={target}", "--target-action=promote"] if target else []
        pgbackrest(settings, "restore", "--log-level-console=warn", *options)
        systemctl("start", settings.unit)
        poll(settings, "rolling the log forward", lambda: has_recovered(settings), within_s=4 * 3600)
        # Else a copy of this one, a new standby, would stop at the same moment
        for name in ("recovery_target_time", "recovery_target_action", "restore_command"):
            ask(settings, f"alter system reset {name}")
        systemctl("restart", settings.unit)
        poll(settings, "the start", lambda: has_recovered(settings), within_s=120)
        proof = ask(settings, "select pg_logical_emit_message(true, 'matchpoint', 'restored')")
    except (RefusedError, OSError) as error:
        subprocess.run(["/usr/bin/systemctl", "stop", settings.unit], check=False)
        shutil.rmtree(settings.data)
        aside.rename(settings.data)
        systemctl("start", settings.unit)
        raise RefusedError(f"{error} --- Nothing was restored: the data from before are in place again.") from error
    for path in older:
        shutil.rmtree(path)
    return {"told": chosen_plan["told"], "written_at": proof, "kept": str(aside)}


def answered(settings: Settings, target: str) -> dict[str, Any]:
    """A restore that leaves what it came to. Raises RefusedError."""
    try:
        answer = restore(settings, target)
    except RefusedError as error:
        detached.keep(settings, target, fault=str(error))
        raise
    detached.keep(settings, target, done=answer)
    return answer


# The weekly proof


def mark(settings: Settings) -> float:
    """Writes a transaction that the copy must have, and waits until its log is archived: a moment just before it."""
    at = ask(settings, "select extract(epoch from clock_timestamp())")
    ask(settings, "select pg_logical_emit_message(true, 'matchpoint', 'a restore test')")
    name = ask(settings, "select pg_walfile_name(pg_current_wal_insert_lsn())")
    ask(settings, "select pg_switch_wal()")
    archived = "select last_archived_wal >= '{}' and length(last_archived_wal) = 24 from pg_stat_archiver"
    poll(settings, "archiving the log", lambda: ask(settings, archived.format(name)) == "t", within_s=ARCHIVED_S)
    return float(at)


def newest_row(settings: Settings, socket: Path | None = None) -> float:
    """The time of the newest row, 0 when there is no such table yet."""
    table, _, column = settings.newest.partition(".")
    where = {"socket": socket, "database": settings.database}
    if not table or ask(settings, f"select to_regclass('{table}')", **where) != table:
        return 0.0
    sql = f"select coalesce(extract(epoch from max({column})), 0) from {table}"  # noqa: S608  # from the inventory
    return float(ask(settings, sql, **where))


def test(settings: Settings) -> None:
    """Restores the newest backup into a folder, starts it, and looks whether all is there and in order."""
    if is_standby(settings):
        say("The database here is a standby: its primary tests the backups.")
        return
    began = time.time()
    shutil.rmtree(settings.scratch, ignore_errors=True)
    try:
        backup = chosen(settings, "")
        room(settings, backup)
        row = newest_row(settings)
        marked = mark(settings)
        age = copy(settings, marked, row, began)
    except RefusedError:
        remember_test(settings, began, is_good=False)
        raise
    finally:
        if (settings.scratch / "postmaster.pid").exists():
            run(settings.programs / "pg_ctl", "stop", "-D", settings.scratch, "-m", "immediate", check=False)
        shutil.rmtree(settings.scratch, ignore_errors=True)
    remember_test(settings, began, is_good=True, age=age)
    say(f"Backup {backup['label']} was restored, rolled forward and checked in {time.time() - began:.0f} s.")


def is_open(settings: Settings) -> bool:
    """Whether the copy has been rolled forward and answers. Raises RefusedError when it has given up."""
    if run(settings.programs / "pg_ctl", "status", "-D", settings.scratch, check=False).returncode:
        said = " ".join((settings.scratch / "test.log").read_text()[-1500:].split())
        raise RefusedError(f"The copy does not start: {said}")
    where = ["-h", settings.scratch, "-p", str(settings.port)]
    return run(settings.programs / "pg_isready", "-q", *where, check=False).returncode == 0


def copy(settings: Settings, marked: float, row: float, began: float) -> float:
    """Makes the copy and looks at it: how old its newest transaction was when the test began. Raises RefusedError."""
    scratch = settings.scratch
    make_folder(scratch)
    pgbackrest(settings, "restore", "--log-level-console=warn", f"--pg1-path={scratch}", "--archive-mode=off")
    (scratch / "test.conf").write_text(TEST_CONFIG.format(scratch=scratch, port=settings.port))
    (scratch / "test_hba.conf").write_text("local all all peer\n")
    (scratch / "test_ident.conf").touch()
    start = ["start", "-w", "-s", "-t", "14400", "-D", scratch, "-l", scratch / "test.log"]
    start += ["-o", f"-c config_file={scratch}/test.conf"]
    run(settings.programs / "pg_ctl", *start, check=False, show=True)
    poll(settings, "rolling the log forward", lambda: is_open(settings), within_s=4 * 3600)
    replayed = float(ask(settings, LAST, socket=scratch))
    if replayed < marked:
        raise RefusedError(
            f"The newest transaction of the copy is of {when(replayed)}, and one of {when(marked)} was archived: "
            "the log in the store has a gap."
        )
    found = newest_row(settings, socket=scratch)
    if found < row:
        raise RefusedError(f"The newest row of the copy is of {when(found)}, that of the database of {when(row)}.")
    checks = ["--install-missing", "--heapallindexed", "-h", scratch, "-p", str(settings.port), "-d", settings.database]
    run(settings.programs / "pg_amcheck", *checks)
    return max(0.0, began - replayed)
