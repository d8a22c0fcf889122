#!/usr/bin/python3
"""Silence what a playbook causes, or end that: known again by the token of its deploy lock. For monitoring hosts."""

from __future__ import annotations

import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: silence
short_description: Alertmanager's silences of a playbook
description:
  - C(present) makes a silence for a kind of work of a playbook, or gives the one that is there more hosts and a
    later end.
  - C(absent) ends all of a playbook. Each has an end of its own as well, for playbooks that are killed.
  - An Alertmanager that is not there has nothing to silence; one that does not answer is no reason not to work. A
    silence is no state of a host, so the module never reports a change.
options:
  state: {description: make or end them, choices: [present, absent], default: present}
  address: {description: address and port of Alertmanager, type: str, required: true}
  token: {description: token of the playbook's deploy lock, type: str, required: true}
  work: {description: kind of work, type: str, default: ""}
  why: {description: what people read, type: str, default: ""}
  author: {description: who works, type: str, default: ""}
  hosts: {description: hosts that are worked on, type: list, elements: str, default: []}
  alerts: {description: names of alerts, type: list, elements: str, default: []}
  severities: {description: severities of alerts, type: list, elements: str, default: []}
  minutes: {description: after how long it ends by itself, type: int, default: 15}
"""

CONFIG = Path("/etc/prometheus/alertmanager.yml")
TIMEOUT_SECONDS = 5


class Alertmanager:
    def __init__(self, address: str) -> None:
        self._base = f"http://{address}/api/v2"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy knows loopback

    def call(self, method: str, path: str, body: dict | None = None):
        request = urllib.request.Request(
            f"{self._base}/{path}", method=method, headers={"Content-Type": "application/json"}
        )
        data = json.dumps(body).encode() if body is not None else None
        with self._opener.open(request, data=data, timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def silences(self, mark: str) -> list[dict]:
        """Those that are not over and carry this mark."""
        return [
            one
            for one in self.call("GET", "silences")
            if mark in one["comment"] and one["status"]["state"] != "expired"
        ]


def matcher(name: str, values: list[str]) -> dict:
    return {"name": name, "value": "|".join(map(re.escape, sorted(values))), "isRegex": True, "isEqual": True}


def hosts_of(silence: dict) -> list[str]:
    found = next(one["value"] for one in silence["matchers"] if one["name"] == "host")
    return [re.sub(r"\\(.)", r"\1", host) for host in found.split("|")]


def present(manager: Alertmanager, params: dict) -> dict:
    mark = f"[{params['work']} {params['token']}]"
    there = manager.silences(mark)
    hosts = sorted({*params["hosts"], *(host for one in there for host in hosts_of(one))})
    now = datetime.now(UTC)
    wanted = {
        "matchers": [
            matcher("alertname", params["alerts"]),
            matcher("host", hosts),
            matcher("severity", params["severities"]),
        ],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=params["minutes"])).isoformat(),
        "createdBy": params["author"],
        "comment": f"{params['why']} {mark}",
    }
    if there:
        wanted["id"] = there[0]["id"]  # with other hosts Alertmanager ends the old one and makes a new one
    return {"silence": manager.call("POST", "silences", wanted)["silenceID"], "hosts": hosts}


def absent(manager: Alertmanager, params: dict) -> dict:
    ended = [one["id"] for one in manager.silences(f" {params['token']}]")]
    for identity in ended:
        manager.call("DELETE", f"silence/{identity}")
    return {"ended": ended}


def main() -> None:
    text, texts = {"type": "str", "default": ""}, {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "address": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "work": text, "why": text, "author": text, "hosts": texts, "alerts": texts, "severities": texts,
            "minutes": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )  # fmt: skip
    if module.check_mode or not CONFIG.exists():
        module.exit_json(changed=False, skipped=True)
    manager = Alertmanager(module.params["address"])
    try:
        done = (present if module.params["state"] == "present" else absent)(manager, module.params)
    except (OSError, ValueError, KeyError) as problem:  # URLError is an OSError
        module.warn(f"Alertmanager at {module.params['address']} did not take the silence: {problem}")
        done = {}
    module.exit_json(changed=False, **done)


if __name__ == "__main__":
    main()
