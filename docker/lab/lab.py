"""The lab's driver: production in containers on this machine.

`up` boots `world` and the hosts of a topology, `down` removes what `up` made, `status` shows it, `info` prints where
the site and its consoles are, `ssh HOST` opens a shell, `mailbox` shows what mail relay and pager received, `console
NAME` opens a tunnel. For drills: `stop`, `start`, `kill` (a power cut) and `reboot` a host; `add` one to the running
lab and `remove` it.
"""

import argparse
import fcntl
import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

import daemon
import hosts
import images
import network
import topology
from output import LabError

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab"
CONSOLES = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
ENGINE_FILE = STATE / "engine.env"  # read by the Makefile, so that Ansible's inventory asks the same engine
INOTIFY_FILE = STATE / "inotify"


@contextmanager
def lock(name: str, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Labs are booted and removed at the same time: `engine` is shared by those who need it and taken by who stops it,
    `prepare` by who starts it or builds images. Tells whether the lock was got; without `wait` it may not be.
    """
    STATE.mkdir(exist_ok=True)
    with (STATE / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def lab_open(name: str, *, start_engine: bool = False) -> hosts.Lab:
    client = daemon.ensure(STATE / "engine" / "data") if start_engine else daemon.connect()
    if client is None:
        raise LabError("No Docker engine answers, so no lab is running. `make up` starts both.")
    STATE.mkdir(exist_ok=True)
    ENGINE_FILE.write_text(f"DOCKER_HOST={os.environ['DOCKER_HOST']}\n" if "DOCKER_HOST" in os.environ else "")
    return hosts.Lab(client, name, STATE / name)


def lab_prepare(name: str, machines: int) -> tuple[hosts.Lab, tuple[str, str]]:
    """The lab and its images, on a machine with room for so many more machines; starts an engine if there is none."""
    with lock("prepare"):
        lab = lab_open(name, start_engine=True)
        running = lab.client.containers.list(filters={"label": hosts.LABEL})
        daemon.inotify_allow(len(running) + machines, INOTIFY_FILE)
        return lab, images.ensure(lab.client)


def command_up(args: argparse.Namespace) -> None:
    wanted = topology.read(args.topology)
    with lock("engine", shared=True):
        lab, found = lab_prepare(args.lab, len(wanted) + 1)
        cache = ROOT / ".cache" / "apt" / args.lab  # its program does not share a folder with that of another lab
        hosts.up(lab, found, args.topology, wanted, publish=args.publish, package_cache=cache)


def command_add(args: argparse.Namespace) -> None:
    with lock("engine", shared=True):
        lab, found = lab_prepare(args.lab, 1)
        hosts.add(lab, found, args.host, args.groups.replace(",", " ").split())


def command_down(args: argparse.Namespace) -> None:
    client = daemon.connect()
    if client is None:
        sys.stderr.write("No Docker engine answers: there is nothing to remove.\n")
        return
    hosts.down(hosts.Lab(client, args.lab, STATE / args.lab))
    engine_leave(client)


def engine_leave(client: docker.DockerClient) -> None:
    """Leaves the machine as it was found, unless somebody still uses the engine."""
    with lock("engine", wait=False) as alone:  # somebody may be booting another lab
        if not alone or client.containers.list(all=True, filters={"label": hosts.LABEL}):
            return
        daemon.inotify_restore(INOTIFY_FILE)
        if daemon.stop_own(client):
            ENGINE_FILE.unlink(missing_ok=True)
        else:
            daemon.give_back()


def command_status(args: argparse.Namespace) -> None:
    containers = lab_open(args.lab).containers()
    if args.json:
        print(json.dumps([hosts.described(box) for box in containers]))
        return
    names = {box.labels.get("matchpoint.topology") for box in containers} - {None, ""}
    print(f"lab {args.lab}, topology {', '.join(sorted(map(str, names))) or 'none: it is not up'}")
    for box in containers:
        groups = ", ".join(hosts.host_groups(box)) + (" (added)" if hosts.was_added(box) else "")
        print(f"  {hosts.host_name(box):8} {box.status:8} {network.address(box):15} {groups}")


def command_info(args: argparse.Namespace) -> None:
    """Where everything is, once the lab is deployed."""
    lab = lab_open(args.lab)
    edges = lab.hosts("edge")
    if not edges:
        raise LabError(f"The lab '{args.lab}' has no edge host. `make up` boots one.")
    published = any(edge.attrs["HostConfig"]["PortBindings"] for edge in edges)
    where = ", ".join(f"{hosts.host_name(edge)} is {network.address(edge)}" for edge in edges)
    print(f"""
  Matchpoint is up on {len(lab.hosts())} host{"s" if len(lab.hosts()) > 1 else ""}.

  Site         https://{hosts.SITE}/  {"" if published else f"(not published; {where})"}
  Its CA       {lab.state / "root-ca.pem"}  (import it, or accept the warning)
  Staff area   https://{hosts.SITE}/admin/  (`make staff` makes the first account)
  Prometheus   make console NAME=prometheus  (the consoles listen on a loopback address of their host: a tunnel)
  Alertmanager make console NAME=alertmanager
  Mail, pages  make mailbox  (what the lab's mail relay and pager received)
  Secrets      {lab.state / "secrets.yml"}  (generated, readable by you alone)
  Hosts        make lab-status
  Shell        make ssh HOST={hosts.host_name(edges[0])}
""")


def host_or_only(lab: hosts.Lab, name: str) -> str:
    """The host that is named, or the lab's only one."""
    if name:
        return name
    known = list(lab.topology())
    if not known:
        raise LabError(f"The lab '{lab.name}' is not up: `make lab` boots it.")
    if len(known) > 1:
        raise LabError(f"Which host? Name it: HOST={' or HOST='.join(known)}.")
    return known[0]


def ssh_exec(lab: hosts.Lab, *arguments: str) -> None:
    """Becomes ssh."""
    ssh = shutil.which("ssh")
    if ssh is None:
        raise LabError("There is no ssh on this machine: apt-get install openssh-client.")
    os.execv(ssh, ["ssh", "-F", str(lab.state / "ssh_config"), *arguments])


def command_ssh(args: argparse.Namespace) -> None:
    lab = lab_open(args.lab)
    host = host_or_only(lab, args.host)
    lab.container(host)
    ssh_exec(lab, host, *args.command)


def command_power(args: argparse.Namespace) -> None:
    """stop, start, kill, reboot and remove: what a host can suffer."""
    lab = lab_open(args.lab)
    if args.action == "remove" and not args.host:
        raise LabError("Which host shall go? Name it: HOST=...")
    getattr(hosts, args.action)(lab, host_or_only(lab, args.host))


def command_mailbox(args: argparse.Namespace) -> None:
    """The last mails, pages and heartbeats that `world` received."""
    lab = lab_open(args.lab)
    address = network.address(lab.container(topology.WORLD))
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy knows the lab
    try:
        with direct.open(f"http://{address}:8080/events", timeout=10) as answer:
            events = json.load(answer)
    except OSError as error:
        raise LabError(f"`world` does not answer at {address}: {error}. `make lab-status` shows what runs.") from None
    for event in [event for event in events if event["kind"] != "deadman"][-args.last :]:
        at = time.strftime("%H:%M:%S", time.localtime(event["at"]))
        if event["kind"] == "mail":
            print(f"{at}  mail to {', '.join(event['recipients'])}: {event['subject']}\n\n{event['body']}\n")
        else:
            print(f"{at}  {event['kind']}: {json.dumps(event['body'], indent=2, ensure_ascii=False)}\n")
    heartbeats = [event["at"] for event in events if event["kind"] == "deadman"]
    if heartbeats:
        print(
            f"{len(heartbeats)} heartbeats at the dead man's switch, the last {time.time() - heartbeats[-1]:.0f} s ago"
        )


def command_console(args: argparse.Namespace) -> None:
    """Opens a tunnel to a console, which listens on a loopback address of its host only."""
    lab = lab_open(args.lab)
    port = CONSOLES[args.console]
    monitors = [box for box in lab.hosts("monitor") if box.status == "running"]
    if args.host:
        monitors = [lab.container(args.host)]
    for box in monitors:
        if address := hosts.listener(box, port):
            host, local = hosts.host_name(box), args.port or port
            sys.stderr.write(f"{args.console} of {host} is at http://localhost:{local}/ until you press Ctrl-C.\n")
            forward = ["-L", f"127.0.0.1:{local}:{address}:{port}"]
            ssh_exec(lab, "-N", "-o", "ExitOnForwardFailure=yes", *forward, host)
    looked = ", ".join(map(hosts.host_name, monitors)) or "no running host of the group monitor"
    raise LabError(
        f"{args.console} does not listen on {looked}. `make lab-status` shows the hosts, `make deploy` mends them."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--lab", default=os.environ.get("MATCHPOINT_LAB", "matchpoint"), help="name of the lab (default: matchpoint)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="boot the lab")
    up.add_argument("--topology", default="single", help="a file of docker/lab/topologies (default: single)")
    up.add_argument("--publish", action="store_true", help="publish the site on 127.0.0.1, ports 80 and 443")
    up.set_defaults(run=command_up)
    commands.add_parser("down", help="remove the lab").set_defaults(run=command_down)
    commands.add_parser("info", help="where the site and its consoles are").set_defaults(run=command_info)
    status = commands.add_parser("status", help="the hosts, their states and addresses")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=command_status)
    ssh = commands.add_parser("ssh", help="a shell on a host")
    ssh.add_argument("host", nargs="?", default="")
    ssh.add_argument("command", nargs="*")
    ssh.set_defaults(run=command_ssh)
    for name, text in (
        ("stop", "shut a host down in order"),
        ("start", "boot a stopped host"),
        ("kill", "cut a host's power"),
        ("reboot", "restart a host in order"),
        ("remove", "take a host away for good"),
    ):
        power = commands.add_parser(name, help=text)
        power.add_argument("host", nargs="?", default="")
        power.set_defaults(run=command_power, action=name)
    add = commands.add_parser("add", help="boot one more host into the running lab")
    add.add_argument("host")
    add.add_argument("groups", help="its groups, e.g. app,monitor")
    add.set_defaults(run=command_add)
    mailbox = commands.add_parser("mailbox", help="what the mail relay and the pager received")
    mailbox.add_argument("--last", type=int, default=10, metavar="N")
    mailbox.set_defaults(run=command_mailbox)
    console = commands.add_parser("console", help="a tunnel to a console")
    console.add_argument("console", choices=CONSOLES)
    console.add_argument("--port", type=int, help="local port (default: the console's own)")
    console.add_argument("--host", default="", help="which host of the group monitor (default: the first that runs)")
    console.set_defaults(run=command_console)
    args = parser.parse_args()
    try:
        args.run(args)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
