"""The network of a lab: a subnet of its own, in which every host keeps its address as long as it exists."""

import json
import subprocess
import zlib
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from output import LabError

RANGES = ("172.30.0.0/16", "10.213.0.0/16")  # a lab takes a /24 out of these that nothing on the machine uses
HOST_NUMBERS = range(11, 251)  # within the /24; 1 is the machine's own end of the bridge


def create(client: docker.DockerClient, name: str, labels: dict[str, str]) -> Network:
    """A bridge whose packets fit the machine's own link: clouds often have an MTU below Ethernet's 1500."""
    options = {"com.docker.network.driver.mtu": str(_mtu(list(_routes())))}
    for subnet in free(name):
        pool = IPAMPool(subnet=str(subnet), gateway=str(subnet[1]))
        try:
            return client.networks.create(
                name, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), options=options, labels=labels
            )
        except APIError as error:
            if "overlaps" not in str(error):
                raise
    raise LabError(
        f"The network '{name}' needs a /24 out of {' or '.join(RANGES)}, and all are in use: "
        "`docker network prune` frees those that no container uses."
    )


def free(name: str) -> Iterator[IPv4Network]:
    """Every /24 of the ranges that nothing on the machine uses, the one that belongs to the name first."""
    used = [IPv4Network(route["dst"]) for route in _routes() if route["dst"] != "default"]
    return (subnet for subnet in _candidates(name) if not any(subnet.overlaps(other) for other in used))


def addresses(network: Network, containers: list[Container]) -> Iterator[str]:
    """The addresses of the network that none of the containers has, running or not."""
    network.reload()
    subnet = IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])
    taken = {address(container) for container in containers}
    free = (str(subnet[number]) for number in HOST_NUMBERS)
    yield from (candidate for candidate in free if candidate not in taken)
    raise LabError(f"The network '{network.name}' has no address left for another host.")


def address(container: Container) -> str:
    """The container's address on its only network, also while it is stopped."""
    endpoint = next(iter(container.attrs["NetworkSettings"]["Networks"].values()))
    return str((endpoint["IPAMConfig"] or {}).get("IPv4Address") or endpoint["IPAddress"])


def _candidates(name: str) -> Iterator[IPv4Network]:
    """Every /24 of the ranges, beginning at one that belongs to the name, so that a lab tends to get the same again."""
    for text in RANGES:
        subnets = list(IPv4Network(text).subnets(new_prefix=24))
        start = zlib.crc32(name.encode()) % len(subnets)
        yield from subnets[start:] + subnets[:start]


def _routes() -> Iterator[dict[str, str]]:
    answer = subprocess.run(["ip", "-j", "-4", "route"], check=True, capture_output=True, text=True)
    yield from json.loads(answer.stdout or "[]")


def _mtu(routes: list[dict[str, str]]) -> int:
    device = next((route["dev"] for route in routes if route["dst"] == "default" and "dev" in route), None)
    return int(Path(f"/sys/class/net/{device}/mtu").read_text()) if device else 1500
