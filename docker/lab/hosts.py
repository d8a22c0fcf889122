"""The containers of one lab: its network, `world`, and the hosts that a topology names."""

import io
import shlex
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

import network
import store
import topology
from output import LabError, step
from topology import WORLD, Topology

SITE = "matchpoint.localhost"  # every browser resolves *.localhost to loopback by itself
LABEL = "matchpoint.lab"
BOOT_SECONDS = 120
STOP_SECONDS = 150  # longer than a service may take to stop: live workers hand their matches over first
GRAFANA_REPOSITORY = "https://apt.grafana.com/"
OPS_ID = 1000  # the first user of a Debian system
SSH_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"


@dataclass(frozen=True)
class Lab:
    """One lab: `name` prefixes its containers and names its network; `state` holds its keys and CA files."""

    client: docker.DockerClient
    name: str
    state: Path

    def containers(self) -> list[Container]:
        """`world` and the hosts, running or not, by name."""
        found = self.client.containers.list(all=True, filters={"label": f"{LABEL}={self.name}"})
        return sorted(found, key=host_name)

    def hosts(self, group: str = "") -> list[Container]:
        """The hosts, or those of a group."""
        return [
            container
            for container in self.containers()
            if host_name(container) != WORLD and (not group or group in host_groups(container))
        ]

    def container(self, host: str) -> Container:
        try:
            return self.client.containers.get(f"{self.name}-{host}")
        except NotFound:
            known = ", ".join(host_name(container) for container in self.containers())
            raise LabError(
                f"There is no host '{host}' in the lab '{self.name}'"
                + (f"; there are {known}." if known else ", which is not up: `make lab` boots it.")
            ) from None

    def networks(self) -> list[Network]:
        return self.client.networks.list(filters={"label": f"{LABEL}={self.name}"})

    def topology(self) -> Topology:
        """What is there, as a topology."""
        return {host_name(container): host_groups(container) for container in self.hosts()}


def host_name(container: Container) -> str:
    return str(container.labels["matchpoint.host"])


def host_groups(container: Container) -> list[str]:
    return [group for group in container.labels.get("matchpoint.groups", "").split(",") if group]


def was_added(container: Container) -> bool:
    """Whether the host came by `lab-add` and not with the lab's topology."""
    return not container.labels.get("matchpoint.topology")


def described(container: Container) -> dict[str, Any]:
    """What programs want to know of a machine of the lab."""
    return {
        "host": host_name(container),
        "groups": host_groups(container),
        "state": container.status,
        "address": network.address(container),
    }


def up(lab: Lab, images: tuple[str, str], name: str, wanted: Topology, *, publish: bool, package_cache: Path) -> None:
    """Boots `world` and every host of the topology `name` that is not running, and waits until all have booted."""
    containers = {host_name(container): container for container in lab.containers()}
    _refuse_mixture(lab, containers, name, wanted)
    _state_prepare(lab)
    host_image, world_image = images
    net = next(iter(lab.networks()), None) or network.create(lab.client, lab.name, {LABEL: lab.name})
    free = network.addresses(net, list(containers.values()))
    package_cache.mkdir(parents=True, exist_ok=True)
    package_cache.chmod(0o777)  # written by the cache's user inside the container
    first_edge = min(host for host, groups in wanted.items() if "edge" in groups)  # as in the inventory
    site_ports: dict[int | str, Any] = {"80/tcp": ("127.0.0.1", 80), "443/tcp": ("127.0.0.1", 443)} if publish else {}

    machines: Topology = {WORLD: []} | wanted
    missing = [
        Spec(
            host,
            groups,
            topology=name,
            image=world_image if host == WORLD else host_image,
            address=next(free),
            ports=site_ports if host == first_edge else {},
            volumes={str(package_cache): {"bind": "/var/cache/apt-cacher-ng"}} if host == WORLD else {},
        )
        for host, groups in machines.items()
        if host not in containers
    ]
    booting = _parallel(lambda spec: _boot(lab, net, spec), missing)
    starting = _parallel(_start, [containers[host] for host in machines if host in containers])
    _parallel(_wait_booted, booting + starting)
    _state_hosts(lab)
    _state_world(lab)
    step(f"{len(machines)} machines up: {', '.join(machines)}")


def add(lab: Lab, images: tuple[str, str], host: str, groups: list[str]) -> None:
    """Boots one more host into a running lab."""
    running = lab.topology()
    if not running:
        raise LabError(f"The lab '{lab.name}' is not up: `make lab` boots it.")
    if host in running:
        raise LabError(
            f"The lab '{lab.name}' has a host {host} already ({', '.join(running[host])}); "
            f"take another name, or remove it first: `make lab-remove HOST={host}`."
        )
    topology.check(running | {host: groups}, f"HOST={host} GROUPS={','.join(groups)}")
    net = lab.networks()[0]
    address = next(network.addresses(net, lab.containers()))
    _wait_booted(_boot(lab, net, Spec(host, groups, topology="", image=images[0], address=address)))
    _state_hosts(lab)
    step(f"{host} is up at {address}")


def remove(lab: Lab, host: str) -> None:
    """Removes a host's container and disk; the other hosts learn it from the next deploy."""
    if host == WORLD:
        raise LabError("`world` is the internet around the lab and cannot be removed alone; `make down` removes all.")
    container = lab.container(host)
    step(f"removing {host}")
    container.remove(force=True, v=True)
    _state_hosts(lab)


def down(lab: Lab) -> None:
    """Removes the lab's containers and network, and its state."""

    def take_away(container: Container) -> None:
        step(f"removing {container.name}")
        container.remove(force=True, v=True)

    _parallel(take_away, lab.containers())
    for net in lab.networks():
        net.remove()
    shutil.rmtree(lab.state, ignore_errors=True)


def start(lab: Lab, host: str) -> None:
    """Boots a stopped host and waits until it is up."""
    _wait_booted(_start(lab.container(host)))
    _state_after_boot(lab, host)


def stop(lab: Lab, host: str) -> None:
    """Shuts a host down in order; it stays down until it is started."""
    step(f"stopping {host}")
    lab.container(host).stop(timeout=STOP_SECONDS)


def kill(lab: Lab, host: str) -> None:
    """Cuts a host's power: no service gets to say goodbye. It stays down until it is started."""
    container = lab.container(host)
    if container.status != "running":
        raise LabError(f"{host} is not running ({container.status}): there is nothing to kill.")
    step(f"cutting the power of {host}")
    container.kill()
    container.wait(timeout=30)


def reboot(lab: Lab, host: str) -> None:
    """Restarts a host in order, and waits until it has booted."""
    container = lab.container(host)
    step(f"rebooting {host}")
    container.restart(timeout=STOP_SECONDS)
    _wait_booted(container)
    _state_after_boot(lab, host)


def listener(container: Container, port: int) -> str:
    """The address on which the host's own service listens on a port; "" when none does.

    The proxies that stand in for other hosts' services listen on the same port, each on an address of its own.
    """
    _, out = _exec(container, "ss", "-Hltnp", f"sport = :{port}")
    for line in out.decode().splitlines():
        address = line.split()[3].rpartition(":")[0].partition("%")[0]
        if '"haproxy"' not in line:
            return "127.0.0.1" if address in ("*", "0.0.0.0", "[::]") else address
    return ""


def _refuse_mixture(lab: Lab, containers: dict[str, Container], name: str, wanted: Topology) -> None:
    """Raises LabError when hosts are there that the topology does not want as they are; added hosts may stay."""
    there = {host: host_groups(box) for host, box in containers.items() if host != WORLD and not was_added(box)}
    faults = topology.differences(there, wanted)
    if faults:
        faults += [f"{host} ({', '.join(groups)}) is wanted and not there" for host, groups in wanted.items()
                   if host not in containers]  # fmt: skip
        booted = sorted({box.labels["matchpoint.topology"] for box in containers.values() if not was_added(box)})
        raise LabError(
            f"The lab '{lab.name}' was booted with the topology {', '.join(booted)} and is not what {name} says:\n  "
            + "\n  ".join(faults)
            + f"\n`make down LAB={lab.name}` removes it; `make lab LAB=other TOPOLOGY={name}` boots another beside it."
        )


def _parallel(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """The results of the work on each item, in order; the first exception is raised when all have ended."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return [future.result() for future in [pool.submit(work, item) for item in items]]


@dataclass(frozen=True)
class Spec:
    """What a container is made from."""

    host: str
    groups: list[str]
    topology: str  # "" for a host that was added by hand
    image: str
    address: str
    ports: dict[int | str, Any] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=dict)


def _boot(lab: Lab, net: Network, spec: Spec) -> Container:
    """Creates the container and starts it."""
    step(f"booting {spec.host}" + (f" ({', '.join(spec.groups)})" if spec.groups else ""))
    client = lab.client
    # Docker mounts the container's own cgroup tree read-only, but systemd must write there. Binding the machine's tree
    # into the container instead would put the systemd of every container into the same root.
    tree = "/sys/fs/cgroup" if client.info().get("CgroupVersion") == "2" else "/sys/fs/cgroup/systemd"
    command = ["/bin/sh", "-c", f"mount -o remount,bind,rw {tree} && exec /sbin/init"]
    host_config = client.api.create_host_config(
        # systemd needs most capabilities; SYS_RESOURCE is missing on some machines, and nothing here needs it.
        cap_add=["ALL"],
        cap_drop=["SYS_RESOURCE"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        tmpfs={"/run": "", "/run/lock": "", "/tmp": ""},
        binds=spec.volumes,
        port_bindings=spec.ports,
        # A reboot inside ends PID 1, and Docker starts it again; what the driver stops or kills stays down.
        restart_policy={"Name": "unless-stopped"},
    )
    # What `docker run --security-opt systempaths=unconfined` sends: sysctls can be set inside.
    host_config |= {"MaskedPaths": [], "ReadonlyPaths": [], "CgroupnsMode": "private"}
    aliases = [spec.host, SITE] if "edge" in spec.groups else [spec.host]
    endpoint = client.api.create_endpoint_config(aliases=aliases, ipv4_address=spec.address)
    created = client.api.create_container(
        spec.image,
        command,
        name=f"{lab.name}-{spec.host}",
        hostname=spec.host,
        labels={
            LABEL: lab.name,
            "matchpoint.host": spec.host,
            "matchpoint.groups": ",".join(spec.groups),
            "matchpoint.topology": spec.topology,
        },
        ports=[str(port).split("/")[0] for port in spec.ports],
        host_config=host_config,
        networking_config={"EndpointsConfig": {net.name: endpoint}},
    )
    container = client.containers.get(created["Id"])
    try:
        container.put_archive("/home/ops", _authorized_key(lab))
        container.start()
    except APIError as error:
        container.remove(force=True)
        text = str(error)
        if spec.ports and ("address already in use" in text or "port is already allocated" in text):
            raise LabError(
                "Port 80 or 443 of 127.0.0.1 is taken, and the lab publishes the site there. "
                "`ss -ltnp 'sport = :443 or sport = :80'` shows by whom: stop it, or boot with PUBLISH=0."
            ) from None
        raise LabError(f"Docker could not start {spec.host}: {text}") from None
    return container


def _start(container: Container) -> Container:
    if container.status != "running":
        step(f"starting {host_name(container)}")
        container.start()
    return container


def _authorized_key(lab: Lab) -> bytes:
    """An archive of ~ops/.ssh."""
    key = (lab.state / "ssh_key.pub").read_bytes()
    folder, file = tarfile.TarInfo(".ssh"), tarfile.TarInfo(".ssh/authorized_keys")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o700
    file.size, file.mode = len(key), 0o600
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for entry in (folder, file):
            entry.uid = entry.gid = OPS_ID
            tar.addfile(entry, io.BytesIO(key))
    return archive.getvalue()


def _exec(container: Container, *command: str) -> tuple[int, bytes]:
    """Exit code and output of a command inside."""
    code, output = container.exec_run(list(command))
    assert isinstance(output, bytes)  # neither streamed nor demultiplexed
    return code or 0, output


def _read(container: Container, path: str) -> bytes:
    """A file of a container, running or not."""
    chunks, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None
        return file.read()


def _wait_booted(container: Container) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    state = "unknown"
    while time.monotonic() < deadline:
        try:
            _, out = _exec(container, "timeout", "20", "systemctl", "is-system-running", "--wait")
            state = out.decode().strip()
        except APIError as error:  # between the end of one PID 1 and the start of the next
            state = error.explanation or str(error)
        if state == "running":
            return
        if state == "degraded":
            _, failed = _exec(container, "systemctl", "list-units", "--failed", "--no-legend", "--plain")
            raise LabError(f"{container.name} booted, but some units failed:\n{failed.decode()}")
        time.sleep(0.2)
    raise LabError(
        f"{container.name} did not boot within {BOOT_SECONDS} s (systemd says: {state}).\n"
        f"{container.logs(tail=15).decode()}"
    )


def _state_prepare(lab: Lab) -> None:
    lab.state.mkdir(parents=True, exist_ok=True)
    key = lab.state / "ssh_key"
    if not key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"ops@{lab.name}", "-f", str(key)]
        subprocess.run(command, check=True)


def _state_after_boot(lab: Lab, host: str) -> None:
    if host == WORLD:
        _state_world(lab)


def _state_hosts(lab: Lab) -> None:
    """Writes how the control machine reaches the hosts: their keys and an ssh_config."""
    known, config = [], []
    for container in lab.containers():
        host, address = host_name(container), network.address(container)
        key = " ".join(_read(container, SSH_HOST_KEY).decode().split()[:2])
        known.append(f"{host},{address} {key}\n")
        config.append(f"Host {host}\n  HostName {address}\n  HostKeyAlias {host}\n")
    _write(lab.state / "known_hosts", "".join(known))
    _write(
        lab.state / "ssh_config",
        "".join(config)
        + f"Host *\n  User ops\n  IdentityFile {shlex.quote(str(lab.state / 'ssh_key'))}\n  IdentitiesOnly yes\n"
        + f"  UserKnownHostsFile {shlex.quote(str(lab.state / 'known_hosts'))}\n",
    )


def _write(path: Path, text: str) -> None:
    """Replaces the file in one step: somebody may be reading it."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


def _state_world(lab: Lab) -> None:
    """Writes what the control machine must know of `world`: its CA files, and where Grafana can come from."""
    world = lab.container(WORLD)
    root = _issuing_root(world)  # when it answers, the other files are there
    (lab.state / "root-ca.pem").write_bytes(root)
    (lab.state / "acme-api-ca.pem").write_bytes(_read(world, "/var/lib/world/ca.pem"))
    store.let_in(world, lab.state)
    _write(lab.state / "grafana_source", _grafana_source(world))


def _grafana_source(world: Container) -> str:
    """How the lab's hosts can get Grafana, which is not in Debian: `upstream`, its own repository, or `off`."""
    code, _ = _exec(world, "curl", "-sfIL", "--max-time", "5", "-o", "/dev/null", GRAFANA_REPOSITORY)
    if code == 0:
        return "upstream"
    step(f"{GRAFANA_REPOSITORY} cannot be reached: everything but Grafana will be deployed")
    return "off"


def _issuing_root(world: Container) -> bytes:
    """The root of the certificates that the ACME CA issues; Pebble makes a new one at every start."""
    fetch = ["curl", "-s", "--cacert", "/var/lib/world/ca.pem", "https://world:15000/roots/0"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        code, root = _exec(world, *fetch)
        if code == 0 and b"BEGIN CERTIFICATE" in root:
            return root
        time.sleep(0.2)
    raise LabError(
        "The ACME CA of `world` does not answer: `docker exec <lab>-world journalctl -u world-pebble` says why."
    )
