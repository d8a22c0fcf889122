"""The file with everything secret of a site, and whether hosts run with what is in it."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml
from ansible.errors import AnsibleError
from authority import CA, HOSTS, NEXT, Authority
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# How many letters and digits each has that is made here
LENGTHS = {
    "app_key": 64,
    "postgres_owner": 40,
    "postgres_app": 40,
    "postgres_exporter": 40,
    "postgres_replication": 40,
    "valkey_app": 40,
    "valkey_exporter": 40,
    "grafana_admin": 40,
    "backup_passphrase": 64,
}
BACKUP_KEY = "backup_key"  # an SSH key
# What cannot be changed under a running site, and what to do instead
UNCHANGEABLE = {
    "backup_passphrase": (
        "what is in the store stays encrypted with it: give backups another place (matchpoint_backup_url), put a new "
        "passphrase into the file, deploy with NEW_SECRETS=1, and keep the old one as long as the old backups"
    ),
    BACKUP_KEY: (
        "the store must let the new one in first: make one with ssh-keygen, let it in beside the old one, put it into "
        "the file and deploy with NEW_SECRETS=1"
    ),
    "ca": "`make rotate-certificates CA=1` does it",
}
ALPHABET = string.ascii_letters + string.digits  # safe in URLs and configuration files
HEADER = """\
# Everything secret of a Matchpoint site, made by its first deploy. Keep a copy somewhere else: docs/secrets.md tells
# what is lost without it. `current` is what hosts run with, `other` is accepted beside it while it is changed, and
# `known` are digests of what hosts may still have that were away meanwhile.
"""
TOMBSTONE = "The secrets are in {file} now. This file keeps earlier versions of Matchpoint from making new ones here.\n"


class SecretsError(Exception):
    """What is wrong with the file, as a sentence."""


class Vault(Protocol):
    """ansible.parsing.vault.VaultLib, as far as it is needed."""

    secrets: Any

    def decrypt(self, text: bytes) -> bytes: ...
    def encrypt(self, text: bytes) -> bytes: ...


@dataclass
class Secrets:
    """What is in the file `path`, or in the folder `folder` in which an earlier version kept it, or nothing yet."""

    path: Path
    vault: Vault
    salt: str = ""
    current: dict[str, str] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    rotation: dict[str, Any] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    authority: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    stored: bytes = b""  # the text that the file has now
    is_encrypted: bool = False

    @classmethod
    def read(cls, path: Path, vault: Vault) -> Secrets:
        """Raises SecretsError when the file cannot be read, and when the password for it is missing or wrong."""
        found = cls(path, vault)
        folder = path.with_suffix("")
        if path.exists():
            found._load(path.read_bytes())
        elif path.suffix and folder.is_dir():
            found._load_folder(folder)
        return found

    def _load(self, raw: bytes) -> None:
        if self.path.stat().st_size == 0:
            raise SecretsError(f"{self.path} is empty: put a copy of it in its place, or remove it")
        self.is_encrypted = raw.startswith(b"$ANSIBLE_VAULT;")
        if self.is_encrypted:
            if not self.vault.secrets:
                how = "for example in a file that ANSIBLE_VAULT_PASSWORD_FILE names"
                raise SecretsError(f"{self.path} is encrypted: give the password, {how}")
            try:
                raw = self.vault.decrypt(raw)
            except AnsibleError:
                raise SecretsError(f"{self.path} cannot be decrypted with the vault password that was given") from None
        try:
            content = yaml.load(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
            for name in ("salt", "current", "other", "rotation", "known", "authority"):
                value = content.get(name) or getattr(self, name)
                if not isinstance(value, type(getattr(self, name))):
                    raise TypeError(name)
                setattr(self, name, value)
        except (yaml.YAMLError, AttributeError, TypeError):  # whose message could show a secret
            raise SecretsError(f"{self.path} is not a file of secrets as docs/secrets.md shows it") from None
        self.stored = raw

    def _load_folder(self, folder: Path) -> None:
        for name in (*LENGTHS, BACKUP_KEY):
            if (folder / name).is_file():
                text = (folder / name).read_text()
                self.current[name] = text if name == BACKUP_KEY else text.strip()
        pairs = {path.with_suffix("") for path in folder.glob("ca/**/*.pem")}
        for pair in pairs:
            kinds = {kind: pair.with_name(f"{pair.name}.{kind}") for kind in ("key", "pem")}
            texts = {kind: path.read_text() for kind, path in kinds.items() if path.exists()}
            store = self.authority.setdefault(HOSTS, {}) if pair.parent.name == "hosts" else self.authority
            store[pair.name] = texts
        self.folder = folder if self.current else None

    @property
    def is_there(self) -> bool:
        """Whether the site has secrets. A backup key alone was put there before the first deploy."""
        return bool(self.current.keys() - {BACKUP_KEY})

    def complete(self) -> list[str]:
        """Make what is missing; the names of what was made."""
        missing = [name for name in (*LENGTHS, BACKUP_KEY) if name not in self.current]
        self.current |= {name: new(name) for name in missing}
        self.salt = self.salt or secrets.token_hex(16)
        Authority(self.authority)
        return missing

    def values(self, *, stand_ins: bool) -> dict[str, str]:
        """The current ones; with `stand_ins` also for those that there are none of yet."""
        there = dict(self.current)
        if stand_ins:
            there = {name: "x" * length for name, length in LENGTHS.items()} | {BACKUP_KEY: ""} | there
        return there

    # A change, in three rounds over all hosts: everybody accepts the new value, uses it, and forgets the old one

    def rotate(self, stage: str, names: list[str]) -> None:
        """Begin a change of these (all, if there are none), or take the one that is under way to its next stage.

        Each stage is harmless when it is done already: `begin`, `switch`, `end`, and `done` after the last round.
        Raises SecretsError for what cannot be changed.
        """
        known = [name for name in LENGTHS if name not in UNCHANGEABLE]
        for name in names:
            if name not in known:
                why = UNCHANGEABLE.get(name, f"there is no such secret; there are {', '.join(known)}")
                raise SecretsError(f"{name} was not changed, nor anything else: {why}")
        at = self.rotation.get("stage")
        if stage == "begin" and not at:
            self.rotation = {"stage": "begin", "names": names or known}
            self.other = {name: new(name) for name in self.rotation["names"]}
        elif stage == "switch" and at == "begin":
            for name in self.rotation["names"]:
                self.forget_later(name, self.current[name])
                self.current[name], self.other[name] = self.other[name], self.current[name]
            self.rotation["stage"] = "switch"
        elif stage == "end" and at == "switch":
            self.other = {}
            self.rotation["stage"] = "end"
        elif stage == "done" and at == "end":
            self.rotation = {}

    # What hosts run with

    def accepted(self) -> dict[str, list[str]]:
        """By name, the values that hosts accept."""
        values = {name: [value] for name, value in self.current.items()}
        for name, value in self.other.items():
            values.setdefault(name, []).append(value)
        values["ca"] = [self.authority[kind]["key"] for kind in (CA, NEXT) if kind in self.authority]
        return values

    def digests(self) -> dict[str, list[str]]:
        """What a host notes: by name, digests of what it accepts."""
        return {name: [self.digest(name, value) for value in values] for name, values in self.accepted().items()}

    def digest(self, name: str, value: str) -> str:
        return digest(self.salt, name, value)

    def forget_later(self, name: str, value: str) -> None:
        """A host that is away for the change of a value still has it."""
        self.known.append(self.digest(name, value))

    def foreign(self, record: dict[str, Any]) -> dict[str, list[str]]:
        """What a host runs with that is not from here: digests by name, none when all is."""
        values, found = self.accepted(), {}
        for name, noted in record.get("digests", {}).items():
            ours = {digest(record["salt"], name, value) for value in values.get(name, [])}
            if others := [one for one in noted if one not in ours and one not in self.known]:
                found[name] = others
        return found

    # The file

    def text(self) -> bytes:
        content = {
            name: value
            for name in ("salt", "current", "other", "rotation", "known", "authority")
            if (value := getattr(self, name))
        }
        return (HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=200)).encode()

    def is_changed(self) -> bool:
        """Whether the file is not what it should be: its content, its encryption, or who may read it."""
        is_open = not self.is_encrypted and self.path.exists() and self.path.stat().st_mode & 0o077
        wants_vault = bool(self.vault.secrets) and not self.is_encrypted
        return self.stored != self.text() or wants_vault or bool(is_open)

    def write(self) -> None:
        """Replace the file at once, for its owner alone; then remove the folder that it was taken over from."""
        path = self.path.resolve()  # a link stays one
        text = self.text()
        raw = self.vault.encrypt(text) if self.vault.secrets else text
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self.stored, self.is_encrypted = text, bool(self.vault.secrets)
        if self.folder:
            shutil.rmtree(self.folder)
            self.folder.write_text(TOMBSTONE.format(file=self.path.name))


def digest(salt: str, name: str, value: str) -> str:
    return hashlib.sha256(f"{salt}\0{name}\0{value}".encode()).hexdigest()[:32]


def new(name: str) -> str:
    if name in LENGTHS:
        return "".join(secrets.choice(ALPHABET) for _ in range(LENGTHS[name]))
    openssh, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    return Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, openssh, plain).decode()


def public_key(private: str) -> str:
    """The line for `authorized_keys` of a private SSH key; empty for none."""
    if not private:
        return ""
    key = serialization.load_ssh_private_key(private.encode(), None).public_key()
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{line.decode()} matchpoint-backup"


def losses(names: Iterable[str], hosts: int) -> str:
    """What is gone when hosts get other values than these, as the second half of a sentence."""
    named = set(names)
    parts = [
        ("backup_passphrase" in named, "nobody can read the backups any more"),
        ("app_key" in named, "second factors are gone and everybody is logged out"),
        (bool(named & (LENGTHS.keys() - {"backup_passphrase", "app_key"})), "the passwords of its services change"),
        (BACKUP_KEY in named, "the backup store has to let another key in"),
        ("ca" in named and hosts > 1, "the CA of its hosts is another one"),
    ]
    return ", ".join(text for applies, text in parts if applies) or "what it was made with is gone"


class _Dumper(yaml.SafeDumper):
    """Shows keys and certificates as people know them."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)
