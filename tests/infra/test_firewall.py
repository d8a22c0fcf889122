"""Only what is published can be reached, and only what is published listens."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor

testinfra_hosts = ["ansible://all"]
UNITS = ["matchpoint-firewall.service"]

# Prints those of the ports on its input, [address, port], that let it in
KNOCK = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def opens(way):
    try:
        socket.create_connection(tuple(way), timeout=2).close()
    except OSError:
        return False
    return True

ways = json.load(sys.stdin)
with ThreadPoolExecutor(50) as pool:
    print(json.dumps([way for way, let_in in zip(ways, pool.map(opens, ways)) if let_in]))
"""


def listeners(host, kind):
    """(address, port) of every listening socket."""
    lines = host.check_output(f"ss -H -l -n -{kind} | awk '{{print $4}}'").splitlines()
    pairs = (line.rsplit(":", 1) for line in lines)
    return {(re.sub(r"%.*|[\[\]]", "", address), int(port)) for address, port in pairs}


def is_loopback(address):
    return address.startswith("127.") or address == "::1"


def reached(address, ports):
    """Those of the ports that let this machine in."""

    def opens(port):
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(50) as pool:
        return {port for port, let_in in zip(ports, pool.map(opens, ports), strict=True) if let_in}


def test_only_published_ports_listen_beyond_loopback(host, facts):
    public = {*facts["host_published"].get("public", [])}
    shared = {link["port"] for link in facts["host_links"]["opens"]}
    beyond = {(address, port) for address, port in listeners(host, "t") if not is_loopback(address)}
    assert {port for _, port in beyond} - {int(facts["ssh_port"])} == public | shared
    assert {address for address, port in beyond if port in shared} <= {facts["host_private_address"]}


def test_no_udp_service_listens_beyond_loopback(host):
    clients = {68, 546}  # DHCP
    assert {port for address, port in listeners(host, "u") if not is_loopback(address)} <= clients


def test_strangers_reach_the_published_ports_and_no_other(host, facts):
    public = {*facts["host_published"].get("public", []), int(facts["ansible_port"] or 22)}
    private = {port for _, port in listeners(host, "t")} | {9999}
    private -= public | {int(facts["ssh_port"])}
    assert reached(facts["ansible_host"], [*public, *private]) == public


def test_a_host_reaches_the_ports_of_the_others_that_it_needs_and_no_other(host, facts, public):
    name = facts["host_links"]["name"]
    ports = {
        (other["host_private_address"], link["port"]): name in link["peers"]
        for other in public.hosts.values()
        if other["host_links"]["name"] != name
        for link in other["host_links"]["opens"]
    }
    answer = host.run(f"echo '{json.dumps(list(ports))}' | python3 -c '{KNOCK}'")
    assert answer.rc == 0, answer.stderr
    opened = {(address, port) for address, port in json.loads(answer.stdout)}
    assert opened == {way for way, needed in ports.items() if needed}


def test_what_is_not_allowed_is_dropped(host):
    chain = host.check_output("nft list chain inet matchpoint input")
    assert "hook input" in chain
    assert "policy drop" in chain


def test_rules_come_back_with_a_reboot(host):
    unit = host.service("matchpoint-firewall.service")
    assert unit.is_enabled
    assert unit.is_running
    host.check_output("nft --check --file /etc/nftables-matchpoint.conf")
