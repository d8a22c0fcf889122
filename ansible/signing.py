"""Signs what hosts unpack, with a key of this checkout's own, or the one that MATCHPOINT_RELEASE_KEY names.

The key stands apart from the archives, in ``.keys/release``, and is made with the first. Where releases are built
elsewhere, MATCHPOINT_RELEASE_KEY names the private key there, or the public one of a key that an SSH agent holds; a
machine that only deploys names the public key.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from plugins.module_utils.release_signature import NAMESPACE, fault_of_signature

OWN = Path(__file__).resolve().parents[1] / ".keys/release"


class SigningError(Exception):
    """A sentence for the operator."""


def key() -> Path:
    """The key, made if there is none. Raises SigningError."""
    if named := os.environ.get("MATCHPOINT_RELEASE_KEY"):
        if not (path := Path(named).expanduser()).is_file():
            raise SigningError(
                f"MATCHPOINT_RELEASE_KEY is {named}, and there is no such file: name a key of ssh-keygen."
            )
        return path
    if not OWN.exists():
        OWN.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=OWN.parent) as scratch:
            draft = Path(scratch, "release")
            keygen("-q", "-t", "ed25519", "-N", "", "-C", NAMESPACE, "-f", str(draft))
            with suppress(FileExistsError):  # another deploy of this checkout was faster
                os.link(draft, OWN)
    return OWN


def public_key() -> str:
    """The line by which hosts know the key. Raises SigningError."""
    path = key()
    text = path.read_bytes()
    return text.decode() if text.startswith((b"ssh-", b"sk-", b"ecdsa-")) else keygen("-y", "-P", "", "-f", str(path))


def signature_of(archive: Path) -> Path:
    """Where the signature of an archive stands."""
    return archive.with_name(f"{archive.name}.sig")


def sign(archive: Path, name: Path) -> None:
    """Signs an archive that will be called `name`. Raises SigningError when the key cannot sign."""
    draft = signature_of(name).with_suffix(f".{os.getpid()}.draft")
    with archive.open("rb") as content:
        draft.write_text(keygen("-Y", "sign", "-f", str(key()), "-n", NAMESPACE, stdin=content))
    draft.rename(signature_of(name))


def is_signed(archive: Path) -> bool:
    """Whether there is such an archive, and hosts would take it."""
    return archive.exists() and not fault_of_signature(archive, signature_of(archive), public_key())


def keygen(*words: str, stdin: object = subprocess.DEVNULL) -> str:
    done = subprocess.run(
        ["ssh-keygen", *words], stdin=stdin, capture_output=True, text=True, check=False, timeout=120,  # type: ignore[call-overload]
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise SigningError(f"Releases cannot be signed: `ssh-keygen {words[0]}`: {said[-1]}")
    return str(done.stdout)
