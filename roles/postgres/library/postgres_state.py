#!/usr/bin/python3
"""What a host's PostgreSQL cluster is: nothing yet, stopped, a primary or a standby, and what it follows."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: postgres_state
short_description: the state of the local cluster, as its files, its unit and the server itself tell
description:
  - Reads only. Works in check mode, and on a host without PostgreSQL.
  - C(state) is C(missing), C(stopped), C(silent) (its unit runs, but nothing answers), C(primary) or C(standby).
    C(is_virgin) says that no database was ever made in it. C(is_masked), C(is_standby_by_file) and C(superseded) (the
    sentence that the guard left) tell why a stopped one is. C(receiver) describes what a standby receives.
  - C(peers) is what the other database hosts answered to this one, empty before the role installed the means to ask.
  - C(fault) says what is there that is no whole cluster, with the way out, empty for nothing; C(kept) are the folders
    of old data beside it; C(is_copying) tells that a copy of the primary is being made in the background.
options:
  cluster: {description: "version and name, as Debian's tools write them", type: str, default: 17/main}
  port: {description: "that the cluster is to have, to find another one with it, 0 for no look", type: int, default: 0}
  listen_seconds:
    description: how long to listen whether anything still arrives at a standby, 0 for not at all
    type: int
    default: 0
"""

PATIENCE_S = 15
FIRST_USER_OID = 16384
PEERS = Path("/usr/local/sbin/postgres-peers")
DATA, CONFIGURATION = Path("/var/lib/postgresql"), Path("/etc/postgresql")
# Work in the background that a lost connection does not end
RESTORE, CLONE = "matchpoint-restore.service", "matchpoint-clone.service"

# Timelines of the write-ahead log: the control file is a checkpoint behind it after a promotion
PRIMARY = """
select json_build_object(
  'state', 'primary', 'lsn', pg_current_wal_lsn(),
  'timeline', ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,
  'system', (select system_identifier::text from pg_control_system()))
"""
STANDBY = """
select json_build_object(
  'state', 'standby', 'lsn', pg_last_wal_replay_lsn(),
  'timeline', greatest((select timeline_id from pg_control_checkpoint()),
                       (select received_tli from pg_stat_wal_receiver)),
  'system', (select system_identifier::text from pg_control_system()),
  'receiver', json_build_object(
    -- one that is refused what it asks for streams for a moment, too
    'streams', exists (select from pg_stat_wal_receiver join pg_stat_activity using (pid)
                       where status = 'streaming' and backend_start < clock_timestamp() - interval '1 s'),
    'received_lsn', coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()),
    'replayed_lsn', pg_last_wal_replay_lsn(),
    'lag_bytes', coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0),
    'replayed_age_s', round(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 1),
    'message_at', (select last_msg_receipt_time from pg_stat_wal_receiver),
    'message_age_s', (select round(extract(epoch from clock_timestamp() - last_msg_receipt_time), 1)
                      from pg_stat_wal_receiver)))
"""


class Cluster:
    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.cluster = module.params["cluster"]
        self.data = DATA / self.cluster

    def run(self, *command: str, check: bool = False) -> tuple[int, str]:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", env={"LC_ALL": "C", "PATH": "/usr/bin:/usr/sbin"}
        )
        if check and done.returncode:
            self.module.fail_json(msg=f"{command[0]} exited {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done.returncode, done.stdout.strip()

    def unit(self, name: str, unit: str = "") -> str:
        unit = unit or f"postgresql@{self.cluster.replace('/', '-')}.service"
        return self.run("systemctl", "show", f"--property={name}", "--value", unit)[1]

    def query(self, sql: str) -> dict | None:
        """The server's answer over its socket, None without one."""
        try:  # the port that the server was started with
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            port, folder = lines[3], lines[4]
        except (OSError, IndexError):
            return None
        command = ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "-h", folder, "-p", port, "-d", "postgres"]
        code, out = self.run(*command, "-c", sql)
        return json.loads(out) if code == 0 and out else None

    def ask(self) -> dict | None:
        found = self.query("select json_build_object('in_recovery', pg_is_in_recovery())")
        if found is None:
            return None
        return self.query(STANDBY if found["in_recovery"] else PRIMARY)

    def asked(self) -> dict | None:
        """The server's own answer; one that is starting gets some time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if found := self.ask():
                return found
            if self.unit("ActiveState") not in ("active", "activating", "reloading") or time.monotonic() > deadline:
                return None
            time.sleep(0.5)

    def is_virgin(self) -> bool:
        base = self.data / "base"
        folders = base.iterdir() if base.is_dir() else ()
        return not any(path.name.isdigit() and int(path.name) >= FIRST_USER_OID for path in folders)

    def control(self) -> dict:
        """What the control file of a stopped cluster says."""
        program = f"/usr/lib/postgresql/{self.cluster.partition('/')[0]}/bin/pg_controldata"
        _, out = self.run(program, str(self.data), check=True)
        fields = dict(re.findall(r"^([^:]+):\s+(.*)$", out, re.MULTILINE))
        timelines = [int(value) for name, value in fields.items() if name.endswith("TimeLineID")]
        names = (path.name for path in (self.data / "pg_wal").iterdir())
        timelines += [int(name[:8], 16) for name in names if re.fullmatch(r"[0-9A-F]{24}", name)]
        return {
            "system": fields["Database system identifier"],
            "timeline": max(timelines),
            "lsn": fields["Latest checkpoint location"],
            "control": fields["Database cluster state"],
        }

    def listens(self, receiver: dict) -> bool:
        """Whether anything arrives at the standby: a sender answers every few seconds, also with nothing to send."""
        deadline = time.monotonic() + self.module.params["listen_seconds"]
        first = receiver["message_at"]
        while first and time.monotonic() < deadline:
            time.sleep(0.5)
            now = (self.query(STANDBY) or {}).get("receiver") or {}
            if not now.get("message_at"):
                return False
            if now["message_at"] != first:
                return True
        return False

    def peers(self) -> dict:
        if not PEERS.exists():
            return {}
        code, out = self.run("runuser", "-u", "postgres", "--", str(PEERS), "ask")
        return json.loads(out) if code == 0 and out else {}

    def fault(self) -> str:
        """What is here that is no whole cluster and that nobody but its owner can judge, "" for nothing."""
        if self.unit("ActiveState", RESTORE) in ("active", "activating", "deactivating"):
            return "a backup is being restored there: `make restore` with the same CONFIRM and TIME waits for it"
        is_complete = (self.data / "PG_VERSION").exists() and (self.data / "global/pg_control").exists()
        if not is_complete and not self.is_virgin():
            beside = f"; the data of before are in {', '.join(self.kept())}" if self.kept() else ""
            return (
                f"{self.data} is incomplete, as a restore or a copy leaves it that was ended in the middle{beside}. "
                "`make restore` or `make rejoin` does it again; or move it away"
            )
        text = CONFIGURATION / self.cluster / "postgresql.conf"
        if is_complete and not self.is_virgin() and not text.exists():
            version, _, name = self.cluster.partition("/")
            return (
                f"{self.data} has databases, and there is no configuration in {text.parent}. "
                f"`LC_ALL=C.UTF-8 pg_createcluster {version} {name}` there makes one for them; or move them away"
            )
        return self.rival()

    def rival(self) -> str:
        """Another cluster that would take the port, "" for none."""
        for text in sorted(CONFIGURATION.glob("*/*/postgresql.conf")) if self.module.params["port"] else ():
            other = "/".join(text.parts[-3:-1])
            start = text.with_name("start.conf")
            is_started = not start.exists() or re.search(r"^\s*auto\b", start.read_text(), re.MULTILINE)
            port = re.findall(r"^\s*port\s*=\s*'?(\d+)", text.read_text(), re.MULTILINE)
            is_same = int(port[-1] if port else 5432) == self.module.params["port"]
            if other != self.cluster and is_started and is_same:
                return (
                    f"{text.parent} is another cluster with port {self.module.params['port']}, which starts at boot. "
                    f"Write `manual` to {start}, or another port to {text}, and stop it; or, when nobody needs it, "
                    f"`pg_dropcluster --stop {other.replace('/', ' ')}`"
                )
        return ""

    def kept(self) -> list[str]:
        """Data that a restore or a rejoin has put aside."""
        folder, name = self.data.parent, self.data.name
        return sorted(str(path) for path in folder.glob(f"{name}.before-*")) if folder.is_dir() else []

    def describe(self) -> dict:
        found: dict = {
            "is_masked": self.unit("LoadState") == "masked",
            "fault": self.fault(),
            "kept": self.kept(),
            "is_copying": self.unit("ActiveState", CLONE) in ("active", "activating"),
        }
        if not (self.data / "PG_VERSION").exists() or not (self.data / "global/pg_control").exists():
            return found | {
                "state": "missing", "is_virgin": self.is_virgin(), "superseded": "", "is_standby_by_file": False,
            }  # fmt: skip
        note = self.data / "superseded"
        found |= {
            "is_virgin": self.is_virgin(),
            "superseded": note.read_text().strip() if note.exists() else "",
            "is_standby_by_file": (self.data / "standby.signal").exists(),
        }
        if answer := self.asked():
            found |= answer
        elif self.unit("ActiveState") in ("active", "activating"):
            found |= {"state": "silent"}
        else:
            found |= {"state": "stopped"} | self.control()
        receiver = found.get("receiver")
        if receiver and self.module.params["listen_seconds"]:
            receiver["hears"] = self.listens(receiver)
        return found | {"peers": self.peers()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "default": "17/main"},
            "port": {"type": "int", "default": 0},
            "listen_seconds": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **({"peers": {}} | Cluster(module).describe()))


if __name__ == "__main__":
    main()
