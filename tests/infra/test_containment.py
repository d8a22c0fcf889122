"""Whoever breaks into a process of the game gets no further: what can be reached from inside its units, and as whom."""

import json
import shlex
import sys

import pytest

testinfra_hosts = ["ansible://app"]
UNITS = ["matchpoint-firewall.service", "matchpoint-mail.service"]

# Prints which of the places on its input, {name: [address, port]}, let it in; the port 53 is asked over UDP
KNOCK = """
import json, socket, sys

def opens(address, port):
    try:
        if port != 53:
            socket.create_connection((address, port), timeout=3).close()
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(3)
            asking.connect((address, 53))
            asking.send(bytes.fromhex("000101000001000000000000" "076578616d706c6503636f6d0000010001"))
            return bool(asking.recv(512))
    except OSError:
        return False

print(json.dumps({name: opens(*place) for name, place in json.load(sys.stdin).items()}))
"""
ALLOWED = {
    "matchpoint-web": {"postgres", "valkey", "mail door", "prometheus", "alertmanager"},  # pages tell of alerts
    "matchpoint-live": {"postgres", "valkey"},
}


@pytest.fixture(scope="module")
def places(host, facts, public):
    """Name -> [address, port] of what a process of the game might want to reach."""
    databases, caches, monitors = (
        next(each for each in public.hosts.values() if tier in each["group_names"])["host_address"]
        for tier in ("db", "cache", "monitor")
    )
    own = facts["host_address"]
    relay = host.check_output(
        "systemctl show --property=ExecStart --value matchpoint-mail.service | grep -o '[^ ]*:[0-9]* ;'"
    )
    name, _, port = relay.removesuffix(" ;").rpartition(":")
    address = host.check_output("getent ahosts %s | head -n 1", name.strip("[]")).split()[0]
    servers = host.check_output("grep -m1 ^nameserver /etc/resolv.conf").split()
    return {
        "postgres": [databases, 5432],
        "valkey": [caches, 6379],
        "mail door": ["127.0.0.1", 8025],
        "prometheus": [monitors, 9090],
        "alertmanager": [monitors, 9093],
        "node exporter": [own, 9100],
        "metrics of workers": [own, facts["app_web_ports"][0] + 10_000],
        "ssh": [own, int(facts["ssh_port"])],
        "relay": [address, int(port)],
        "site": [public.edge["host_private_address"], 443],
        "name server": [servers[1], 53],
    }


def reached(host, places, *become):
    done = host.run(
        f"printf %s {shlex.quote(json.dumps(places))} | {shlex.join(become)} python3 -c {shlex.quote(KNOCK)}"
    )
    assert done.rc == 0, done.stderr
    return {name for name, is_open in json.loads(done.stdout).items() if is_open}


def test_everything_is_there_to_be_reached(host, places):
    assert reached(host, places) == places.keys(), "root reaches all, so that a refusal below says something"


@pytest.mark.parametrize("kind", ALLOWED)
def test_a_process_of_the_game_reaches_what_it_needs_and_nothing_else(host, facts, places, kind):
    ports = facts["app_web_ports"] if kind == "matchpoint-web" else facts["app_live_ports"]
    shown = host.check_output("systemctl show %s@%s --property=MainPID,User,Group", kind, str(ports[0])).splitlines()
    unit = dict(line.split("=") for line in shown)
    ids = [
        host.check_output(f"id -u {unit['User']}"),
        host.check_output("getent group %s | cut -d: -f3", unit["Group"]),
    ]
    inside = ["nsenter", "--target", unit["MainPID"], "--all", f"--setuid={ids[0]}", f"--setgid={ids[1]}"]
    found = reached(host, places, *inside)
    # What an auditor reads, with -s
    sys.stdout.write(f"\n{kind}: " + ", ".join(f"{name} {'yes' if name in found else 'no'}" for name in places) + "\n")
    assert found == ALLOWED[kind]


@pytest.mark.parametrize("user", ["nobody", "www-data", "postgres", "mtail", "_apt"])
def test_what_asks_for_no_password_answers_nobody_who_has_no_business_there(host, facts, places, user):
    if not host.user(user).exists:
        pytest.skip(f"there is no user {user} here")
    expected = {"prometheus", "alertmanager"} if user == "www-data" and "edge" in facts["group_names"] else set()
    guarded = ("mail door", "prometheus", "alertmanager", "node exporter", "metrics of workers")
    asked = {name: places[name] for name in guarded}
    assert (
        reached(
            host,
            asked,
            "setpriv",
            f"--reuid={user}",
            f"--regid={user if user != 'nobody' and user != '_apt' else 'nogroup'}",
            "--clear-groups",
        )
        == expected
    )
