#!/usr/bin/python3
"""What a deploy must know about a host before it changes anything, in one step: names, listeners, disk and clock."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: preflight_probe
short_description: look at names, listeners, disk and clock of a host
description: [Reads only. Works in check mode.]
options:
  name:
    description: DNS name to resolve on the host
    type: str
    default: ""
"""

LISTENER = re.compile(
    r"^LISTEN\s+\d+\s+\d+\s+\S*:(?P<port>\d+)\s+\S+"
    r'(\s+users:\(\("(?P<process>[^"]+)",pid=(?P<pid>\d+))?'
)


def resolve(name: str) -> tuple[list[str], str]:
    try:
        return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)}), ""
    except OSError as error:
        return [], str(error)


def unit(pid: str | None) -> str:
    """The systemd unit of a process, from its control group."""
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return "unknown unit"
    return next((part for part in reversed(re.split(r"[/\n]", group)) if part.endswith(".service")), "no unit")


def listeners(module: AnsibleModule) -> list[dict]:
    """Listening TCP sockets with the process and the unit that hold them."""
    _, out, _ = module.run_command(["ss", "-ltnpH"], check_rc=True)
    found = {}
    for line in out.splitlines():
        if match := LISTENER.match(line):
            port = int(match["port"])
            found[port] = {"port": port, "process": match["process"] or "a hidden process", "unit": unit(match["pid"])}
    return list(found.values())


def main() -> None:
    module = AnsibleModule(argument_spec={"name": {"type": "str", "default": ""}}, supports_check_mode=True)
    addresses, name_error = resolve(module.params["name"]) if module.params["name"] else ([], "")
    module.exit_json(
        changed=False,
        addresses=addresses,
        name_error=name_error,
        listeners=listeners(module),
        disk_free_mb=shutil.disk_usage("/").free // 2**20,
        time=time.time(),
    )


if __name__ == "__main__":
    main()
