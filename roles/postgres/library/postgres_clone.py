#!/usr/bin/python3
"""Replace a stopped cluster by a copy of the primary, to be started as its standby."""

from __future__ import annotations

import re
import shlex
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
    leaves what there was.
  - The copy is made by a unit of its own, which a lost connection does not end. The next run waits for it; one that was
    complete before anybody waited is made anew, because nobody kept the log for it.
  - The old data directory is kept as C(<name>.before-rejoin-<time>), the newest one only, when O(keep) says so.
options:
  cluster: {description: "version and name, as Debian's tools write them; it must not run", type: str, default: 17/main}
  primary: {description: "connection string of the primary, without a password", type: str, required: true}
  slot: {description: replication slot on the primary, type: str, required: true}
  keep: {description: whether the old data may hold what exists nowhere else, type: bool, default: false}
"""

UNIT = "matchpoint-clone.service"  # as in module postgres_state
POLL_S = 1.0


class Clone:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        version, _, name = module.params["cluster"].partition("/")
        self.data = Path("/var/lib/postgresql", version, name)
        self.unit = f"postgresql@{version}-{name}.service"
        self.program = f"/usr/lib/postgresql/{version}/bin/pg_basebackup"
        self.incoming = self.data.with_name(f"{self.data.name}.incoming")
        self.log = Path(f"/var/log/postgresql/postgresql-{version}-{name}-copy.log")

    def state(self, unit: str) -> str:
        command = ["systemctl", "show", "--property=ActiveState", "--value", unit]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def is_running(self) -> bool:
        return self.state(self.unit) not in ("inactive", "failed")

    def copy(self) -> None:
        """Everything of the primary, up to the moment when the copy ended."""
        if self.state(UNIT) in ("inactive", "failed"):
            shutil.rmtree(self.incoming, ignore_errors=True)  # there may be none; pg_basebackup refuses what stays
            self.begin()
        while self.state(UNIT) not in ("inactive", "failed"):
            time.sleep(POLL_S)  # systemd tells the end of a unit to whoever started it, which may have been another run
        if not (self.incoming / "standby.signal").exists():
            shutil.rmtree(self.incoming, ignore_errors=True)  # why it failed is told; the next copy begins with this
            said = " ".join(self.log.read_text(errors="replace")[-1500:].split()) if self.log.exists() else ""
            self.module.fail_json(msg=f"pg_basebackup failed, {self.data} is as it was: {said or 'it was ended'}")

    def begin(self) -> None:
        copy = [
            self.program, "--dbname", self.module.params["primary"], "--slot", self.module.params["slot"],
            "--pgdata", str(self.incoming), "--wal-method=stream", "--checkpoint=fast", "--no-password",
        ]  # fmt: skip
        script = f"{shlex.join(copy)} && touch {shlex.quote(str(self.incoming / 'standby.signal'))}"
        command = [
            "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--uid=postgres", "--gid=postgres",
            "--setenv=LC_ALL=C", "--property=WorkingDirectory=/", "--property=StandardOutput=null",
            f"--property=StandardError=truncate:{self.log}", "/bin/sh", "-c", script,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            self.module.fail_json(msg=f"systemd-run failed, {self.data} is as it was: {done.stderr.strip()}")

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
