"""Getting the store ready, and backups into it."""

from __future__ import annotations

import re
import time
from typing import Any

import common
import detached
from common import RefusedError, Settings, ask, is_standby, listed, pgbackrest, remember, remember_backups, say

SLACK_S = 12 * 3600  # a full backup is due a little before its week is over: the timer comes once a day


def system(settings: Settings) -> str:
    """The identifier that a cluster gets when it is made, and that all its copies share."""
    out = common.run(settings.programs / "pg_controldata", settings.data).stdout
    found = re.search(r"^Database system identifier:\s+(\d+)$", out, re.MULTILINE)
    if not found:
        raise RefusedError("pg_controldata names no system identifier")
    return found[1]


def foreign(settings: Settings, own: str) -> str:
    """Why the cluster here must not write to the store, "" when it may."""
    others = [str(one["system-id"]) for one in listed(settings)["db"]]
    if not others or own in others:
        return ""
    return (
        f"The store {settings.store} has the backups of another cluster (system {', '.join(others)}) than the one here "
        f"(system {own}), so nothing of this one is archived or backed up. Was the host made anew? `make restore` "
        "brings the data back, and all goes on. If they are not wanted: another path in matchpoint_backup_url."
    )


def prepare(settings: Settings) -> dict[str, Any]:
    """Makes the stanza where there is none, and has PostgreSQL archive to it: {changed, state, message}.

    The store is asked once for a cluster, a place and a way in; later runs look at what is remembered.
    """
    settings.state.joinpath("metrics.prom").touch()
    detached.forget(settings)  # a playbook that has come so far has gone on from a restore
    changed = False
    if not settings.metrics.is_symlink():
        settings.metrics.symlink_to(settings.state / "metrics.prom")
        changed = True
    try:
        standby = is_standby(settings)
    except RefusedError as error:
        return {"changed": changed, "state": "down", "message": f"PostgreSQL does not answer: {error}"}
    state = "standby"
    if not standby:
        ready = [system(settings), settings.store, settings.access]
        state = "ready"
        if common.remembered(settings).get("ready") != ready:
            message, is_new = create(settings, ready[0])
            if message:
                return {"state": "foreign", "message": message} | archive(settings, changed)
            remember(settings, ready=ready)
            remember_backups(settings)
            if is_new:
                changed, state = True, "new"
    return {"state": state, "message": ""} | archive(settings, changed)


def create(settings: Settings, own: str) -> tuple[str, bool]:
    """Makes the stanza where there is none: why it must not, "" when it is there, and whether a first backup is due.

    Raises RefusedError with what the operator can do.
    """
    try:
        if message := foreign(settings, own):
            return message, False
        is_new = not listed(settings)["backup"]
        pgbackrest(settings, "stanza-create", "--log-level-console=warn")
    except RefusedError as error:
        raise RefusedError(
            f"{error} --- The store must let in the key `{settings.public_key}`, have the folder, and show a key that "
            "is in matchpoint_backup_host_keys (give all that `ssh-keyscan` prints)."
        ) from error
    return "", is_new


def archive(settings: Settings, changed: bool) -> dict[str, Any]:
    """Has PostgreSQL read where the log goes, when it does not know yet."""
    if ask(settings, "select current_setting('archive_command')") != settings.archive_command:
        ask(settings, "select pg_reload_conf()")
        changed = True
    return {"changed": changed}


def run(settings: Settings, wanted: str) -> None:
    """A backup, full when one is due. A store that was lost and made anew at the same address gets its stanza first."""
    if is_standby(settings):
        say("The database here is a standby: its primary makes the backups.")
        return
    own = system(settings)
    if message := foreign(settings, own):
        raise RefusedError(message)
    if not listed(settings)["db"]:
        say(f"Nothing of this site is in {settings.store}: it begins anew there.")
        create(settings, own)
    full = [one["timestamp"]["start"] for one in listed(settings)["backup"] if one["type"] == "full"]
    is_due = not full or time.time() - full[-1] > settings.full_days * 86400 - SLACK_S
    kind = wanted or ("full" if is_due else "diff")
    say(f"A {kind} backup goes to {settings.store}.")
    pgbackrest(settings, "backup", f"--type={kind}", show=True)
    remember_backups(settings)
