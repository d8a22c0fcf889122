"""The Docker engine: whichever answers, else one of our own that keeps its data in the checkout."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import docker
from docker.errors import DockerException

from output import LabError, step

AS_ROOT = [] if os.geteuid() == 0 else ["sudo"]  # what goes before a command that needs root
RUN_DIR = Path(os.environ.get("MATCHPOINT_ENGINE_DIR", "/run/matchpoint-lab"))  # short: socket paths have a limit
OWN_SOCKET = f"unix://{RUN_DIR}/docker.sock"
SYSTEM_SOCKET = Path("/run/docker.sock")
PID_FILE = RUN_DIR / "docker.pid"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
BEFORE = (
    RUN_DIR / "before"
)  # FORWARDING and the policy of the FORWARD chain, which the engine changes and does not change back

INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")  # of the whole machine; every systemd wants about ten

NO_DOCKER = (
    "The lab needs a Docker engine, and {why}. Install Docker and run `make up` again, "
    "or run `make play`: the game alone, without Docker and without root."
)


def _answers(base_url: str | None) -> docker.DockerClient | None:
    try:
        client = docker.DockerClient(base_url=base_url, timeout=120) if base_url else docker.from_env(timeout=120)
        client.ping()
    except DockerException:
        return None
    return client


def connect() -> docker.DockerClient | None:
    """The engine that answers: the user's own (``DOCKER_HOST`` or the default socket), else the lab's."""
    client = _answers(None)
    if client is None and (client := _answers(OWN_SOCKET)):
        os.environ["DOCKER_HOST"] = OWN_SOCKET
    return client


def ensure(data_dir: Path) -> docker.DockerClient:
    """An engine that answers; starts one when there is none.

    Raises LabError when no engine can run here.
    """
    if client := connect():
        return client
    dockerd = shutil.which("dockerd")
    if dockerd is None:
        raise LabError(NO_DOCKER.format(why="there is none on this machine"))
    if AS_ROOT and SYSTEM_SOCKET.exists():
        return _borrow()
    step("starting a Docker engine of the lab's own")
    data_dir.mkdir(parents=True, exist_ok=True)
    subprocess.run([*AS_ROOT, "mkdir", "-p", str(RUN_DIR)], check=True)
    before = f"{FORWARDING.read_text().strip()} {_forward_policy()}\n"
    subprocess.run([*AS_ROOT, "tee", str(BEFORE)], input=before, text=True, stdout=subprocess.DEVNULL, check=True)
    log = data_dir.parent / "dockerd.log"
    with log.open("ab") as out:
        subprocess.Popen(
            [
                *AS_ROOT, dockerd, "--host", OWN_SOCKET, "--group", str(os.getgid()), "--data-root", str(data_dir),
                "--exec-root", str(RUN_DIR / "exec"), "--pidfile", str(PID_FILE),
                "--bridge", "none", "--containerd-namespace", "matchpoint", "--log-level", "warn",
            ],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if client := _answers(OWN_SOCKET):
            os.environ["DOCKER_HOST"] = OWN_SOCKET
            return client
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
    raise LabError(
        NO_DOCKER.format(why=f"the one that was started did not answer within 60 s (end of {log}):\n{tail}\n")
    )


def _borrow() -> docker.DockerClient:
    """The machine's engine, whose socket belongs to root and to a group that this user is not in, lent with sudo."""
    step(f"asking sudo for the use of {SYSTEM_SOCKET} until `make down`")
    subprocess.run(["sudo", "chown", str(os.geteuid()), str(SYSTEM_SOCKET)], check=True)
    if client := _answers(f"unix://{SYSTEM_SOCKET}"):
        return client
    give_back()
    raise LabError(
        NO_DOCKER.format(why=f"the one behind {SYSTEM_SOCKET} does not answer (`systemctl status docker` says why)")
    )


def give_back() -> None:
    """Returns the socket of the machine's engine to root, if it was lent to this user."""
    if os.geteuid() and SYSTEM_SOCKET.exists() and SYSTEM_SOCKET.stat().st_uid == os.geteuid():
        subprocess.run(["sudo", "chown", "root", str(SYSTEM_SOCKET)], check=True)


def inotify_allow(machines: int, remember: Path) -> None:
    """Lets so many machines have their inotify instances; keeps in a file what the limit was, for `inotify_restore`."""
    wanted, limit = 64 + 16 * machines, INOTIFY.read_text().strip()
    if int(limit) >= wanted:
        return
    step(f"raising {INOTIFY} from {limit} until `make down`: {machines} machines would not fit")
    if _write_as_root(INOTIFY, str(max(1024, 2 * wanted))) and not remember.exists():
        remember.write_text(limit)


def inotify_restore(remember: Path) -> None:
    if remember.exists() and _write_as_root(INOTIFY, remember.read_text()):
        remember.unlink()


def _write_as_root(path: Path, text: str) -> bool:
    command = [*AS_ROOT, "tee", str(path)]
    return subprocess.run(command, input=text, text=True, stdout=subprocess.DEVNULL, check=False).returncode == 0


def stop_own(client: docker.DockerClient) -> bool:
    """Stops the engine if it is the lab's own and nobody uses it any more, and removes what it left in the kernel.

    True when it was stopped.
    """
    if os.environ.get("DOCKER_HOST") != OWN_SOCKET or client.containers.list(all=True):
        return False
    step("stopping the lab's Docker engine")
    client.close()
    pid = int(PID_FILE.read_text())
    subprocess.run([*AS_ROOT, "kill", f"-{signal.SIGTERM.value}", str(pid)], check=True)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    _restore_network()
    for mount in Path("/proc/mounts").read_text().splitlines():
        if (point := mount.split()[1]).startswith(str(RUN_DIR)):
            subprocess.run([*AS_ROOT, "umount", point], check=True)
    subprocess.run([*AS_ROOT, "rm", "-rf", str(RUN_DIR)], check=True)
    return True


def _iptables(*arguments: str) -> list[str]:
    command = [*AS_ROOT, "iptables", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()


def _forward_policy() -> str:
    return (_iptables("-S", "FORWARD") or ["-P FORWARD ACCEPT"])[0].split()[-1]


def _restore_network() -> None:
    """Removes the engine's iptables chains and restores packet forwarding as it was found."""
    for table in ("filter", "nat"):
        rules = [rule.split() for rule in _iptables("-t", table, "-S")]
        chains = [rule[1] for rule in rules if rule[0] == "-N" and rule[1].startswith("DOCKER")]
        for rule in rules:
            if rule[0] == "-A" and "-j" in rule and rule[rule.index("-j") + 1] in chains:
                _iptables("-t", table, "-D", *rule[1:])
        for action in ("-F", "-X"):
            for chain in chains:
                _iptables("-t", table, action, chain)
    forwarding, policy = BEFORE.read_text().split()
    _iptables("-P", "FORWARD", policy)
    subprocess.run(
        [*AS_ROOT, "tee", str(FORWARDING)], input=forwarding, text=True, stdout=subprocess.DEVNULL, check=True
    )
