#!/usr/bin/python3
"""Replace a stopped cluster by a copy of the primary, to be started as its standby."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: postgres_clone
short_description: make the data of a standby with pg_basebackup
description:
  - Copies the primary beside the data directory and swaps the two when the copy is complete, so that an interrupted run
    leaves what there was, and the next one starts over.
  - The old data directory is kept as C(<name>.before-rejoin-<time>), the newest one only, when O(keep) says so.
options:
  cluster: {description: "version and name, as Debian's tools write them; it must not run", type: str, default: 17/main}
  primary: {description: "connection string of the primary, without a password", type: str, required: true}
  slot: {description: replication slot on the primary, type: str, required: true}
  keep: {description: whether the old data may hold what exists nowhere else, type: bool, default: false}
"""


class Clone:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        version, _, name = module.params["cluster"].partition("/")
        self.data = Path("/var/lib/postgresql", version, name)
        self.unit = f"postgresql@{version}-{name}.service"
        self.program = f"/usr/lib/postgresql/{version}/bin/pg_basebackup"
        self.incoming = self.data.with_name(f"{self.data.name}.incoming")

    def as_postgres(self, *command: str) -> str:
        done = subprocess.run(
            ["runuser", "-u", "postgres", "--", *command],
            capture_output=True, text=True, cwd="/", env={"LC_ALL": "C", "PATH": "/usr/bin:/usr/sbin"},
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(self.incoming, ignore_errors=True)
            said = " ".join((done.stderr or done.stdout).split())
            self.module.fail_json(
                msg=f"{Path(command[0]).name} failed, {self.data} is as it was: {said}", exit_code=done.returncode
            )
        return done.stderr

    def is_running(self) -> bool:
        return subprocess.run(["systemctl", "is-active", "--quiet", self.unit]).returncode == 0

    def copy(self) -> None:
        """Everything of the primary, up to the moment when the copy ended."""
        shutil.rmtree(self.incoming, ignore_errors=True)
        self.as_postgres(
            self.program, "--dbname", self.module.params["primary"], "--slot", self.module.params["slot"],
            "--pgdata", str(self.incoming), "--wal-method=stream", "--checkpoint=fast", "--no-password",
        )  # fmt: skip
        self.as_postgres("touch", str(self.incoming / "standby.signal"))

    def swap(self) -> str:
        """Puts the copy in place; the path of what was kept, "" for nothing."""
        kept = ""
        if self.data.exists():
            pattern = re.compile(rf"{re.escape(self.data.name)}\.before-rejoin-\d{{8}}T\d{{6}}Z")
            older = [path for path in self.data.parent.iterdir() if pattern.fullmatch(path.name)]
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            aside = self.data.with_name(f"{self.data.name}.before-rejoin-{stamp}")
            self.data.rename(aside)
            self.incoming.rename(self.data)
            if self.module.params["keep"]:
                kept = str(aside)
                for path in older:
                    shutil.rmtree(path)
            else:
                shutil.rmtree(aside)
        else:
            self.incoming.rename(self.data)
        return kept


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "default": "17/main"},
            "primary": {"type": "str", "required": True},
            "slot": {"type": "str", "required": True},
            "keep": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    clone = Clone(module)
    if module.check_mode:
        module.exit_json(changed=True, kept="")
    if clone.is_running():
        module.fail_json(msg=f"{clone.unit} runs; it must be stopped before its data are replaced")
    started = time.monotonic()
    clone.copy()
    module.exit_json(changed=True, kept=clone.swap(), seconds=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    main()
