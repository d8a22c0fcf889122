"""The lab's driver: production in containers on this machine.

`up` boots `world` and the hosts of a topology, `down` removes what `up` made, `status` shows it, `info` prints where
the site and its consoles are, `ssh HOST` opens a shell, `reboot HOST` is a power cycle, `mailbox` shows what mail relay
and pager received, `console NAME` opens a tunnel.
"""

import argparse
import json
import os
import shutil
import sys
import time
import urllib.request
from pathlib import Path

import daemon
import hosts
import images
from output import LabError

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".lab"
CONSOLES = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}
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
    if daemon.stop_own(client):
        ENGINE_FILE.unlink(missing_ok=True)
    elif not client.containers.list(all=True, filters={"label": hosts.LABEL}):
        daemon.give_back()


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


def command_ssh(args: argparse.Namespace, *options: str) -> None:
    lab = lab_open(args.lab)
    ssh = shutil.which("ssh")
    if ssh is None:
        raise LabError("There is no ssh on this machine: apt-get install openssh-client.")
    os.execv(ssh, ["ssh", "-F", str(lab.state / "ssh_config"), *options, args.host, *args.command])


def command_reboot(args: argparse.Namespace) -> None:
    hosts.reboot(lab_open(args.lab), args.host)


def command_mailbox(args: argparse.Namespace) -> None:
    """The last mails, pages and heartbeats that `world` received."""
    lab = lab_open(args.lab)
    address = hosts.address(lab.container("world"))
    with urllib.request.urlopen(f"http://{address}:8080/events", timeout=10) as answer:
        events = json.load(answer)
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
    """Opens a tunnel to a console, which listens on its host's loopback only."""
    port = CONSOLES[args.console]
    args.host = next(
        (
            box.labels["matchpoint.host"]
            for box in lab_open(args.lab).containers()
            if "monitor" in box.labels["matchpoint.groups"]
        ),
        "",
    )
    sys.stderr.write(f"{args.console} is at http://localhost:{port}/ until you press Ctrl-C.\n")
    args.command = []
    command_ssh(args, "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{port}")


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
    for name, run in (
        ("down", command_down),
        ("status", command_status),
        ("info", command_info),
    ):
        commands.add_parser(name).set_defaults(run=run)
    ssh = commands.add_parser("ssh", help="a shell on a host")
    ssh.add_argument("host")
    ssh.add_argument("command", nargs="*")
    ssh.set_defaults(run=command_ssh)
    reboot = commands.add_parser("reboot", help="restart a host, as a power cycle would")
    reboot.add_argument("host")
    reboot.set_defaults(run=command_reboot)
    mailbox = commands.add_parser("mailbox", help="what the mail relay and the pager received")
    mailbox.add_argument("--last", type=int, default=10, metavar="N")
    mailbox.set_defaults(run=command_mailbox)
    console = commands.add_parser("console", help="a tunnel to a console")
    console.add_argument("console", choices=CONSOLES)
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
