#!/usr/bin/python3
"""Make an empty cluster, the same whatever the locale of the host is."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: postgres_cluster
short_description: a cluster in UTF-8, with checksums, where there is none
description:
  - Debian's package makes one by itself, in the locale of /etc/default/locale. Where that was never generated, or
    another cluster left something behind, it makes none and says nothing.
  - The data are made aside and moved into place, so that a kill leaves nothing that looks like a cluster. Debian's
    C(pg_createcluster) then writes the configuration beside them. What is whole is left alone, whoever made it.
  - What is in the way without being a whole cluster (a configuration without data, the half that a kill left) is moved
    aside, below the folder of the data, and never removed. Data with databases in them are not touched at all.
options:
  cluster: {description: "version and name, as Debian's tools write them", type: str, default: 17/main}
  locale: {description: its locale, type: str, default: C.UTF-8}
"""

RETURN = """
aside: {description: where things went that were in the way, type: list, returned: always}
"""

FIRST_USER_OID = 16384
DATA, CONFIGURATION = Path("/var/lib/postgresql"), Path("/etc/postgresql")


class Wrong(Exception):
    """Why no cluster was made."""


class Cluster:
    def __init__(self, cluster: str, locale: str) -> None:
        self.version, _, self.name = cluster.partition("/")
        self.locale = locale
        self.data, self.configuration = DATA / cluster, CONFIGURATION / cluster
        self.making = self.data.with_name(f"{self.name}.making")

    def is_whole(self) -> bool:
        """Whether there are data and their configuration; `pg_createcluster` writes what is looked for here last."""
        text = self.configuration / "postgresql.conf"
        has_configuration = text.is_file() and "\ninclude_dir = " in text.read_text()
        return has_configuration and (self.data / "global/pg_control").exists()

    def has_database(self) -> bool:
        base = self.data / "base"
        folders = base.iterdir() if base.is_dir() else ()
        return any(path.name.isdigit() and int(path.name) >= FIRST_USER_OID for path in folders)

    def run(self, *command: str) -> None:
        """Raises Wrong."""
        environment = {"LC_ALL": self.locale, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment)
        if done.returncode:
            raise Wrong(f"`{' '.join(command[:4])}` failed: {' '.join((done.stderr or done.stdout).split())}")

    def make(self) -> list[str]:
        """Makes the cluster; where things went that were in the way. Raises Wrong."""
        if self.has_database():
            raise Wrong(f"{self.data} has databases; nothing was changed")
        aside = self.clear()
        self.run("install", "-d", "-o", "postgres", "-g", "postgres", "-m", "0755", str(self.data.parent))
        initdb = f"/usr/lib/postgresql/{self.version}/bin/initdb"
        self.run(
            "runuser", "-u", "postgres", "--", initdb, f"--pgdata={self.making}", f"--locale={self.locale}",
            "--encoding=UTF8", "--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256",
        )  # fmt: skip
        self.making.rename(self.data)
        self.run("pg_createcluster", "--no-status", self.version, self.name)
        return aside

    def clear(self) -> list[str]:
        """Makes room; where things went that were in the way."""
        if self.making.exists():  # of a run that was killed
            shutil.rmtree(self.making)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        moved = []
        for path, what in ((self.data, "data"), (self.configuration, "configuration")):
            if path.is_dir() and any(path.iterdir()):
                # Not beside itself: Debian's tools take what is in the folder of configurations for a cluster
                moved.append(str(self.data.with_name(f"{self.name}.{what}-{stamp}")))
                shutil.move(path, moved[-1])
            elif path.is_dir():
                path.rmdir()
        return moved


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "default": "17/main"},
            "locale": {"type": "str", "default": "C.UTF-8"},
        },
        supports_check_mode=True,
    )
    cluster = Cluster(module.params["cluster"], module.params["locale"])
    if cluster.is_whole():
        module.exit_json(changed=False, aside=[])
    if module.check_mode:
        module.exit_json(changed=True, aside=[])
    try:
        module.exit_json(changed=True, aside=cluster.make())
    except Wrong as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
