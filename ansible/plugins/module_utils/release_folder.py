"""Whether a folder that came out of an archive of C(ansible/release.py) is complete.

The last file of an archive, C(manifest.json), names every other one with its size and SHA-256. Folders are unpacked
aside and renamed, so that one which is there is complete; those of earlier versions were unpacked in place, where a
full disk leaves empty files, the manifest among them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
DRAFT = ".unpacking-"  # how the name of a folder begins that is being unpacked
NOTHING = hashlib.sha256().hexdigest()


def manifest(folder: Path) -> dict[str, Any]:
    """What the manifest says; nothing when there is none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("files"), dict) else {}


def fault(folder: Path, part: str = "", *, thorough: bool = False) -> str:
    """What is wrong with the folder, as half a sentence; "" when all of it is there.

    Compares sizes, or contents as well when asked to be `thorough`. `part` is the beginning of the paths that are to be
    there, for a folder that has a part of an archive.
    """
    about = manifest(folder)
    if not about:
        return f"{MANIFEST} is {'damaged' if (folder / MANIFEST).exists() else 'missing'}"
    sizes = about.get("sizes", {})
    for name, digest in about["files"].items():
        if not name.startswith(part):
            continue
        try:
            size = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        # Manifests of earlier versions have no sizes
        if size != sizes.get(name, size) or (size == 0) != (digest == NOTHING):
            return f"{name} is cut off" if size < sizes.get(name, 1) else f"{name} has another size"
        if thorough and hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            return f"{name} has another content"
    if not part and "libraries" in about and (folder / "lib").is_symlink():
        libraries = (folder / "lib").resolve()
        if found := fault(libraries):
            return f"its libraries {libraries.name} are damaged: {found}"
    return ""


def folders(root: Path) -> list[Path]:
    """The folders that were unpacked there, damaged ones too; not those that are being unpacked."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
