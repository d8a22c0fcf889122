"""The SFTP store of `world`, where the backups of a lab's site go."""

import subprocess
from pathlib import Path

from docker.models.containers import Container

from output import LabError

USER = "backup-store"  # its folder is /store
ADMIT = (
    "install -d -m 700 -o {user} -g {user} ~{user}/.ssh && echo '{key}' > ~{user}/.ssh/authorized_keys"
    " && chown {user}: ~{user}/.ssh/authorized_keys && cat /etc/ssh/ssh_host_*_key.pub"
)


def let_in(world: Container, state: Path) -> None:
    """Lets the site's key into the store, and writes down the keys that the store shows."""
    key = state / "secrets" / "backup_key"  # where the playbook looks before it makes one
    if not key.exists():
        key.parent.mkdir(mode=0o700, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "matchpoint-backup", "-f", str(key)]
        subprocess.run(command, check=True)
    public = key.with_suffix(".pub").read_text().strip()
    code, shown = world.exec_run(["sh", "-c", ADMIT.format(user=USER, key=public)])
    assert isinstance(shown, bytes)  # neither streamed nor demultiplexed
    if code:
        raise LabError(f"The SFTP store of `world` does not take the site's key: {shown.decode()}")
    (state / "backup_host_keys").write_bytes(shown)
