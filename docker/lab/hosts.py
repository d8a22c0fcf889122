"""The containers of one lab: its network, `world`, and the hosts that a topology names."""

import io
import shlex
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network

from output import LabError, step

HERE = Path(__file__).parent
SITE = "matchpoint.localhost"  # every browser resolves *.localhost to loopback by itself
LABEL = "matchpoint.lab"
GROUPS = ("db", "cache", "app", "edge", "monitor")
BOOT_SECONDS = 90
GRAFANA_REPOSITORY = "https://apt.grafana.com/"


@dataclass(frozen=True)
class Lab:
    """One lab: `name` prefixes its containers and names its network; `state` holds its keys and CA files."""

    client: docker.DockerClient
    name: str
    state: Path

    def containers(self) -> list[Container]:
        return self.client.containers.list(all=True, filters={"label": f"{LABEL}={self.name}"})

    def container(self, host: str) -> Container:
        try:
            return self.client.containers.get(f"{self.name}-{host}")
        except NotFound:
            raise LabError(
                f"There is no host '{host}' in the lab '{self.name}'. `make lab-status` lists them."
            ) from None

    def networks(self) -> list[Network]:
        return self.client.networks.list(filters={"label": f"{LABEL}={self.name}"})


def topology_read(name: str) -> dict[str, list[str]]:
    """Host name -> groups, from `topologies/<name>.yml`. Raises LabError that names the file and the fault."""
    path = HERE / "topologies" / f"{name}.yml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yml")))
        raise LabError(f"There is no topology '{name}' ({path}). There are: {known}.")
    hosts = (yaml.safe_load(path.read_text()) or {}).get("hosts")
    if not isinstance(hosts, dict) or not hosts:
        raise LabError(f"{path}: `hosts` must map host names to lists of groups, e.g. `mp1: [app, edge]`.")
    for host, groups in hosts.items():
        if unknown := sorted(set(groups or ["nothing"]) - set(GROUPS)):
            raise LabError(f"{path}: host {host} is in {', '.join(unknown)}; the groups are {', '.join(GROUPS)}.")
    return {str(host): list(groups) for host, groups in hosts.items()}


def up(
    lab: Lab, images: tuple[str, str], topology: dict[str, list[str]], *, publish: bool, package_cache: Path
) -> None:
    """Boots `world` and every host of the topology that is not running, and waits until all have booted."""
    _state_prepare(lab)
    host_image, world_image = images
    networks = lab.networks()
    network = networks[0] if networks else _network_create(lab)
    existing = {container.name: container for container in lab.containers()}
    edge = next((host for host, groups in topology.items() if "edge" in groups), None)
    package_cache.mkdir(parents=True, exist_ok=True)
    package_cache.chmod(0o777)  # written by the cache's user inside the container

    wanted: dict[str, tuple[str, list[str]]] = {"world": (world_image, [])} | {
        host: (host_image, groups) for host, groups in topology.items()
    }
    for host, (image, groups) in wanted.items():
        container = existing.get(f"{lab.name}-{host}")
        if container is None:
            step(f"booting {host}" + (f" ({', '.join(groups)})" if groups else ""))
            _boot(
                lab, network, host, image, groups,
                ports={"80/tcp": ("127.0.0.1", 80), "443/tcp": ("127.0.0.1", 443)} if publish and host == edge else {},
                aliases=[host, SITE] if host == edge else [host],
                volumes={str(package_cache): {"bind": "/var/cache/apt-cacher-ng"}} if host == "world" else {},
            )  # fmt: skip
        elif container.status != "running":
            step(f"starting {host}")
            container.start()
    for host in wanted:
        _wait_booted(lab.container(host))
    _state_collect(lab, list(wanted))


def down(lab: Lab) -> None:
    """Removes the lab's containers and network, and its state."""
    for container in lab.containers():
        step(f"removing {container.name}")
        container.remove(force=True, v=True)
    for network in lab.networks():
        network.remove()
    if lab.state.exists():
        for path in sorted(lab.state.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        lab.state.rmdir()


def address(container: Container) -> str:
    """The container's address on the lab's network."""
    container.reload()
    networks = container.attrs["NetworkSettings"]["Networks"]
    return str(next(iter(networks.values()))["IPAddress"])


def _network_create(lab: Lab) -> Network:
    """A network whose packets fit the machine's own link: clouds often have an MTU below Ethernet's 1500."""
    options = {"com.docker.network.driver.mtu": str(_mtu())}
    labels = {LABEL: lab.name}
    try:
        return lab.client.networks.create(lab.name, driver="bridge", options=options, labels=labels)
    except APIError as error:
        if "IPv4 address pool" not in str(error):
            raise
        raise LabError(
            f"Docker has no free address range for the network '{lab.name}': `docker network prune` frees unused ones."
        ) from None


def _mtu() -> int:
    route = subprocess.run(
        ["ip", "-o", "route", "show", "default"], check=False, capture_output=True, text=True
    ).stdout.split()
    if "dev" not in route:
        return 1500
    return int(Path(f"/sys/class/net/{route[route.index('dev') + 1]}/mtu").read_text())


def _boot(
    lab: Lab,
    network: Network,
    host: str,
    image: str,
    groups: list[str],
    *,
    ports: dict[int | str, Any],
    aliases: list[str],
    volumes: dict[str, Any],
) -> None:
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
        binds=volumes,
        port_bindings=ports,
    )
    # What `docker run --security-opt systempaths=unconfined` sends: sysctls can be set inside.
    host_config |= {"MaskedPaths": [], "ReadonlyPaths": [], "CgroupnsMode": "private"}
    created = client.api.create_container(
        image,
        command,
        name=f"{lab.name}-{host}",
        hostname=host,
        labels={LABEL: lab.name, "matchpoint.host": host, "matchpoint.groups": ",".join(groups)},
        ports=[str(port).split("/")[0] for port in ports],
        host_config=host_config,
        networking_config={"EndpointsConfig": {network.name: client.api.create_endpoint_config(aliases=aliases)}},
    )
    container = client.containers.get(created["Id"])
    try:
        container.start()
    except APIError as error:
        container.remove(force=True)
        text = str(error)
        if ports and ("address already in use" in text or "port is already allocated" in text):
            raise LabError(
                "Port 80 or 443 of 127.0.0.1 is taken, and the lab publishes the site there. "
                "`ss -ltnp 'sport = :443 or sport = :80'` shows by whom: stop it, or boot with PUBLISH=0."
            ) from None
        raise LabError(f"Docker could not start {host}: {text}") from None
    key = (lab.state / "ssh_key.pub").read_bytes()
    _put(container, "/home/ops/.ssh", "authorized_keys", key)
    code, out = _exec(container, "chown", "-R", "ops:ops", "/home/ops/.ssh")
    if code:
        raise LabError(f"{host}: could not give the `ops` user its key: {out.decode()}")


def _exec(container: Container, *command: str) -> tuple[int, bytes]:
    """Exit code and output of a command inside."""
    code, output = container.exec_run(list(command))
    assert isinstance(output, bytes)  # neither streamed nor demultiplexed
    return code or 0, output


def _put(container: Container, directory: str, name: str, content: bytes) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o600
        tar.addfile(entry, io.BytesIO(content))
    _exec(container, "install", "-d", "-m", "0700", directory)
    container.put_archive(directory, archive.getvalue())


def _wait_booted(container: Container) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    state = "unknown"
    while time.monotonic() < deadline:
        _, out = _exec(container, "systemctl", "is-system-running")
        state = out.decode().strip()
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


def _state_collect(lab: Lab, hosts: list[str]) -> None:
    """Writes what the control machine must know: host keys, an ssh_config, and the CA files of `world`."""
    known, config = [], []
    for host in hosts:
        container = lab.container(host)
        _, out = _exec(container, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        key = " ".join(out.decode().split()[:2])
        known.append(f"{host},{address(container)} {key}")
        config.append(f"Host {host}\n  HostName {address(container)}\n  HostKeyAlias {host}\n")
    (lab.state / "known_hosts").write_text("\n".join(known) + "\n")
    (lab.state / "ssh_config").write_text(
        "".join(config)
        + f"Host *\n  User ops\n  IdentityFile {shlex.quote(str(lab.state / 'ssh_key'))}\n  IdentitiesOnly yes\n"
        + f"  UserKnownHostsFile {shlex.quote(str(lab.state / 'known_hosts'))}\n"
    )
    world = lab.container("world")
    _, ca = _exec(world, "cat", "/var/lib/world/ca.pem")
    (lab.state / "acme-api-ca.pem").write_bytes(ca)
    (lab.state / "root-ca.pem").write_bytes(_issuing_root(world))
    (lab.state / "grafana_source").write_text(_grafana_source(world))
    step(f"{len(hosts)} machines up: {', '.join(hosts)}")


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


def reboot(lab: Lab, host: str) -> None:
    """Restarts a host as a power cycle would, and waits until it has booted."""
    container = lab.container(host)
    step(f"rebooting {host}")
    container.restart(timeout=30)
    _wait_booted(container)
    _state_collect(lab, [box.labels["matchpoint.host"] for box in lab.containers()])
