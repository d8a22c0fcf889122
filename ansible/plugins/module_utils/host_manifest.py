"""What a site's roles wrote on this host, and what was there before them: so that it can be taken away again.

`files.json` is {path: role}, of every file that write_files wrote and has not removed since. `bare.json` is what the
host had before the first of them, {"packages": [...], "users": [...], "groups": [...], "paths": [...]} (of DATA and
LOGS those that were there), or nothing when the site was there before there was a manifest. `before/` has the files
that were overwritten. What the present run wrote is marked in /run, under the token of its deploy lock.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path("/var/lib/misc/matchpoint-manifest")
RUN = Path("/run/matchpoint")
# What a version that kept no manifest has left, on every host the first; a deploy notes its secrets before roles write
TRACES = (Path("/etc/nftables-matchpoint.conf"), Path("/etc/matchpoint/app.env"))
# What packages that came with the site take along when they go, though it was the host's (or a link that leads nowhere)
PURGED = (Path("/etc/default/locale"),)
# Of the site, where it made them: of PostgreSQL its cluster and what is put aside of it; there may be others beside
DATA = (
    "/var/lib/postgresql/17/main", "/var/lib/postgresql/17/main.before-re*", "/var/lib/postgresql/17/main.incoming",
    "/var/lib/postgresql/17/main.making", "/var/lib/valkey", "/var/lib/prometheus", "/var/lib/grafana",
    "/var/lib/matchpoint", "/var/lib/etcd", "/etc/letsencrypt",
)  # fmt: skip
# Logs, leftovers of packages that their purge forgets, and what roles keep in homes of users that are not theirs alone
LOGS = (
    "/var/log/nginx", "/var/log/postgresql/*-17-main.log*", "/var/log/postgresql/matchpoint-*.log*",
    "/var/log/valkey", "/var/log/pgbackrest", "/var/lib/postgresql/pgbackrest", "/var/lib/postgresql/.ansible",
    "/var/log/letsencrypt", "/var/log/prometheus", "/var/log/grafana", "/var/log/haproxy*", "/var/lib/nginx",
    "/var/lib/haproxy", "/var/log/unattended-upgrades",
    "/var/lib/letsencrypt", "/var/lib/pgbackrest", "/var/spool/pgbackrest", "/etc/postgresql/17/main",
    "/etc/postgresql-common",
    "/etc/prometheus", "/etc/valkey", "/etc/nginx", "/etc/haproxy", "/etc/pgbackrest*", "/etc/grafana", "/etc/mtail",
    "/etc/patroni",
)  # fmt: skip


class Manifest:
    def __init__(self, folder: Path = FOLDER, run: Path = RUN) -> None:
        self.folder, self._marks, self._lock = folder, run / "written.jsonl", run / "deploy.lock"

    def files(self) -> dict[str, str]:
        """{path: role}, empty where there is no manifest."""
        return self._read("files.json")

    def bare(self) -> dict[str, list[str]]:
        """Packages, users and groups of before the site, empty where nobody knows."""
        return self._read("bare.json")

    def begin(self, traces: Iterable[Path] = TRACES) -> None:
        """Notes what the host has before anything is written; does nothing where that was done."""
        if (self.folder / "files.json").exists():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_bare = not any(path.exists() for path in traces)
        had = {"packages": packages(), "users": users(), "groups": groups(), "paths": filled()}
        self._write("bare.json", had if is_bare else {})
        self._write("files.json", {})
        for path in PURGED:
            self.keep(path)

    def keep(self, path: Path) -> None:
        """Keeps a file that is about to be overwritten, if it is not the site's own."""
        if (path.is_file() or path.is_symlink()) and self.bare() and str(path) not in self.files():
            kept = self.before(path)
            if os.path.lexists(kept):  # a run that was killed may have overwritten it already
                return
            kept.parent.mkdir(parents=True, exist_ok=True)
            copy_whole(path, kept)

    def before(self, path: Path) -> Path:
        """Where the file is kept that was there before; it may not exist."""
        return self.folder / "before" / path.relative_to("/")

    def note(self, role: str, written: Iterable[str], gone: Iterable[str] = ()) -> None:
        """Notes what a role has written and what it has removed, and marks it as of this run."""
        there = self.files()
        now = {path: name for path, name in there.items() if path not in set(gone)} | dict.fromkeys(written, role)
        if now != there:
            self._write("files.json", now)
        for path in gone:  # what was there before came back, and may change now
            self.before(Path(path)).unlink(missing_ok=True)
        if token := self.token():
            with self._marks.open("a") as file:
                file.write(json.dumps({"token": token, "role": role, "paths": list(written)}) + "\n")

    def token(self) -> str:
        """Of the lock of the present run, "" when nobody holds it."""
        try:
            return str(json.loads(self._lock.read_text())["token"])
        except (OSError, ValueError, KeyError):
            return ""

    def left(self, roles: Iterable[str], whole: Iterable[str]) -> list[str]:
        """What the site has no use for any more, when `roles` are those of the host and this run has done all it does.

        That is all of other roles, and of those in `whole`, which write all their files in each run, what they have not
        written in this one. One that has written nothing (it was left out, or there is no lock) loses nothing.
        """
        wrote: dict[str, set[str]] = {}
        token = self.token()
        if token and self._marks.exists():
            for line in self._marks.read_text().splitlines():
                mark = json.loads(line)
                if mark["token"] == token:
                    wrote.setdefault(mark["role"], set()).update(mark["paths"])
        there, wanted, whole = self.files(), set(roles), set(whole)
        return sorted(
            path
            for path, role in there.items()
            if role and (role not in wanted or (role in whole and role in wrote and path not in wrote[role]))
        )

    def forget_marks(self) -> None:
        self._marks.unlink(missing_ok=True)

    def _read(self, name: str) -> dict:
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return {}

    def _write(self, name: str, value: object) -> None:
        draft = self.folder / f".{name}"
        draft.write_text(json.dumps(value, indent=0, sort_keys=True) + "\n")
        draft.replace(self.folder / name)


def copy_whole(source: Path, target: Path) -> None:
    """Copies a file with its owner and mode, or a link as the link that it is, wherever it leads."""
    shutil.copy2(source, target, follow_symlinks=False)
    owner = source.lstat()
    os.lchown(target, owner.st_uid, owner.st_gid)


def packages() -> list[str]:
    """Names of the packages that are installed."""
    asked = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\\n"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(line.split()[1] for line in said if line.startswith("ii"))


def users() -> list[str]:
    return sorted(each.pw_name for each in pwd.getpwall())


def groups() -> list[str]:
    return sorted(each.gr_name for each in grp.getgrall())


def filled() -> list[str]:
    """Which of DATA and LOGS there are, and not empty."""
    there = (path for pattern in (*DATA, *LOGS) for path in Path("/").glob(pattern.lstrip("/")))
    return sorted(str(path) for path in there if not path.is_dir() or any(path.iterdir()))
