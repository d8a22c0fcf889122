"""Passwords that are made once, kept on the control machine and never changed by a second run."""

from __future__ import annotations

import os
import secrets
import string
from pathlib import Path

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: secret
short_description: a generated secret, kept in a file
description:
  - Returns the content of the file O(_terms) in the folder of secrets. When there is none, one is made from letters and
    digits (safe in URLs and configuration files) and stored with mode 0600.
  - In check mode nothing is stored, and the value is a stand-in.
options:
  _terms:
    description: names of secrets
    required: true
  directory:
    description: the folder of secrets on the control machine
    required: true
    type: path
  length:
    description: characters of a new secret
    default: 40
    type: int
"""

ALPHABET = string.ascii_letters + string.digits


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        directory = Path(self.get_option("directory"))
        dry = bool(variables.get("ansible_check_mode"))
        return [self._read(directory / name, dry) for name in terms]

    def _read(self, path: Path, dry: bool) -> str:
        length = self.get_option("length")
        if not path.exists():
            if dry:
                return "x" * length
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._create(path, "".join(secrets.choice(ALPHABET) for _ in range(length)))
        return path.read_text().strip()

    def _create(self, path: Path, value: str) -> None:
        """Store a new secret; hosts are worked on in parallel, so the first one to link its file wins."""
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(value + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
