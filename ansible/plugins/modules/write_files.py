#!/usr/bin/python3
"""Write a role's small files and folders in one exchange with the host."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_manifest import Manifest

DOCUMENTATION = """
module: write_files
short_description: many small text files at a time
description:
  - What C(ansible.builtin.copy), C(template) and C(file) do one by one, with two exchanges each. Most of the time of a
    deploy that changes nothing went there.
  - Files are written in the given order, and none before all have been found right. Folders above them are made if
    there are none, for everybody to read.
  - systemd reads its units anew when one of them has changed.
  - What a role writes stands in the host's manifest, with what was there before, so that turn_off can take it away.
  - A host of which check mode is the first run may lack users and programs; what is not there yet counts as changed.
options:
  owner: {description: of those that name none, type: str, default: root}
  group: {description: of those that name none, type: str, default: root}
  mode: {description: of files that name none; folders get x as well, type: str, default: "0644"}
  role: {description: "whose files these are, filled in by the action plugin", type: str, default: ""}
  unapplied:
    description:
      - a file that is made before the first change, and that the handlers remove when the change is in force. While it
        is there the task reports a change, so that a handler is made up for that a killed run had no time for. Below
        /run it goes with a boot, which puts everything into force.
    type: path
  sets:
    description:
      - folders whose files a program reads together. When one of them changes, all of them are looked at as they would
        be, in a copy of the folder.
    type: list
    elements: dict
    default: []
    suboptions:
      folder: {description: where, type: path, required: true}
      validate: {description: "command that must succeed with the copy, %s", type: str, required: true}
  files:
    description: what is to be there, or not
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: where, type: path, required: true}
      state: {description: what, choices: [file, directory, absent], default: file}
      content: {description: of a file, type: str, default: ""}
      secret: {description: kept out of the difference, type: bool, default: false}
      validate: {description: "command that must succeed with the new file, %s, alone", type: str}
      owner: {description: user, type: str}
      group: {description: group, type: str}
      mode: {description: octal, type: str}
"""

RETURN = """
checksums: {description: SHA-1 of each file by path, type: dict, returned: always}
changed_paths: {description: what was not as it is now, type: list, returned: always}
"""

UNITS = Path("/etc/systemd/system")
OPTIONS = {
    "path": {"type": "path", "required": True},
    "state": {"choices": ["file", "directory", "absent"], "default": "file"},
    "content": {"default": ""},
    "secret": {"type": "bool", "default": False, "no_log": False},
    "validate": {},
    "owner": {},
    "group": {},
    "mode": {},
}
SET = {"folder": {"type": "path", "required": True}, "validate": {"required": True}}


class Module(AnsibleModule):
    def _log_invocation(self) -> None:
        """Says nothing: the host's journal would get every file's content."""


def read(path: Path) -> bytes | None:
    """A file's content; None when there is none, or something else is in its place."""
    return path.read_bytes() if path.is_file() else None


def make_folders(path: Path) -> None:
    """Makes a folder and those above it, whatever the umask is."""
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)


class Wrong(Exception):
    """What a program said about files that it was asked to validate."""


def validate(module: AnsibleModule, command: str, path: Path, shown: str) -> None:
    """Raises Wrong."""
    status, out, err = module.run_command(command.replace("%s", str(path)))
    if status:
        said = (err or out).strip().replace(str(path), shown)
        raise Wrong(f"{shown} would be wrong: {said}")


def validate_all(module: AnsibleModule, files: list[dict[str, Any]]) -> None:
    """Looks at what is about to change, as it would be. Raises Wrong."""
    changing = [file for file in files if differs(file)]
    for file in changing:
        if file["validate"] and file["state"] == "file":
            with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
                draft = Path(folder, Path(file["path"]).name)
                draft.write_text(file["content"])
                validate(module, file["validate"], draft, file["path"])
    for one in module.params["sets"]:
        inside = [file for file in changing if Path(file["path"]).is_relative_to(one["folder"])]
        if not inside:
            continue
        with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
            copy = Path(folder, Path(one["folder"]).name)
            if Path(one["folder"]).is_dir():
                shutil.copytree(one["folder"], copy, ignore_dangling_symlinks=True)
            for file in inside:
                stage(copy / Path(file["path"]).relative_to(one["folder"]), file)
            validate(module, one["validate"], copy, one["folder"])


def differs(file: dict[str, Any]) -> bool:
    """Whether a file is to be there with another content, or not to be there."""
    path = Path(file["path"])
    if file["state"] == "file":
        return read(path) != file["content"].encode()
    return file["state"] == "absent" and (path.exists() or path.is_symlink())


def stage(path: Path, file: dict[str, Any]) -> None:
    path.unlink(missing_ok=True)
    if file["state"] == "file":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])


def write(module: AnsibleModule, path: Path, content: bytes) -> None:
    make_folders(path.parent)
    handle, draft = tempfile.mkstemp(dir=module.tmpdir)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError:  # a full disk: what is to be put back needs the room
        os.unlink(draft)
        raise
    module.atomic_move(draft, str(path))


def write_all(module: AnsibleModule, files: list[dict[str, Any]]) -> tuple[list[str], list[dict[str, str]]]:
    """The paths of what was not as it is now, and the differences for people. Raises Wrong, with all as it was."""
    folders = [file for file in files if file["state"] == "directory"]  # programs that validate may look for them
    done = {file["path"]: apply(module, file) for file in folders}
    if not module.check_mode:
        validate_all(module, files)
    before: dict[Path, bytes | None] = {}
    for file in files:
        if file["state"] == "directory":
            continue
        path = Path(file["path"])
        old = read(path)
        try:
            done[file["path"]] = apply(module, file)
        except OSError as error:  # a full disk, above all
            put_back(module, before)
            raise Wrong(f"{path} could not be written: {error.strerror}") from error
        if done[file["path"]][0] and file["state"] == "file":
            before[path] = old
    changed = [file for file in files if done[file["path"]][0]]
    return [file["path"] for file in changed], [done[file["path"]][1] for file in changed if not file["secret"]]


def note(role: str, files: list[dict[str, Any]]) -> None:
    """Tells the manifest before anything is written, so that what a killed run has written is known. Raises Wrong."""
    manifest = Manifest()
    try:
        manifest.begin()
        for file in files:
            if file["state"] == "file" and differs(file):
                manifest.keep(Path(file["path"]))
        paths = {state: [file["path"] for file in files if file["state"] == state] for state in ("file", "absent")}
        manifest.note(role, paths["file"], paths["absent"])
    except OSError as error:  # a full disk, above all
        raise Wrong(f"The host's manifest could not be written: {error.strerror}") from error


def is_unit(path: Path) -> bool:
    """Whether systemd must hear of a change: a unit or a part of one, and not what roles note beside it."""
    return path.is_relative_to(UNITS) and path.suffix != ""


def put_back(module: AnsibleModule, before: dict[Path, bytes | None]) -> None:
    for path, content in before.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            with suppress(OSError):  # what there was room for is there again; the rest is for the next run
                write(module, path, content)


def apply(module: AnsibleModule, file: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Makes one file as it should be: whether it was not, and the difference for people."""
    path, state = Path(file["path"]), file["state"]
    difference = {"before": "", "after": "", "before_header": str(path), "after_header": str(path)}
    if state == "absent":
        is_there = differs(file)
        if is_there and not module.check_mode:
            path.unlink()
        return is_there, difference | {"before": "there\n" if is_there else ""}

    if state == "directory":
        is_changed = not path.is_dir()
        if is_changed and not module.check_mode:
            make_folders(path)
        difference["after"] = f"{path}/\n" if is_changed else ""
    else:
        is_changed, old = differs(file), read(path)
        if is_changed:
            difference |= {"before": (old or b"").decode(errors="replace"), "after": file["content"]}
        if is_changed and not module.check_mode:
            write(module, path, file["content"].encode())

    if path.exists():
        mode = file["mode"] or module.params["mode"]
        if state == "directory" and not file["mode"]:
            mode = f"{int(mode, 8) | (int(mode, 8) & 0o444) >> 2:04o}"
        wanted = {
            "path": str(path),
            "mode": mode,
            "owner": file["owner"] or module.params["owner"],
            "group": file["group"] or module.params["group"],
        }
        is_changed = module.set_fs_attributes_if_different(module.load_file_common_arguments(wanted), is_changed)
    return is_changed, difference


def main() -> None:
    module = Module(
        argument_spec={
            "owner": {"default": "root"},
            "group": {"default": "root"},
            "mode": {"default": "0644"},
            "role": {"default": ""},
            "unapplied": {"type": "path"},
            "sets": {"type": "list", "elements": "dict", "default": [], "options": SET},
            "files": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    files = module.params.pop("files")  # what stays there is told to whoever asks for details
    mark = Path(module.params["unapplied"]) if module.params["unapplied"] else None
    was_killed = bool(mark and mark.exists())
    if mark and not module.check_mode:
        make_folders(mark.parent)
        mark.touch()
    changed, differences, wrong = [], [], ""
    try:
        if module.params["role"] and not module.check_mode:
            note(module.params["role"], files)
        changed, differences = write_all(module, files)
    except Wrong as error:
        wrong = f"{error}. The files of this task are as they were."
    if any(is_unit(Path(path)) for path in changed) and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    if mark and not (was_killed or changed or module.check_mode):
        mark.unlink()
    if wrong:
        module.fail_json(msg=wrong)
    module.exit_json(
        changed=bool(changed) or was_killed,
        changed_paths=changed,
        checksums={
            file["path"]: hashlib.sha1(file["content"].encode(), usedforsecurity=False).hexdigest()
            for file in files
            if file["state"] == "file"
        },
        diff=differences if module._diff else [],
    )


if __name__ == "__main__":
    main()
