"""Which version this checkout is, and what its CHANGELOG says that an operator must read before an upgrade to it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
# What a deploy brings to hosts; an inventory of one's own, or a note, makes no other version of it
PARTS = ("ansible", "app", "monitoring", "roles", "pyproject.toml", "uv.lock")
COMMIT_SHOWN = 12


def checkout(root: Path = ROOT) -> dict[str, Any]:
    """`{"version", "commit", "changes"}`: the commit is "" without git; whether files differ from it."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return {
        "version": project["version"],
        "commit": _git(root, "rev-parse", "HEAD"),
        "changes": bool(_git(root, "status", "--porcelain", "--", *PARTS)),
    }


def _git(root: Path, *arguments: str) -> str:
    if not (root / ".git").exists() or shutil.which("git") is None:  # an archive, perhaps in a folder of somebody's git
        return ""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def words(about: Mapping[str, Any]) -> str:
    """A version for people: `0.2.0 (1559aa9dab6a, with changes)`."""
    more = [about["commit"][:COMMIT_SHOWN]] if about.get("commit") else []
    more += ["with changes"] if about.get("changes") else []
    return f"{about['version']} ({', '.join(more)})" if more else str(about["version"])


def sections(changelog: str) -> Iterator[tuple[str, str]]:
    """The sections of a CHANGELOG, newest first: the version, "" for what is not released, and the text."""
    parts = re.split(r"^## \[(\S+)\].*\n", changelog, flags=re.MULTILINE)
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        yield "" if name == "Unreleased" else name, text


def breaking(changelog: str) -> list[tuple[str, str]]:
    """What stands under `### Breaking`, newest first: the version and the sentence, on one line."""
    return [
        (version, " ".join(item.split()))
        for version, text in sections(changelog)
        for part in re.findall(r"^### Breaking\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
        for item in re.split(r"^- ", part, flags=re.MULTILINE)[1:]
    ]


def digest(sentence: str) -> str:
    return hashlib.sha256(sentence.encode()).hexdigest()[:12]


def unread(changelog: str, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The breaking changes since `record["version"]`, but for those whose digests are in `record["read"]`."""
    since, read = Version(record["version"]), record.get("read", [])
    return [
        (version, sentence)
        for version, sentence in breaking(changelog)
        if (not version or Version(version) > since) and digest(sentence) not in read
    ]
