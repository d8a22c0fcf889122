"""What all parts of the backup share: settings, programs, the database's own word, the store's list, and metrics."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/matchpoint/backup.json")
USER = "postgres"
UNREADABLE = 99  # "other": whatever is neither in order nor merely empty
HELP = {
    "matchpoint_backup_last_success_timestamp_seconds": "When the newest backup of this type ended, as Unix time.",
    "matchpoint_backup_last_size_bytes": "What the newest backup of this type takes in the store.",
    "matchpoint_backup_last_duration_seconds": "How long the newest backup of this type took.",
    "matchpoint_restore_test_last_success_timestamp_seconds": "When a restored copy was last found good, as Unix time.",
    "matchpoint_restore_test_last_duration_seconds": "How long the last restore test took.",
    "matchpoint_restore_test_last_result": "What came of the last restore test: 1 a good copy, 0 none.",
    "matchpoint_restore_test_data_age_seconds": "How old the newest transaction of the copy was when the test began.",
}


class RefusedError(Exception):
    """Why something was not done, as a sentence."""


@dataclass(frozen=True)
class Settings:
    """What the role wrote about this host."""

    stanza: str
    store: str  # user@host:port/path, for people
    public_key: str
    data: Path
    unit: str
    programs: Path  # PostgreSQL's
    port: int
    database: str
    newest: str  # table.column with the time of each row, "" for no look
    archive_command: str
    full_days: int
    state: Path
    metrics: Path  # what the node exporter reads
    config: Path  # pgBackRest's: the way to the store, the key for it, and the passphrase

    @classmethod
    def read(cls) -> Settings:
        values = json.loads(SETTINGS.read_text())
        return cls(**values | {name: Path(values[name]) for name in ("data", "programs", "state", "metrics", "config")})

    @property
    def access(self) -> str:
        """Another one when the way to the store, the key or the passphrase is another."""
        names = ("pgbackrest.conf", "known_hosts", "id_ed25519")
        return hashlib.sha256(b"".join((self.config / name).read_bytes() for name in names)).hexdigest()

    @property
    def scratch(self) -> Path:
        return self.data.parents[1] / "restore-test"


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def megabytes(count: float) -> str:
    return f"{count / 2**20:.0f} MiB"


def plain(said: str) -> str:
    """What pgBackRest said, without its hints for other systems than this one."""
    if "outside of section" in said or "CryptoError" in said:
        return "what is there was encrypted with another passphrase than `backup_passphrase` in secrets.yml"
    return " ".join(said.split()).split(" HINT: ")[0]


def run(*command: str | Path, check: bool = True, show: bool = False) -> subprocess.CompletedProcess[str]:
    """A program as the database's user. Raises RefusedError with what it said when it fails."""
    words = [str(word) for word in command]
    become = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    pipe = None if show else subprocess.PIPE
    done = subprocess.run(
        [*become, *words], stdout=pipe, stderr=pipe, text=True, errors="replace",  # what a wrong passphrase deciphers
        cwd="/", env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/usr/sbin"}, check=False,
    )  # fmt: skip
    if check and done.returncode:
        said = plain(" ".join(f"{done.stderr or ''} {done.stdout or ''}".split()))[-1500:]
        raise RefusedError(f"`{' '.join(words[:4])}` failed{': ' + said if said else ', the lines above say why'}")
    return done


def pgbackrest(settings: Settings, command: str, *options: str, **how: bool) -> subprocess.CompletedProcess[str]:
    return run("pgbackrest", f"--stanza={settings.stanza}", command, *options, **how)


def ask(settings: Settings, sql: str, *, socket: Path | None = None, database: str = "postgres") -> str:
    """The one value that a query answers. Raises RefusedError."""
    where = ["-h", str(socket)] if socket else []
    psql = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-p", str(settings.port), *where, "-d", database, "-c", sql]
    return run(settings.programs / "psql", *psql).stdout.strip()


def is_standby(settings: Settings) -> bool:
    """Raises RefusedError when the database does not answer."""
    return ask(settings, "select pg_is_in_recovery()") == "t"


def listed(settings: Settings) -> dict[str, Any]:
    """What the store has of this site: `db`, the clusters that wrote there, and `backup`, oldest first.

    Raises RefusedError when the store cannot be read, which pgBackRest reports as a state and no failure of its own.
    """
    text = pgbackrest(settings, "info", "--output=json", "--log-level-console=off").stdout
    found = next((one for one in json.loads(text or "[]", strict=False) if one.get("name") == settings.stanza), {})
    for repository in found.get("repo", []):
        if repository["status"]["code"] == UNREADABLE:
            raise RefusedError(f"The store {settings.store} cannot be read: {plain(repository['status']['message'])}")
    return {"db": found.get("db", []), "backup": [one for one in found.get("backup", []) if not one.get("error")]}


def replace(path: Path, text: str) -> None:
    """Writes a file aside and moves it into place, for everybody to read."""
    handle, draft = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(draft, 0o644)
    os.replace(draft, path)


def remembered(settings: Settings) -> dict[str, Any]:
    path = settings.state / "state.json"
    return json.loads(path.read_text()) if path.exists() else {}


def remember(settings: Settings, **facts: Any) -> None:
    """Keeps facts, and makes the metrics of them."""
    state = remembered(settings) | facts
    replace(settings.state / "state.json", json.dumps(state, indent=2) + "\n")
    lines = []
    for name, explanation in HELP.items():
        if values := state.get(name):
            lines += [f"# HELP {name} {explanation}", f"# TYPE {name} gauge"]
            lines += [f"{name}{labels} {value:.3f}" for labels, value in values.items()]
    replace(settings.state / "metrics.prom", "".join(f"{line}\n" for line in lines))


def remember_backups(settings: Settings) -> None:
    """The newest backup of each type, as the store has it."""
    newest = {f'{{type="{one["type"]}"}}': one for one in listed(settings)["backup"]}

    def each(value: Any) -> dict[str, float]:
        return {labels: value(one) for labels, one in newest.items()}

    remember(
        settings,
        matchpoint_backup_last_success_timestamp_seconds=each(lambda one: one["timestamp"]["stop"]),
        matchpoint_backup_last_size_bytes=each(lambda one: one["info"]["repository"]["delta"]),
        matchpoint_backup_last_duration_seconds=each(lambda one: one["timestamp"]["stop"] - one["timestamp"]["start"]),
    )


def remember_test(settings: Settings, began: float, *, is_good: bool, age: float | None = None) -> None:
    facts = {"last_duration_seconds": time.time() - began, "last_result": float(is_good)}
    if is_good:
        facts |= {"last_success_timestamp_seconds": time.time(), "data_age_seconds": age or 0.0}
    remember(settings, **{f"matchpoint_restore_test_{name}": {"": value} for name, value in facts.items()})
