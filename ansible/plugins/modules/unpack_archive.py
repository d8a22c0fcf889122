#!/usr/bin/python3
"""Unpack an archive of release.py, completely or not at all; the action plugin of the same name brings it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.release_folder import DRAFT, fault, folders
from ansible.module_utils.release_signature import fault_of_signature

DOCUMENTATION = """
module: unpack_archive
short_description: a folder that has all of an archive, or is not there
description:
  - Unpacks nothing but what the control machine's key has signed; the signature stands beside the archive, as NAME.sig.
  - Unpacks aside, on the same file system, compares every file with the manifest, compiles, has it all on the disk, and
    only then gives the folder its name. A full disk, a lost connection or a lost power supply leave what was there.
  - A folder that is there and damaged, as earlier versions could leave it, is replaced. Others beside it are removed
    when they are damaged, and so is what a killed run left.
  - The archive travels only when it is needed, and not when there is no room for what is in it.
options:
  archive: {description: the archive on the control machine; none to look only, type: path}
  signer: {description: public key that the archive has to be signed with, type: str, default: ""}
  dest: {description: the folder, type: path, required: true}
  part: {description: beginning of the paths of a manifest that the archive has a part of, type: str, default: ""}
  compile: {description: folders of Python in it, type: list, elements: str, default: []}
  spare: {description: links to folders that stay although they are damaged, type: list, elements: path, default: []}
"""

RETURN = """
complete: {description: whether the folder has all of the archive now, type: bool, returned: always}
fault: {description: what was wrong with a folder that was there, type: str, returned: always}
removed: {description: damaged folders and what was wrong with them, type: dict, returned: always}
damaged: {description: the same of folders that stay, type: dict, returned: always}
place: {description: mount point of the file system, type: str, returned: always}
free: {description: bytes that can be written there, type: int, returned: always}
"""

MINUTES = 10


class NotUnpacked(Exception):
    """Why not, as half a sentence."""


def mount(path: Path) -> Path:
    """The mount point of the file system on which a path is, or would be."""
    while not path.exists() or not (path.is_mount() or path == path.parent):
        path = path.parent
    return path


def free(path: Path) -> int:
    """Bytes that root can write on a file system."""
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize


def run(*command: str | Path) -> None:
    """Raises NotUnpacked with the last line of what a program says when it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, errors="replace", check=False,
        timeout=MINUTES * 60, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["it said nothing"]
        cause = next((line for line in said if "No space left" in line), said[-1])
        raise NotUnpacked(f"`{Path(command[0]).name}` failed: {cause.strip()}")


def unpack(archive: Path, dest: Path, part: str, compiled: list[str]) -> None:
    """Makes the folder, in the place of what is there. Raises NotUnpacked, with all as it was."""
    draft = None
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=dest.parent))
        draft.chmod(0o755)
        run("tar", "--extract", "--use-compress-program=zstd -d", "--file", archive, "--directory", draft)
        if wrong := fault(draft, part, thorough=True):
            raise NotUnpacked(f"{wrong}, so the archive is damaged")
        if compiled:
            # Workers may write nothing there, so that without this each start would compile all that it imports again
            where = ("-s", draft, "-p", dest)
            run(sys.executable, "-m", "compileall", "-q", "-j", "0", *where, *(draft / folder for folder in compiled))
            if not free(draft):  # Python takes a file that was cut off for written
                raise NotUnpacked("No space left on device")
        run("sync", "--file-system", draft)
        take_place(draft, dest)
    except (NotUnpacked, OSError, subprocess.TimeoutExpired) as error:
        if draft:
            shutil.rmtree(draft, ignore_errors=True)  # why it failed is told; `sweep` removes what stays
        raise NotUnpacked(str(getattr(error, "strerror", None) or error)) from error


def take_place(draft: Path, dest: Path) -> None:
    """Gives the draft its name. Workers that run from a damaged folder go on with what they have read."""
    old = draft.with_name(f"{draft.name}-old")  # a run that is killed here leaves it to the next
    if dest.exists():
        dest.rename(old)
    draft.rename(dest)
    shutil.rmtree(old, ignore_errors=True)  # the new one serves already; `sweep` removes what stays
    folder = os.open(dest.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sweep(dest: Path, part: str, spare: list[str], *, dry: bool) -> dict[str, dict[str, str]]:
    """Removes damaged folders beside this one, unless a link leads to them, and what killed runs left."""
    kept = {Path(link).resolve() for link in spare}
    found = {path: wrong for path in folders(dest.parent) if path != dest and (wrong := fault(path, part))}
    removed = {path: wrong for path, wrong in found.items() if path.resolve() not in kept}
    left = list(dest.parent.glob(f"{DRAFT}*")) if dest.parent.is_dir() else []
    for path in [] if dry else [*removed, *left]:
        shutil.rmtree(path)
    return {
        "removed": {path.name: wrong for path, wrong in removed.items()},
        "damaged": {path.name: wrong for path, wrong in found.items() if path not in removed},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path"},
            "signer": {"default": ""},
            "dest": {"type": "path", "required": True},
            "part": {"default": ""},
            "compile": {"type": "list", "elements": "str", "default": []},
            "spare": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    asked: dict[str, Any] = module.params
    dest, part = Path(asked["dest"]), asked["part"]
    swept = sweep(dest, part, asked["spare"], dry=module.check_mode)
    for name, its in swept["removed"].items():
        module.warn(
            f"{dest.parent}/{name} was damaged ({its}) and {'would be' if module.check_mode else 'is'} removed."
        )
    for name, its in swept["damaged"].items():
        module.warn(f"{dest.parent}/{name} is damaged ({its}). It stays, because it is in use.")
    wrong = fault(dest, part) if dest.exists() else ""
    is_there = dest.exists() and not wrong
    place = mount(dest)
    result: dict[str, Any] = {
        "changed": bool(swept["removed"]),
        "complete": is_there,
        "fault": wrong,
        "place": str(place),
        "free": free(place),
        **swept,
    }
    if asked["archive"] and not is_there:
        result |= {"changed": True, "complete": True}
        if not module.check_mode:
            archive = Path(asked["archive"])
            signature = archive.with_name(f"{archive.name}.sig")
            if refused := fault_of_signature(archive, signature, asked["signer"]):
                module.fail_json(
                    msg=f"{dest} was not unpacked: {refused}. Nothing of the archive was opened, and what served "
                    "before serves on. Delete the archive on the control machine (.cache/releases) and deploy again, "
                    "which builds and signs it anew."
                )
            try:
                unpack(archive, dest, part, asked["compile"])
            except NotUnpacked as error:
                module.fail_json(
                    msg=f"{dest} could not be unpacked: {error}. What was there is as it was. "
                    f"{place} has {free(place) // 2**20} MiB free; make room there if that is too "
                    "little, then deploy again."
                )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
