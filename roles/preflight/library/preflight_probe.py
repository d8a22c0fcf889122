#!/usr/bin/python3
"""What a deploy must know about a host before it changes anything, in one step.

Names, ports, disk and clock; what is somebody else's and would be taken over; what tells that a site was here.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import time
from glob import glob
from pathlib import Path
from typing import Any

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
  open_ports:
    description: ports that the firewall will leave open, for what closes the others
    type: list
    elements: int
    default: []
  takes:
    description:
      - What roles will make their own. Where C(sign) is there, it is theirs already. Else these are somebody else's,
        C(files) (patterns) that are not as a package brought them, those of C(files_over.paths) with more than
        C(files_over.bytes), the lines that the command C(ask) prints, and, with C(closes), ports that others can reach.
    type: list
    elements: dict
    default: []
  signs:
    description: what tells that the site was here, C(told) in words, where each pattern of C(paths) finds something
    type: list
    elements: dict
    default: []
  paths:
    description: paths of whose file systems the room is looked at, there or not
    type: list
    elements: path
    default: []
"""

HIDDEN = "unknown unit"
CLOCKS = ("chrony.service", "systemd-timesyncd.service", "ntpsec.service", "openntpd.service")
LISTENER = re.compile(
    r"^LISTEN\s+\d+\s+\d+\s+\S*:(?P<port>\d+)\s+\S+"
    r'(\s+users:\(\("(?P<process>[^"]+)",pid=(?P<pid>\d+))?'
)
SOCKET = re.compile(
    r"^(?P<protocol>tcp|udp)\s+\S+\s+\d+\s+\d+\s+(?P<address>\S+):(?P<port>\d+)\s+\S+"
    r'(\s+users:\(\("(?P<process>[^"]+)",pid=(?P<pid>\d+))?'
)
CLIENT_PORTS = (68, 123, 323, 546, 5353, 5355)  # DHCP, NTP, and names of the local network
FIRST_CLIENT_PORT = 32768
# What a bare Debian may have, and what docker carries elsewhere than to the host itself
HARMLESS = ("rpcbind.service", "systemd-resolved.service", "systemd-networkd.service", "docker-proxy")


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


def socket_unit(module: AnsibleModule, port: int) -> str:
    """The socket unit for which systemd itself listens on the port."""
    _, out, _ = module.run_command(["systemctl", "list-sockets", "--plain", "--no-legend"])
    units = (line.split()[1] for line in out.splitlines() if re.match(rf"\S*:{port}\s", line))
    return next(units, "no unit")


def listeners(module: AnsibleModule) -> list[dict]:
    """Who listens on the ports: the process and the unit."""
    _, out, _ = module.run_command(["ss", "-ltnpH"], check_rc=True)
    found = {}
    for match in filter(None, map(LISTENER.match, out.splitlines())):
        port = int(match["port"])
        if port in module.params["ports"]:
            of = socket_unit(module, port) if match["pid"] == "1" else unit(match["pid"])
            found[port] = {"port": port, "process": match["process"] or "a hidden process", "unit": of}
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


def originals(module: AnsibleModule) -> dict[str, str]:
    """MD5 of each configuration file of Debian's packages, as it was installed."""
    _, out, _ = module.run_command(["dpkg-query", "--show", "--showformat=${Conffiles}\n"])
    return dict(re.findall(r"^ (/\S+) ([0-9a-f]{32})", out, re.MULTILINE))


def is_original(path: Path, known: dict[str, str]) -> bool:
    real = path.resolve()
    digest = known.get(str(path)) or known.get(str(real))
    return (
        bool(digest) and real.is_file() and hashlib.md5(real.read_bytes(), usedforsecurity=False).hexdigest() == digest
    )


def reached(module: AnsibleModule) -> list[str]:
    """What others reach over the network on ports that the firewall will close."""
    _, out, _ = module.run_command(["ss", "-ltunpH"], check_rc=True)
    found = []
    for line in out.splitlines():
        seen = SOCKET.match(line)
        if not seen or seen["address"].strip("[]").partition("%")[0].startswith(("127.", "::1", "fe80:")):
            continue
        port, process = int(seen["port"]), seen["process"] or "the kernel"
        of = unit(seen["pid"]) if seen["pid"] else ""
        if seen["protocol"] == "tcp" and port in module.params["open_ports"]:
            continue
        # A port of the moment, which a client listens on for its answers
        is_client = seen["protocol"] == "udp" and (port in CLIENT_PORTS or (port >= FIRST_CLIENT_PORT and seen["pid"]))
        if is_client or of in HARMLESS or process in HARMLESS:
            continue
        found.append(f"{seen['protocol']} {port} of {process}{f' ({of})' if of else ''}")
    return sorted(set(found))


def foreign(module: AnsibleModule) -> list[dict[str, Any]]:
    """What would be taken over, {what, loss, found}."""
    known: dict[str, str] | None = None
    answers = []
    for one in module.params["takes"]:
        if Path(one["sign"]).exists():
            continue
        over = one.get("files_over") or {"bytes": 0, "paths": []}
        paths = [path for pattern in one.get("files", []) for path in sorted(glob(pattern))]
        if paths and known is None:
            known = originals(module)
        found = [path for path in paths if not is_original(Path(path), known or {})]
        found += [path for path in over["paths"] if Path(path).exists() and Path(path).stat().st_size > over["bytes"]]
        if one.get("ask") and shutil.which(one["ask"][0]):
            status, out, _ = module.run_command(one["ask"], cwd="/")
            found += [] if status else [line.strip() for line in out.splitlines() if line.strip()]
        if one.get("closes") and module.params["open_ports"]:
            found += reached(module)
        if found:
            answers.append({"what": one["what"], "loss": one["loss"], "found": found})
    return answers


def room(path: str) -> dict:
    """The file system on which a path is, or would be: its mount point, and what can be written there."""
    place = Path(path)
    while not place.exists() or not (place.is_mount() or place == place.parent):
        place = place.parent
    return {"place": str(place), "free_mb": shutil.disk_usage(place).free // 2**20}


def clock_kept_by(module: AnsibleModule) -> str:
    """The service that keeps the time, "" for none."""
    command = ["systemctl", "list-units", "--state=active", "--plain", "--no-legend", *CLOCKS]
    _, out, _ = module.run_command(command)
    return out.partition(" ")[0].removesuffix(".service")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": ""},
            "aliases": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "open_ports": {"type": "list", "elements": "int", "default": []},
            "takes": {"type": "list", "elements": "dict", "default": []},
            "signs": {"type": "list", "elements": "dict", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
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
        foreign=foreign(module),
        signs=[one["told"] for one in module.params["signs"] if all(glob(pattern) for pattern in one["paths"])],
        ssh_port=ssh_port(),
        disk_size_mb=disk_size_mb(),
        disks={path: room(path) for path in module.params["paths"]},
        clock_kept_by=clock_kept_by(module),
        time=time.time(),
    )


if __name__ == "__main__":
    main()
