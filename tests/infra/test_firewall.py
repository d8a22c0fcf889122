"""Only what is published can be reached, and only what is published listens."""

import re
import socket

testinfra_hosts = ["ansible://all"]
UNITS = ["matchpoint-firewall.service"]


def listeners(host, kind):
    """(address, port) of every listening socket."""
    lines = host.check_output(f"ss -H -l -n -{kind} | awk '{{print $4}}'").splitlines()
    pairs = (line.rsplit(":", 1) for line in lines)
    return {(re.sub(r"%.*|[\[\]]", "", address), int(port)) for address, port in pairs}


def is_loopback(address):
    return address.startswith("127.") or address == "::1"


def reachable(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def test_only_published_ports_listen_beyond_loopback(host, facts):
    published = facts["host_published"]
    allowed = {*published.get("public", []), int(facts["ssh_port"])}
    if not facts["is_single_host"]:
        scraped = [port for entry in published.get("scrape", []) for port in entry["ports"]]
        allowed |= {*published.get("internal", []), *scraped}
    open_ports = {port for address, port in listeners(host, "t") if not is_loopback(address)}
    assert open_ports <= allowed
    assert set(published.get("public", [])) <= open_ports


def test_no_udp_service_listens_beyond_loopback(host):
    clients = {68, 546}  # DHCP
    assert {port for address, port in listeners(host, "u") if not is_loopback(address)} <= clients


def test_strangers_reach_the_published_ports_and_no_other(host, facts):
    published = facts["host_published"]
    public = {*published.get("public", []), int(facts["ansible_port"] or 22)}
    private = {port for _, port in listeners(host, "t")} | {*published.get("internal", []), 9999}
    private -= public | {int(facts["ssh_port"])}
    assert {port for port in public if not reachable(facts["ansible_host"], port)} == set()
    assert {port for port in private if reachable(facts["ansible_host"], port)} == set()


def test_what_is_not_allowed_is_dropped(host):
    chain = host.check_output("nft list chain inet matchpoint input")
    assert "hook input" in chain
    assert "policy drop" in chain


def test_rules_come_back_with_a_reboot(host):
    unit = host.service("matchpoint-firewall.service")
    assert unit.is_enabled
    assert unit.is_running
    host.run_test("nft --check --file /etc/nftables-matchpoint.conf")
