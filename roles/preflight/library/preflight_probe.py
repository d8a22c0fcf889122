#!/usr/bin/python3
"""What a deploy must know about a host before it changes anything, in one step: names, ports, disk and clock."""

from __future__ import annotations

import re
import shutil
import socket
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: preflight_probe
short_description: look at names, listeners, the port of SSH, disk and clock of a host
description: [Reads only. Works in check mode.]
options:
  name:
    description: DNS name to resolve on the host
    type: str
    default: ""
  aliases:
    description: more of them
    type: list
    elements: str
    default: []
  ports:
    description: TCP ports whose listeners to look for
    type: list
    elements: int
    default: []
"""

HIDDEN = "unknown unit"
LISTENER = re.compile(
    r"^LISTEN\s+\d+\s+\d+\s+\S*:(?P<port>\d+)\s+\S+"
    r'(\s+users:\(\("(?P<process>[^"]+)",pid=(?P<pid>\d+))?'
)


def resolve(name: str) -> tuple[list[str], str]:
    try:
        return sorted({entry[4][0] for entry in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)}), ""
    except OSError as error:
        return [], str(error)


def ssh_port() -> int:
    """The port of the host that this connection came in by, 0 when it did not come by SSH.

    sudo forgets the variable, so it is looked for in the processes that this one came from.
    """
    process = Path("/proc/self")
    while True:
        try:
            came = re.search(rb"(?:^|\0)SSH_CONNECTION=\S+ \d+ \S+ (\d+)\0", (process / "environ").read_bytes())
            parent = re.search(r"^PPid:\s+([1-9]\d*)$", (process / "status").read_text(), re.MULTILINE)
        except OSError:
            return 0
        if came:
            return int(came[1])
        if parent is None:
            return 0
        process = Path("/proc", parent[1])


def unit(pid: str | None) -> str:
    """The systemd unit of a process, from its control group."""
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return HIDDEN
    return next((part for part in reversed(re.split(r"[/\n]", group)) if part.endswith(".service")), "no unit")


def listeners(module: AnsibleModule) -> list[dict]:
    """Who listens on the ports: the process and the unit."""
    _, out, _ = module.run_command(["ss", "-ltnpH"], check_rc=True)
    found = {}
    for match in filter(None, map(LISTENER.match, out.splitlines())):
        port = int(match["port"])
        if port in module.params["ports"]:
            found[port] = {"port": port, "process": match["process"] or "a hidden process", "unit": unit(match["pid"])}
    return list(found.values())


def listeners_settled(module: AnsibleModule) -> list[dict]:
    """The listeners; a service that is just starting or stopping may hide its process for a moment."""
    deadline = time.monotonic() + 5
    while True:
        found = listeners(module)
        if time.monotonic() > deadline or not any(each["unit"] == HIDDEN for each in found):
            return found
        time.sleep(0.5)


def disk_size_mb() -> int:
    """The size of the file systems that a site fills, together."""
    systems = {Path(path).stat().st_dev: shutil.disk_usage(path).total for path in ("/", "/opt", "/var")}
    return sum(systems.values()) // 2**20


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": ""},
            "aliases": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    addresses, name_error = resolve(module.params["name"]) if module.params["name"] else ([], "")
    module.exit_json(
        changed=False,
        addresses=addresses,
        name_error=name_error,
        aliases={
            name: dict(zip(("addresses", "error"), resolve(name), strict=True)) for name in module.params["aliases"]
        },
        listeners=listeners_settled(module),
        ssh_port=ssh_port(),
        disk_size_mb=disk_size_mb(),
        disk_free_mb=shutil.disk_usage("/").free // 2**20,
        time=time.time(),
    )


if __name__ == "__main__":
    main()
