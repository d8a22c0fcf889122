"""Whether an archive is signed by the key that its receiver trusts: C(ssh-keygen -Y verify), which every host has."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

NAMESPACE = "matchpoint-release"  # a signature for anything else is none
SIGNER = "release"


def fault_of_signature(archive: Path, signature: Path, public_key: str) -> str:
    """What is wrong, as half a sentence; "" when the key (`ssh-ed25519 ...`) has signed the archive as it is."""
    if not public_key.strip():
        return "there is no key to compare its signature with"
    try:
        signed = signature.read_bytes()
    except OSError:
        return "it is not signed"
    if not signed.strip():
        return "it is not signed"
    with tempfile.NamedTemporaryFile("w", suffix=".signers") as trusted, archive.open("rb") as content:
        trusted.write(f'{SIGNER} namespaces="{NAMESPACE}" {public_key.strip()}\n')
        trusted.flush()
        command = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            trusted.name,
            "-I",
            SIGNER,
            "-n",
            NAMESPACE,
            "-s",
            str(signature),
        ]
        done = subprocess.run(command, stdin=content, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines() or ["ssh-keygen said nothing"]
    return f"its signature is not by the key of this site's releases over what it is now ({said[-1].strip()})"
