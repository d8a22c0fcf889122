"""Bring an archive to the host that needs it: this side has the archive, and knows what is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2]))  # what lies beside the playbooks

from signing import SigningError, public_key, signature_of

MARGIN_BYTES = 16 * 2**20


def unpacked_bytes(archive: Path, part: str, *, compiled: bool) -> int:
    """What the archive takes on a disk, 0 when its manifest has no sizes. Compiled Python is half as large again."""
    command = ["tar", "--extract", "--to-stdout", "--file", str(archive), "manifest.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise AnsibleActionFail(
            f"The archive {archive} cannot be read: {done.stderr.strip()[-300:]} "
            "Delete it; the next deploy builds it anew."
        )
    about = json.loads(done.stdout)
    sizes = {name: size for name, size in about.get("sizes", {}).items() if name.startswith(part)}
    python = sum(size for name, size in sizes.items() if name.endswith(".py")) * 3 // 2 if compiled else 0
    blocks = 4096 * len(sizes)  # at most, of what the last block of each file does not fill
    return sum(sizes.values()) + python + blocks if sizes else 0


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        asked = dict(self._task.args)
        archive = Path(asked.pop("archive", ""))
        looked = self._call(task_vars, **asked)
        if looked.get("failed") or looked["complete"] or archive == Path():
            return looked
        host = task_vars["inventory_hostname"] if task_vars else "the host"
        if not archive.is_file():
            raise AnsibleActionFail(
                f"{host} does not have {asked['dest']} ({looked['fault'] or 'it is not there'}), and its archive "
                f"{archive} is gone from this machine. Deploy another release."
            )
        self._require_room(looked, unpacked_bytes(archive, asked.get("part", ""), compiled=bool(asked.get("compile"))))
        if self._task.check_mode:
            return looked | {"changed": True, "diff": {"before": "", "after": f"{asked['dest']}/\n"}}
        signature = signature_of(archive)
        if not signature.is_file():
            raise AnsibleActionFail(
                f"{archive} is not signed: {signature.name} is missing. It does not leave this machine. "
                "Delete the archive; the next deploy builds and signs it anew."
            )
        self._make_tmp_path()
        folder = self._connection._shell.tmpdir
        try:
            brought = self._connection._shell.join_path(folder, "archive.tar.zst")
            try:
                self._transfer_file(str(archive), brought)
                self._transfer_file(str(signature), f"{brought}.sig")
                self._fixup_perms2((folder, brought, f"{brought}.sig"))
            except AnsibleConnectionFailure:
                raise
            except Exception as error:  # whatever the way there calls a full disk
                raise AnsibleActionFail(
                    f"{archive} could not be brought to {host}:{folder}: {error}. Is there room? "
                    "Nothing else was changed."
                ) from error
            try:
                signer = public_key()
            except SigningError as error:
                raise AnsibleActionFail(str(error)) from error
            done = self._call(task_vars, **asked, archive=brought, signer=signer)
        finally:
            self._remove_tmp_path(folder)
        return done | {"removed": looked["removed"]}

    def _require_room(self, looked: dict[str, Any], needed: int) -> None:
        """Raises AnsibleActionFail when the host cannot hold what is in the archive."""
        place, has, dest = looked["place"], looked["free"], self._task.args["dest"]
        if has < needed + MARGIN_BYTES:
            raise AnsibleActionFail(
                f"There is no room for {dest}: {place} has {has // 2**20} MiB free, and it needs "
                f"{(needed + MARGIN_BYTES) // 2**20}. Nothing was changed there. Make room, then deploy again."
            )

    def _call(self, task_vars: dict[str, Any] | None, **arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="unpack_archive", module_args=arguments, task_vars=task_vars
        )
        return result
