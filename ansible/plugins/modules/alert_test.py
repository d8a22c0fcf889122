#!/usr/bin/python3
"""Send an alert through Alertmanager's real receivers, and say whether each of them took it."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: alert_test
short_description: send a test alert, and see who takes it
description:
  - Gives Alertmanager an alert C(TestAlert), which ends by itself after O(seconds) and a bit, and compares how many
    messages of each way of the receiver went out, and how many were refused, with before.
options:
  address: {description: of Alertmanager, type: str, required: true}
  severity: {description: which receiver gets it, choices: [page, ticket], default: page}
  ways: {description: "messages that are expected, {integration: number}", type: dict, required: true}
  site: {description: name of the site, type: str, required: true}
  sender: {description: who asks for it, type: str, default: somebody}
  seconds: {description: how long to wait for all of them, type: int, default: 90}
"""

SAMPLE = re.compile(r"^alertmanager_notification_requests(_failed)?_total\{([^}]*)\} (\S+)$", re.MULTILINE)
POLL_SECONDS = 0.5


def ask(url: str, body: Any = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def counts(text: str, receiver: str) -> tuple[Counter[str], Counter[str]]:
    """Messages that were taken, and that were refused, by integration."""
    tried, failed = Counter[str](), Counter[str]()
    for is_failed, labels, value in SAMPLE.findall(text):
        said = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if said.get("receiver_name") == receiver:
            (failed if is_failed else tried)[said["integration"]] += int(float(value))
    return tried - failed, failed


def alert(params: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    oncall = f"https://{params['site']}/ops/oncall/"
    return {
        # One that goes on from the last test would be told in an hour
        "labels": {
            "alertname": "TestAlert",
            "severity": params["severity"],
            "component": "monitoring",
            "test": now.strftime("%H:%M:%S"),
        },
        "annotations": {
            "summary": f"A test: {params['sender']} asks whether alerts of {params['site']} arrive",
            "impact": "Nobody notices anything.",
            "description": "Nothing is wrong, and nothing is to be done. It ends by itself in a few minutes.",
            "runbook_url": oncall,
            "dashboard_url": oncall,
        },
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(seconds=params["seconds"] + 30)).isoformat(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"required": True},
            "severity": {"choices": ["page", "ticket"], "default": "page"},
            "ways": {"type": "dict", "required": True},
            "site": {"required": True},
            "sender": {"default": "somebody"},
            "seconds": {"type": "int", "default": 90},
        }
    )
    params, api = module.params, f"http://{module.params['address']}"
    wanted = Counter({integration: int(number) for integration, number in params["ways"].items()})
    try:
        before = counts(ask(f"{api}/metrics"), params["severity"])
        ask(f"{api}/api/v2/alerts", [alert(params)])
        began = time.monotonic()
        while True:
            taken, refused = (
                now - old for now, old in zip(counts(ask(f"{api}/metrics"), params["severity"]), before, strict=True)
            )
            is_late = time.monotonic() - began > params["seconds"]
            if is_late or not wanted - taken:
                break
            time.sleep(POLL_SECONDS)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"Alertmanager at {params['address']} cannot be asked: {error}")
    took = round(time.monotonic() - began, 1)
    module.exit_json(changed=True, taken=taken, refused=refused, missing=wanted - taken, seconds=took)


if __name__ == "__main__":
    main()
