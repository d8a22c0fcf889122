"""A restore that outlives the connection which asked for it: a unit of systemd, whose answer waits in a file."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from common import RefusedError, Settings, replace, when

UNIT = "matchpoint-restore.service"
PROGRAM = Path("/usr/local/sbin/matchpoint-backup")
POLL_S = 1.0


def is_running() -> bool:
    state = ["/usr/bin/systemctl", "show", "--property=ActiveState", "--value", UNIT]
    done = subprocess.run(state, capture_output=True, text=True, check=False)
    return done.stdout.strip() in ("active", "activating", "deactivating")


def answer_path(settings: Settings) -> Path:
    return settings.state / "restore.json"


def answer(settings: Settings) -> dict[str, Any]:
    """What the last restore came to, {} when there was none or the site has gone on since."""
    path = answer_path(settings)
    return json.loads(path.read_text()) if path.exists() else {}


def keep(settings: Settings, target: str, **found: Any) -> None:
    """Leaves the answer of a restore, C(done) or C(fault), for whoever waits for it."""
    replace(answer_path(settings), json.dumps({"target": target, "ended": time.time()} | found) + "\n")


def forget(settings: Settings) -> None:
    answer_path(settings).unlink(missing_ok=True)


def under_way(settings: Settings, target: str) -> str:
    """What a restore to this moment has come to that nobody has gone on from, in words; "" for nothing."""
    if is_running():
        return "is being restored already, and this waits for it"
    last = answer(settings)
    if "done" in last and last["target"] == target:
        return f"was restored at {when(last['ended'])}, and this goes on from there"
    return ""


def begin(settings: Settings, target: str) -> dict[str, Any]:
    """Starts a restore, unless one is under way: {changed}. Raises RefusedError."""
    if under_way(settings, target):
        return {"changed": False}
    forget(settings)
    command = ["/usr/bin/systemd-run", "--quiet", "--collect", f"--unit={UNIT}", PROGRAM, "restore", f"--time={target}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"systemd-run failed: {' '.join(done.stderr.split())} --- Nothing was changed.")
    return {"changed": True}


def wait(settings: Settings) -> dict[str, Any]:
    """What the restore came to, when it has. Raises RefusedError with why it came to nothing."""
    while is_running():
        time.sleep(POLL_S)  # systemd tells the end of a unit to whoever started it, and that connection may be gone
    last = answer(settings)
    if "fault" in last:
        raise RefusedError(last["fault"])
    if "done" not in last:
        raise RefusedError(f"The restore was ended before it was done (`journalctl -u {UNIT}` tells how).")
    return last["done"]
