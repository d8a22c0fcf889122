"""Who talks to whom in a site, from what the roles of its hosts offer, need and reach."""

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
  - C(local_guards) and C(local_bounds) say which user of a host may connect to which of the site's ports on loopback.
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


def local_guards(hosts: list[Host], reaches: dict[str, list[str]], guarded: list[str]) -> list[dict[str, Any]]:
    """[{ports, users}]: the ports of services that ask for no password, wherever they are, and who may connect to them.

    A port that is offered as a service of another name as well (and has metrics, say) answers for itself.
    `reaches` {user or user:group: services, "*" for all} of the host that is asked about. Groups do not count here:
    theirs is the finer line of `local_bounds`.
    """
    others = {service for host in hosts for service in host["offers"]} - {*guarded}
    open_ports = {port for service in others for port in _ports(hosts, service)}
    users: dict[int, set[str]] = {
        port: set() for service in guarded for port in _ports(hosts, service) if port not in open_ports
    }
    for user, services in reaches.items():
        if ":" in user:
            continue
        for service in guarded if "*" in services else services:
            for port in _ports(hosts, service) & users.keys():
                users[port].add(user)
    together: dict[tuple[str, ...], list[int]] = {}
    for port, names in sorted(users.items()):
        together.setdefault(tuple(sorted(names)), []).append(port)
    return [{"ports": ports, "users": list(names)} for names, ports in together.items()]


def local_bounds(hosts: list[Host], reaches: dict[str, list[str]], bounded: list[str]) -> list[dict[str, Any]]:
    """[{user, group, ports, out}]: who may connect to these ports on loopback, to `out` anywhere, and nowhere else.

    In `reaches` out:443 is such a port, "*" anything; ports are ["*"] then. Members of a group come before other
    processes of their user.
    """
    return [
        {
            "user": who.partition(":")[0],
            "group": who.partition(":")[2],
            "out": [int(each.removeprefix("out:")) for each in reaches[who] if each.startswith("out:")],
            "ports": ["*"]
            if "*" in reaches[who]
            else sorted({p for each in reaches[who] for p in _ports(hosts, each)}),
        }
        for who in sorted(bounded, key=lambda who: (":" not in who, who))
    ]


def _ports(hosts: list[Host], service: str) -> set[int]:
    return {int(port) for host in hosts for port in host["offers"].get(service, [])}


class FilterModule:
    def filters(self):
        return {
            "mesh_address": mesh_address,
            "mesh_links": mesh_links,
            "local_guards": local_guards,
            "local_bounds": local_bounds,
        }
