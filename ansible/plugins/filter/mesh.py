"""Who talks to whom in a site of several hosts, from what their roles offer and need."""

from __future__ import annotations

import hashlib
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = """
name: mesh
short_description: addresses and links of the hosts of a site
description:
  - C(mesh_address) gives a host its own loopback address, the same on every host of the site and in every run.
  - C(mesh_links) says what one host accepts, where it connects to, and what its firewall must open.
"""

Host = dict[str, Any]
"""name, address (the private one), mesh (the loopback one), offers and direct {service: [ports]}, needs [services]."""


def mesh_address(name: str) -> str:
    """127.64.0.1 to 127.127.255.254, from the host's name: adding or removing a host never changes another one's."""
    second, third, fourth = hashlib.sha256(str(name).encode()).digest()[:3]
    return f"127.{64 + second % 64}.{third}.{1 + fourth % 254}"


def mesh_links(hosts: list[Host], name: str) -> dict[str, Any]:
    """The links of the host `name`, which stands beside them.

    accepts   [{port, peers}]: own services that other hosts need, and the names of those hosts
    connects  [{host, address, mesh, port}]: services of other hosts that this one needs
    opens     [{port, peers, addresses}]: what the firewall lets in: `accepts`, and ports that speak TLS themselves
    """
    own = next((host for host in hosts if host["name"] == name), None)
    if own is None:
        raise AnsibleFilterError(f"the host {name} is not part of the site")
    others = sorted((host for host in hosts if host["name"] != name), key=lambda host: host["name"])
    accepts = _wanted(own["offers"], others)
    opens = [*accepts, *_wanted(own["direct"], others)]
    addresses = {host["name"]: host["address"] for host in others}
    return {
        "name": name,
        "accepts": accepts,
        "connects": [
            {"host": host["name"], "address": host["address"], "mesh": host["mesh"], "port": entry["port"]}
            for host in others
            for entry in _wanted(host["offers"], [own])
        ],
        "opens": [{**entry, "addresses": sorted(addresses[peer] for peer in entry["peers"])} for entry in opens],
    }


def _wanted(services: dict[str, list[int]], clients: list[Host]) -> list[dict[str, Any]]:
    """Ports of the services that somebody needs, with the names of those who do."""
    peers: dict[int, set[str]] = {}
    for service, ports in services.items():
        names = {client["name"] for client in clients if service in client["needs"]}
        for port in ports if names else []:
            peers.setdefault(int(port), set()).update(names)
    return [{"port": port, "peers": sorted(names)} for port, names in sorted(peers.items())]


class FilterModule:
    def filters(self):
        return {"mesh_address": mesh_address, "mesh_links": mesh_links}
