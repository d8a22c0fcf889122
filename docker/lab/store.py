"""The SFTP store of `world`, where the backups of a lab's site go."""

import os
import subprocess
import tempfile
from pathlib import Path

import yaml
from docker.models.containers import Container

from output import LabError

USER = "backup-store"  # its folder is /store
ADMIT = (
    "install -d -m 700 -o {user} -g {user} ~{user}/.ssh && echo '{key}' > ~{user}/.ssh/authorized_keys"
    " && chown {user}: ~{user}/.ssh/authorized_keys && cat /etc/ssh/ssh_host_*_key.pub"
)


def let_in(world: Container, state: Path) -> None:
    """Lets the site's key into the store, and writes down the keys that the store shows."""
    code, shown = world.exec_run(["sh", "-c", ADMIT.format(user=USER, key=public_key(state))])
    assert isinstance(shown, bytes)  # neither streamed nor demultiplexed
    if code:
        raise LabError(f"The SFTP store of `world` does not take the site's key: {shown.decode()}")
    (state / "backup_host_keys").write_bytes(shown)


def public_key(state: Path) -> str:
    """The site's key, put into its secrets before the first deploy makes the rest of them."""
    secrets, folder = state / "secrets.yml", state / "secrets"
    if (folder / "backup_key.pub").exists():  # of an earlier version; the next deploy takes it over
        return (folder / "backup_key.pub").read_text().strip()
    with tempfile.TemporaryDirectory(dir=state) as scratch:  # ssh-keygen reads keys that nobody else may read
        key = Path(scratch) / "key"
        if secrets.exists():
            write(key, yaml.safe_load(secrets.read_text())["current"]["backup_key"])
        else:
            keygen("-q", "-t", "ed25519", "-N", "", "-C", "matchpoint-backup", "-f", str(key))
            write(secrets, yaml.safe_dump({"current": {"backup_key": key.read_text()}}))
        return f"{keygen('-y', '-f', str(key))} matchpoint-backup"


def write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def keygen(*arguments: str) -> str:
    return subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, text=True).stdout.strip()
