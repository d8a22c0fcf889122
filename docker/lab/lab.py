"""The lab's driver: production in containers on this machine.

`up` boots `world` and the hosts of a topology, `down` removes what `up` made, `status` shows it, `info` prints where the
site and its consoles are, `ssh HOST` opens a shell, `engine` makes sure that a Docker engine answers.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import daemon
import hosts
import images
from output import LabError

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab"
ENGINE_FILE = STATE / "engine.env"  # read by the Makefile, so that Ansible's inventory asks the same engine


def lab_open(name: str, *, start_engine: bool = False) -> hosts.Lab:
    client = daemon.ensure(STATE / "engine" / "data") if start_engine else daemon.connect()
    if client is None:
        raise LabError("No Docker engine answers, so no lab is running. `make up` starts both.")
    STATE.mkdir(exist_ok=True)
    ENGINE_FILE.write_text(f"DOCKER_HOST={os.environ['DOCKER_HOST']}\n" if "DOCKER_HOST" in os.environ else "")
    return hosts.Lab(client, name, STATE / name)


def command_up(args: argparse.Namespace) -> None:
    topology = hosts.topology_read(args.topology)
    lab = lab_open(args.lab, start_engine=True)
    hosts.up(lab, images.ensure(lab.client), topology, publish=args.publish, package_cache=ROOT / ".cache" / "apt")


def command_down(args: argparse.Namespace) -> None:
    client = daemon.connect()
    if client is None:
        sys.stderr.write("No Docker engine answers: there is nothing to remove.\n")
        return
    hosts.down(hosts.Lab(client, args.lab, STATE / args.lab))
    daemon.stop_own(client)


def command_status(args: argparse.Namespace) -> None:
    for container in lab_open(args.lab).containers():
        groups = container.labels.get("matchpoint.groups", "")
        print(f"{container.labels['matchpoint.host']:8} {container.status:8} {hosts.address(container):15} {groups}")


def command_info(args: argparse.Namespace) -> None:
    """Where everything is, once the lab is deployed."""
    lab = lab_open(args.lab)
    edge = next((box for box in lab.containers() if "edge" in box.labels["matchpoint.groups"]), None)
    if edge is None:
        raise LabError(f"The lab '{args.lab}' has no edge host. `make up` boots one.")
    published = edge.attrs["HostConfig"]["PortBindings"]
    print(f"""
  Matchpoint is up.

  Site         https://{hosts.SITE}/  {"" if published else f"(not published; the host is {hosts.address(edge)})"}
  Its CA       {lab.state / "root-ca.pem"}  (import it, or accept the warning)
  Staff area   https://{hosts.SITE}/admin/  (`make staff` makes the first account)
  Prometheus   make console NAME=prometheus  (the consoles listen on the host's loopback; this opens a tunnel)
  Alertmanager make console NAME=alertmanager
  Mail, pages  make mailbox  (what the lab's mail relay and pager received)
  Secrets      inventories/lab/secrets/  (generated, readable by you alone)
  Shell        make ssh HOST={edge.labels["matchpoint.host"]}
""")


def command_ssh(args: argparse.Namespace) -> None:
    lab = lab_open(args.lab)
    ssh = shutil.which("ssh")
    if ssh is None:
        raise LabError("There is no ssh on this machine: apt-get install openssh-client.")
    os.execv(ssh, ["ssh", "-F", str(lab.state / "ssh_config"), args.host, *args.command])


def command_engine(args: argparse.Namespace) -> None:
    lab_open(args.lab, start_engine=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default=os.environ.get("MATCHPOINT_LAB", "matchpoint"), help="name of the lab (default: matchpoint)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="boot the lab")
    up.add_argument("--topology", default="single", help="a file of docker/lab/topologies (default: single)")
    up.add_argument("--publish", action="store_true", help="publish the site on 127.0.0.1, ports 80 and 443")
    up.set_defaults(run=command_up)
    for name, run in (("down", command_down), ("status", command_status), ("info", command_info), ("engine", command_engine)):
        commands.add_parser(name).set_defaults(run=run)
    ssh = commands.add_parser("ssh", help="a shell on a host")
    ssh.add_argument("host")
    ssh.add_argument("command", nargs="*")
    ssh.set_defaults(run=command_ssh)
    args = parser.parse_args()
    try:
        args.run(args)
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
