"""What hosts say to each other is encrypted, and only the hosts that need a service get to it."""

import json

import pytest

testinfra_hosts = ["ansible://all"]
UNITS = ["haproxy.service"]

# Connects with or without the host's own certificate, and tells how that ends: `open`, `closed`, or the error of TLS
VISIT = """
import json, socket, ssl, sys
from concurrent.futures import ThreadPoolExecutor

folder = "/etc/matchpoint/mesh/"

def visit(link):
    context = ssl.create_default_context(cafile=folder + "ca.pem")
    if link["certificate"]:
        context.load_cert_chain(folder + "host.crt", folder + "host.key")
    try:
        plain = socket.create_connection((link["address"], link["port"]), timeout=3)
        with context.wrap_socket(plain, server_hostname=link["host"]) as secure:
            secure.settimeout(1)
            return "open" if secure.recv(1) else "closed"
    except TimeoutError:
        return "open"
    except ssl.SSLError as error:
        return error.reason or "closed"
    except OSError:
        return "closed"

with ThreadPoolExecutor(20) as pool:
    print(json.dumps(list(pool.map(visit, json.load(sys.stdin)))))
"""


@pytest.fixture(autouse=True)
def several_hosts(facts):
    if facts["is_single_host"]:
        pytest.skip("one host has nobody to talk to: there is no mesh")


def visit(host, *visits):
    """What becomes of each connection, {host, address, port, certificate}."""
    command = host.run(f"echo '{json.dumps(visits)}' | python3 -c '{VISIT}'")
    assert command.rc == 0, command.stderr
    return json.loads(command.stdout)


def own_services(facts):
    """What this host offers the others: at least its metrics."""
    own = {"host": facts["host_links"]["name"], "address": facts["host_private_address"]}
    links = [{**own, "port": link["port"]} for link in facts["host_links"]["accepts"]]
    assert links
    return links


def test_mesh_runs_and_comes_back_after_a_reboot(host):
    unit = host.service("haproxy.service")
    assert unit.is_enabled
    assert unit.is_running


def test_every_needed_service_of_every_other_host_is_reached(host, facts):
    links = facts["host_links"]["connects"]
    answers = visit(host, *({**link, "certificate": True} for link in links))
    assert [(link["host"], link["port"]) for link, answer in zip(links, answers, strict=True) if answer != "open"] == []


def test_nobody_is_let_in_without_a_certificate(host, facts):
    answers = visit(host, *({**link, "certificate": False} for link in own_services(facts)))
    assert set(answers) <= {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "closed"}


def test_a_host_that_does_not_need_a_service_is_sent_away(host, facts):
    """This host itself is none of the peers of its own services, and its own certificate does not help it."""
    assert set(visit(host, *({**link, "certificate": True} for link in own_services(facts)))) == {"closed"}


def test_keys_are_for_root_alone(host):
    for name in ("host.key", "host.pem"):
        file = host.file(f"/etc/matchpoint/mesh/{name}")
        assert (file.user, file.mode) == ("root", 0o600)


def test_links_are_told_to_the_monitoring(host, facts):
    metrics = host.check_output(f"curl -sf http://{facts['host_address']}:8404/metrics")
    for link in facts["host_links"]["connects"]:
        proxy = f'proxy="to-{link["host"]}-{link["port"]}"'
        assert f'haproxy_server_status{{{proxy},server="{link["host"]}",state="UP"}} 1' in metrics, proxy
