"""Compares the version that hosts run with that of this checkout: breaking changes are read before they come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).parents[2]))  # what lies beside the playbooks

from versions import ROOT, breaking, checkout, digest, unread, words

DOCUMENTATION = """
name: site_version
short_description: the version of the site and of this checkout
description:
  - Fails when there are breaking changes (C(### Breaking) in CHANGELOG.md) between a host's version and this one, that
    nobody has read, unless there is O(consent). Changes nothing.
  - Returns the C(note) for hosts, version, commit and which of the breaking changes were read.
options:
  records: {description: "what hosts have noted, {host: version of deploy_lock}", type: dict, default: {}}
  consent: {description: "the breaking changes were read", type: bool, default: false}
"""


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        args = json.loads(json.dumps(self._task.args))  # plain text, without Ansible's tags
        changelog = (ROOT / "CHANGELOG.md").read_text()
        here = checkout()
        note = here | {"read": [digest(sentence) for _, sentence in breaking(changelog)]}
        records = {host: record for host, record in (args.get("records") or {}).items() if record}
        missing = {host: unread(changelog, record) for host, record in records.items()}
        if any(missing.values()) and args.get("consent") not in (True, "True"):
            hosts = [host for host, changes in missing.items() if changes]
            raise AnsibleActionFail(refusal(hosts, records, missing, words(here)))
        return {"changed": False, "note": note}


def refusal(hosts: list[str], records: dict[str, Any], missing: dict[str, list[tuple[str, str]]], here: str) -> str:
    versions = {words(records[host]): None for host in hosts}
    changes = dict.fromkeys(change for host in hosts for change in missing[host])
    lines = [f"- {version or 'not released yet'}: {sentence}" for version, sentence in changes]
    return "\n".join(
        [
            f"{', '.join(hosts)} run{'s' * (len(hosts) == 1)} {' and '.join(versions)}, and this checkout is {here}. "
            "Breaking changes in between, which nobody has read yet:",
            *lines,
            "Nothing was changed. Read them, do what they ask for, then say BREAKING=1, e.g. `make deploy BREAKING=1`.",
        ]
    )
