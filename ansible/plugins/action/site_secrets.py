"""The site's secrets, on the control machine: read, compared with what hosts run with, made, and changed."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2]))  # what lies beside the playbooks

from authority import CA, HOSTS, Authority
from secrets_file import BACKUP_KEY, Secrets, SecretsError, losses, public_key

DOCUMENTATION = """
name: site_secrets
short_description: what is secret of the site
description:
  - C(state=look) returns the secrets, and writes nothing. It fails when one of the O(records) was made with others, or
    when there are none though a host has some, unless there is O(consent).
  - C(state=present) makes what is missing, and certificates that are due, and writes the file. In check mode it writes
    nothing, and what is missing has a stand-in.
options:
  file: {description: where they are on the control machine, type: path, required: true}
  state: {description: whether they are made, choices: [look, present], default: look}
  records: {description: "what hosts have noted, {host: answer of deploy_lock}", type: dict, default: {}}
  consent: {description: to other secrets than those of the hosts, type: bool, default: false}
  silent: {description: hosts that could not be asked, type: list, default: []}
  hosts: {description: number of hosts of the site, type: int, default: 1}
  site: {description: name of the site, type: str, default: ""}
  addresses: {description: "hosts that get a certificate, {host: [address]}", type: dict, default: {}}
  issued_after: {description: make certificates anew that are older (s since 1970), type: int, default: 0}
  stage: {description: of a change of the CA, choices: ["", begin, switch, end], default: ""}
  rotate:
    description: the stage that a change of secrets comes to, unless it has
    choices: ["", begin, switch, end, done]
    default: ""
  names: {description: "which are changed, separated by commas; all that can be if empty", type: str, default: ""}
  forget: {description: host whose certificate is deleted, type: str, default: ""}
"""
CONSENT = "`make deploy NEW_SECRETS=1`"


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = self._task.args = json.loads(json.dumps(self._task.args))  # plain text, without Ansible's tags
        try:
            found = Secrets.read(Path(args["file"]).expanduser(), self._loader._vault)
        except SecretsError as error:
            raise AnsibleActionFail(f"{error}. Nothing was changed.") from None
        records = {host: answer for host, answer in (args.get("records") or {}).items() if answer}
        self._compare(found, records)
        makes = args.get("state", "look") == "present"
        try:
            changed = makes and self._make(found, records)
        except SecretsError as error:
            raise AnsibleActionFail(f"{error}.") from None
        return {
            "changed": changed,
            "_ansible_no_log": True,
            "secrets": found.values(stand_ins=not found.is_there or not makes or self._task.check_mode),
            "other": found.other,
            "rotation": found.rotation,
            "certificates": {host: self._bundle(found, host) for host in args.get("addresses") or {}},
            "backup_public_key": public_key(found.current.get(BACKUP_KEY, "")),
            "records": records,
            **(self._notes(found, records) if makes and not self._task.check_mode else {}),
        }

    # Whose secrets they are

    def _compare(self, found: Secrets, records: dict[str, Any]) -> None:
        foreign = {host: found.foreign(record) for host, record in records.items() if "digests" in record}
        others = {host: names for host, names in foreign.items() if names}
        if not found.is_there:  # hosts that an earlier version has deployed have secrets, and no note of them
            others |= {host: {} for host, record in records.items() if "digests" not in record}
        is_agreed = self._task.args.get("consent") in (True, "True")
        if others and not is_agreed:
            raise AnsibleActionFail(self._refusal(found, records, others))
        silent = self._task.args.get("silent") or []
        if not found.is_there and not others and silent and not is_agreed:
            raise AnsibleActionFail(
                f"There is no {found.path}, and {', '.join(silent)} cannot be asked if the site has secrets: "
                "nothing was changed. Copy the site's file to there (docs/secrets.md), or deploy when all answer; "
                f"if it is the first deploy all the same, say {CONSENT}."
            )
        found.known += sorted({one for names in others.values() for each in names.values() for one in each})

    def _refusal(self, found: Secrets, records: dict[str, Any], others: dict[str, Any]) -> str:
        host, names = next(iter(others.items()))
        record, site, hosts = records[host], self._task.args.get("site", ""), self._task.args.get("hosts", 1)
        who = f"{host} and {len(others) - 1} more run" if len(others) > 1 else f"{host} runs"
        if "digests" in record:
            by = f"which {record.get('who')} deployed last, on {record.get('when')}"
            by += f" for {record['site']}" if record.get("site", site) != site else ""
        else:
            by = "of an earlier version, which has not noted who deployed them"
        here = (
            f"{found.path} has others ({', '.join(sorted(names))})" if found.is_there else f"{found.path} is not there"
        )
        lost = losses(names or record.get("digests") or [*found.values(stand_ins=True), CA], hosts)
        return (
            f"{who} with secrets {by}, and {here}: with others {lost}, so nothing was changed. Copy the file from "
            f"there (docs/secrets.md tells how); only if it is lost for good, say {CONSENT}."
        )

    # Making

    def _make(self, found: Secrets, records: dict[str, Any]) -> bool:
        """Whether something was made, or would be."""
        args = self._task.args
        if self._task.check_mode:
            return not found.is_there
        was_there = found.is_there
        if (made := found.complete()) and was_there:
            self._say(f"Made what this version needs as well: {', '.join(made)}.")
        if stage := args.get("rotate"):
            if absent := args.get("silent"):
                raise SecretsError(
                    f"{', '.join(absent)} cannot be reached or is left out: secrets change on all hosts at a time, so "
                    "nothing was changed"
                )
            found.rotate(stage, [name for name in re.split(r"[\s,]+", args.get("names") or "") if name])
        authority = Authority(found.authority)
        before = found.authority[CA]["key"]
        authority.change(args.get("stage") or "")
        if found.authority[CA]["key"] != before:
            found.forget_later("ca", before)
        for host, addresses in (args.get("addresses") or {}).items():
            authority.renew(host, addresses, int(args.get("issued_after") or 0))
        found.authority[HOSTS].pop(args.get("forget") or "", None)
        if not found.is_changed():
            return False
        folder = found.folder
        found.write()
        if folder:
            self._say(f"Took the secrets over from {folder}/ into {found.path}.")
        elif not was_there:
            self._say(f"Made the secrets of the site, in {found.path}: keep a copy somewhere else (docs/secrets.md).")
        return True

    def _notes(self, found: Secrets, records: dict[str, Any]) -> dict[str, Any]:
        """What each host is to note, and who has noted something else."""
        digests = found.digests()
        note = {
            "salt": found.salt,
            "digests": digests,
            "who": f"{os.environ.get('SUDO_USER') or getpass.getuser()}@{socket.gethostname()}",
            "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "site": self._task.args.get("site", ""),
        }
        return {"note": note, "noted": [host for host, record in records.items() if record.get("digests") == digests]}

    def _bundle(self, found: Secrets, host: str) -> dict[str, str]:
        none = {"certificate": "", "key": "", "ca": ""}
        return Authority(found.authority).bundle(host) if CA in found.authority else none

    def _say(self, sentence: str) -> None:
        self._display.display(sentence)
