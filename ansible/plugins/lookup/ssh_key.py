"""SSH keys that are made once, kept on the control machine and never changed by a second run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ansible.plugins.lookup import LookupBase
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DOCUMENTATION = """
name: ssh_key
short_description: a generated SSH key, kept in two files
description:
  - Returns a dict with C(private) and C(public), the files O(_terms) and O(_terms).pub in the folder of secrets, as
    C(ssh-keygen) writes them. What is missing is made.
  - In check mode nothing is stored, and the values are stand-ins.
options:
  _terms:
    description: names of keys
    required: true
  directory:
    description: the folder of secrets on the control machine
    required: true
    type: path
"""


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        directory = Path(self.get_option("directory"))
        is_check = bool(variables.get("ansible_check_mode"))
        return [self._read(directory / name, is_check) for name in terms]

    def _read(self, path: Path, is_check: bool) -> dict[str, str]:
        if not path.exists():
            if is_check:
                return {"private": "", "public": ""}
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (path.parent / ".ssh_key.lock").open("w") as lock:  # hosts are worked on in parallel
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    self._make(path)
        return {"private": path.read_text(), "public": path.with_suffix(".pub").read_text().strip()}

    def _make(self, path: Path) -> None:
        key = Ed25519PrivateKey.generate()
        openssh, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, openssh, plain)
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        path.with_suffix(".pub").write_bytes(public + b" matchpoint-backup\n")
        draft = path.with_name(f".{path.name}.draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(private)
        draft.rename(path)
