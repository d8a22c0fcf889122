#!/usr/bin/python3 -I
"""Brings the certificate of the site from the edge that gets it to the other edges.

``push [NAME...]`` runs on the issuer: looks which certificate each copy serves, and hands over the newest one where it
is another. One copy that fails does not keep the others from theirs; the exit code tells.
``receive`` runs on a copy, as the one command that the issuer's key may start: chain and key come on stdin, are
checked, put in place and reloaded, and the ones before are put back when the server does not come to serve them.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

SETTINGS = Path("/etc/matchpoint/certificates/settings.json")
LIMIT_BYTES = 64 * 1024
CLOCK_SKEW = timedelta(minutes=1)  # a certificate may be this much younger than now
SERVED_SECONDS = 20.0  # until a reloaded server serves what it has read
CONNECT_SECONDS = 10
PUSH_SECONDS = 90
BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n[A-Za-z0-9+/=\r\n]+-----END \1-----\s*")


class RefusedError(Exception):
    """Why a certificate was not taken, as a sentence."""


@dataclass(frozen=True)
class Settings:
    """What the role wrote about this edge."""

    domain: str
    lineage: str  # name of the certificate: another domain or another authority is another one
    current: Path  # symbolic link to the folder with fullchain.pem and privkey.pem that the server reads
    port: int
    unit: str
    test_command: list[str]  # whether the server would accept its configuration
    lock: Path
    issued: Path  # folder of the newest certificate on the issuer
    key: Path
    known_hosts: Path  # folder with a file for each copy
    user: str
    copies: dict[str, dict[str, Any]]  # name: {address, port}
    aliases: list[str] = field(default_factory=list)  # more names on the certificate

    @classmethod
    def read(cls, path: Path) -> Settings:
        values = json.loads(path.read_text())
        folders = {name: Path(values[name]) for name in ("current", "lock", "issued", "key", "known_hosts")}
        return cls(**values | folders)


@dataclass(frozen=True)
class Bundle:
    """A chain, leaf first, and the leaf's key."""

    chain: list[x509.Certificate]
    fullchain: bytes
    privkey: bytes

    @classmethod
    def parse(cls, text: bytes) -> Bundle:
        """Reads PEM blocks: one private key and at least one certificate, and nothing else. Raises RefusedError."""
        if len(text) > LIMIT_BYTES:
            raise RefusedError(f"more than {LIMIT_BYTES} bytes came")
        blocks = list(BLOCK.finditer(text))
        if not blocks or b"".join(block[0] for block in blocks) != text:
            raise RefusedError("what came is not PEM")
        certificates = [block[0] for block in blocks if block[1] == b"CERTIFICATE"]
        keys = [block[0] for block in blocks if block[1].endswith(b"PRIVATE KEY")]
        if not certificates or len(keys) != 1 or len(blocks) != len(certificates) + 1:
            raise RefusedError("a chain of certificates and one key must come, and nothing else")
        try:
            return cls([x509.load_pem_x509_certificate(each) for each in certificates], b"".join(certificates), keys[0])
        except ValueError as error:
            raise RefusedError(f"the certificate cannot be read: {error}") from error

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def serial(self) -> int:
        return self.leaf.serial_number

    def check(self, wanted: list[str], now: datetime) -> None:
        """Raises RefusedError when browsers or the server would not take it."""
        try:
            key = serialization.load_pem_private_key(self.privkey, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise RefusedError(f"the key cannot be read: {error}") from error
        encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*encoding) != self.leaf.public_key().public_bytes(*encoding):
            raise RefusedError("the key is not that of the certificate")
        if missing := [name for name in wanted if name not in names(self.leaf)]:
            shown = ", ".join(names(self.leaf)) or "nobody"
            raise RefusedError(f"the certificate is for {shown}, not for {', '.join(missing)}")
        if self.leaf.not_valid_after_utc <= now:
            raise RefusedError(f"the certificate expired on {self.leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        if self.leaf.not_valid_before_utc > now + CLOCK_SKEW:
            raise RefusedError(f"the certificate is good from {self.leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only")
        for child, parent in pairwise(self.chain):
            try:
                child.verify_directly_issued_by(parent)
            except (ValueError, TypeError, InvalidSignature) as error:
                raise RefusedError("the chain is not in order: each certificate must be signed by the next") from error


def names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)


def served(address: str, port: int, domain: str) -> int:
    """Serial number of the certificate that a server shows. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the question is which one it is
    with (
        socket.create_connection((address, port), timeout=CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=domain) as secure,
    ):
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"").serial_number


def run(*command: str) -> None:
    """Raises RefusedError with the last line of what a program says when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RefusedError(f"`{' '.join(command)}` failed: {said[-1]}")


def reload(settings: Settings, serial: int) -> None:
    """Makes the server read its certificate, and waits until it serves that one. Raises RefusedError."""
    run(*settings.test_command)
    run("systemctl", "reload", settings.unit)
    deadline = time.monotonic() + SERVED_SECONDS
    while True:
        try:
            seen = f"{served('127.0.0.1', settings.port, settings.domain):x}"
        except OSError as error:
            seen = str(error)
        if seen == f"{serial:x}":
            return
        if time.monotonic() > deadline:
            raise RefusedError(f"{settings.unit} was reloaded and serves {seen} instead of {serial:x}")
        time.sleep(0.2)


# On a copy


def point(link: Path, folder: Path) -> None:
    draft = link.with_name(f".{link.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(folder)
    draft.replace(link)


def store(settings: Settings, bundle: Bundle) -> Path:
    """Puts the bundle into a folder of its own, completely or not at all. The name is a hash of the content."""
    root = settings.current.parent
    digest = hashlib.sha256(bundle.fullchain + bundle.privkey).hexdigest()
    target = root / f"{settings.lineage}-{digest[:16]}"
    for left in root.glob(".received-*"):
        shutil.rmtree(left)
    if target.is_dir():
        return target
    draft = Path(tempfile.mkdtemp(prefix=".received-", dir=root))  # readable by root alone
    for name, content in (("fullchain.pem", bundle.fullchain), ("privkey.pem", bundle.privkey)):
        with os.fdopen(os.open(draft / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    draft.rename(target)
    return target


def refuse_older(settings: Settings, bundle: Bundle) -> None:
    """Raises RefusedError when the certificate in use, of the same name, was issued after this one."""
    folder = settings.current.resolve()
    if not folder.name.startswith(settings.lineage):
        return  # the placeholder, or another domain's or authority's
    try:
        known = x509.load_pem_x509_certificate((folder / "fullchain.pem").read_bytes())
    except (OSError, ValueError):
        return  # anything is better than that
    if known.not_valid_before_utc > bundle.leaf.not_valid_before_utc:
        raise RefusedError(f"the certificate was issued before the one in use, {known.serial_number:x}")


def receive(settings: Settings, stream: BinaryIO) -> str:
    bundle = Bundle.parse(stream.read(LIMIT_BYTES + 1))
    bundle.check([settings.domain, *settings.aliases], datetime.now(UTC))
    with settings.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refuse_older(settings, bundle)
        before = settings.current.readlink() if settings.current.is_symlink() else None
        folder = store(settings, bundle)
        point(settings.current, folder)
        try:
            reload(settings, bundle.serial)
        except RefusedError:
            put_back(settings, before)
            raise
        kept = {folder, before and settings.current.parent / before}
        for spare in settings.current.parent.glob(f"{settings.lineage}-*"):
            if spare not in kept:
                shutil.rmtree(spare)
    return f"serves {bundle.serial:x}"


def put_back(settings: Settings, before: Path | None) -> None:
    if before is None:
        settings.current.unlink()
        return
    point(settings.current, before)
    try:
        run("systemctl", "reload", settings.unit)
    except RefusedError as error:
        sys.stderr.write(f"The certificate before it was put back, but {error}.\n")


# On the issuer


def push(settings: Settings, wanted: Iterable[str]) -> bool:
    """Whether every copy serves the newest certificate in the end."""
    text = (settings.issued / "fullchain.pem").read_bytes() + (settings.issued / "privkey.pem").read_bytes()
    bundle = Bundle.parse(text)
    targets = ["", *sorted(set(wanted) & set(settings.copies))]
    with ThreadPoolExecutor(max_workers=8) as pool:
        return all(list(pool.map(lambda name: hand_over(settings, name, bundle), targets)))


def hand_over(settings: Settings, name: str, bundle: Bundle) -> bool:
    """To the copy `name`, or "" for this edge itself."""
    shown = name or "this edge"
    copy = settings.copies.get(name, {"address": "127.0.0.1"})
    try:
        if served(copy["address"], settings.port, settings.domain) == bundle.serial:
            return True
        if name:
            send(settings, name, bundle)
        else:
            reload(settings, bundle.serial)
    except (OSError, subprocess.TimeoutExpired, RefusedError) as error:
        sys.stderr.write(f"{shown} did not take the certificate {bundle.serial:x}: {error}\n")
        return False
    sys.stdout.write(f"{shown} took the certificate {bundle.serial:x}\n")
    return True


def send(settings: Settings, name: str, bundle: Bundle) -> None:
    copy = settings.copies[name]
    options = {
        "BatchMode": "yes", "IdentitiesOnly": "yes", "IdentityFile": settings.key,
        "PreferredAuthentications": "publickey", "StrictHostKeyChecking": "yes", "HostKeyAlias": name,
        "UserKnownHostsFile": settings.known_hosts / name, "GlobalKnownHostsFile": "none",
        "ConnectTimeout": CONNECT_SECONDS, "ServerAliveInterval": 5, "LogLevel": "ERROR",
    }  # fmt: skip
    flags = [f"-o{option}={value}" for option, value in options.items()]
    done = subprocess.run(
        ["ssh", "-F", "none", "-T", *flags, "-p", str(copy["port"]), f"{settings.user}@{copy['address']}"],
        input=bundle.fullchain + bundle.privkey, capture_output=True, check=False, timeout=PUSH_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise RefusedError(done.stderr.decode(errors="replace").strip() or f"ssh exited {done.returncode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("push").add_argument("name", nargs="*", help="copies to look at (default: all)")
    commands.add_parser("receive")
    options = parser.parse_args()
    settings = Settings.read(options.settings)
    if options.command == "push":
        return 0 if push(settings, options.name or settings.copies) else 1
    try:
        sys.stdout.write(receive(settings, sys.stdin.buffer) + "\n")
    except RefusedError as error:
        sys.stderr.write(f"{error}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
