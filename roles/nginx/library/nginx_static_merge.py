#!/usr/bin/python3
"""Serve the static files of several releases from one folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: nginx_static_merge
short_description: lay the static files of a release beside those of earlier ones
description:
  - Links every file of C(releases/<release>/static) to the same place under C(static). Names carry a hash of their
    content, so files of different releases do not meet; of the few names without one, the release that comes last wins.
  - Removes the releases that are too many, the oldest first, and then the files that no release has any more.
  - A file appears completely or not at all.
options:
  root: {description: folder with C(releases) and C(static), type: path, required: true}
  release: {description: the release to add, type: str, required: true}
  keep: {description: releases to keep, type: int, required: true}
"""


def files(folder: Path) -> set[Path]:
    """Relative paths."""
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def missing(source: Path, target: Path) -> list[Path]:
    """Files of the source that are not in the target, or are other ones there."""
    wanted = sorted(files(source))
    return [path for path in wanted if not ((target / path).is_file() and (target / path).samefile(source / path))]


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    draft.unlink(missing_ok=True)
    os.link(source, draft)
    draft.replace(target)


def spare(releases: Path, release: str, keep: int) -> list[Path]:
    """Releases beyond those that came last."""
    others = [path for path in releases.iterdir() if path.name != release]
    return sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[max(keep - 1, 0) :]


def merge(root: Path, release: str, keep: int, *, dry: bool = False) -> dict[str, Any]:
    """What there was to do, and unless `dry` is done now."""
    source, target = root / "releases" / release / "static", root / "static"
    added = missing(source, target)
    removed = spare(root / "releases", release, keep)
    if not dry:
        for path in added:
            link(source / path, target / path)
        if added:
            os.utime(root / "releases" / release)  # the one that came last
        for folder in removed:
            shutil.rmtree(folder)
        for path in files(target) if removed else ():
            if (target / path).stat().st_nlink == 1:
                (target / path).unlink()
    return {"changed": bool(added or removed), "added": len(added), "removed": [path.name for path in removed]}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "keep": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    root, release = Path(module.params["root"]), module.params["release"]
    if not (root / "releases" / release / "static").is_dir():
        module.fail_json(msg=f"The release {release} has no folder {root}/releases/{release}/static")
    module.exit_json(**merge(root, release, module.params["keep"], dry=module.check_mode))


if __name__ == "__main__":
    main()
