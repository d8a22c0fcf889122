"""The lab's driver boots any topology, lets its hosts suffer, and tells what is wrong and how to mend it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, TEST_LAB, Lab, booted, poll
from tests.processes import run, started

TOPOLOGIES = ROOT / "docker" / "lab" / "topologies"
DRIVER = [sys.executable, "docker/lab/lab.py", "--lab"]
BOOTED_AT = "systemctl show --property UserspaceTimestamp"
SITE = "getent ahostsv4 matchpoint.localhost | awk '{print $1}' | sort -u"


def lab_up(topology: str = "single", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*DRIVER, f"{TEST_LAB}-none", "up", "--topology", topology]
    variables = {**os.environ, **environment}
    return run(command, cwd=ROOT, env=variables)


@pytest.fixture
def topology() -> Iterator[Path]:
    path = TOPOLOGIES / "broken-by-a-test.yml"
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def pair() -> Iterator[Lab]:
    """Two bare hosts, pg1 with every tier and pg2."""
    with booted(Lab(f"{TEST_LAB}-pair", "pair")) as two:
        yield two


def test_unknown_topology_is_refused_with_the_known_ones() -> None:
    refused = lab_up("triangle")
    assert refused.returncode == 1
    assert "no topology 'triangle'" in refused.stderr
    assert {"cluster", "pair", "single"} <= set(re.findall(r"\w+", refused.stderr.partition("There are:")[2]))


REST = "b: [db, cache, app, edge, monitor]"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "`hosts` must map host names to lists of groups"),
        ("hosts: [mp1]", "`hosts` must map host names to lists of groups"),
        ("hosts: {mp1: [app", "is not readable YAML"),
        ("hosts: {mp1: app}", "the groups of mp1 must be a list, e.g. `mp1: [app]`"),
        ("hosts: {mp1: [app, edges]}", "host mp1 is in edges; the groups are db, cache, app, edge, monitor, acme"),
        ("hosts: {mp1: []}", "host mp1 is in nothing"),
        ("hosts: {mp1: [app, app], %s}", "host mp1 is in app twice"),
        ("hosts:\n  mp1: [app]\n  mp1: [edge]\n", "line 3 names mp1 a second time"),
        ("hosts: {Mp_1: [app], %s}", "'Mp_1' cannot be the name of a host: use lower-case letters"),
        ("hosts: {world: [app], %s}", "the lab itself has a container of that name"),
        ("hosts: {mp1: [db, cache, app, edge]}", "no host is in monitor; add it to one, e.g. `mp1: [monitor]`"),
        ("hosts: {mp1: [cache], %s}", "cache has 2 hosts (mp1, b); it takes 1, so take b out of it"),
        ("hosts: {mp1: [db], mp2: [db], %s}", "db has 3 hosts (mp1, mp2, b); it takes 2"),
        ("hosts: {mp1: [edge, acme], mp2: [edge, acme], %s}", "acme has 2 hosts (mp1, mp2); it takes 1"),
        ("hosts: {mp1: [app, acme], %s}", "mp1 is in acme and not in edge"),
    ],
)
def test_bad_topology_is_refused_with_its_fault(topology: Path, text: str, complaint: str) -> None:
    topology.write_text(text.replace("%s", REST))
    refused = lab_up(topology.stem)
    assert refused.returncode == 1
    assert complaint in refused.stderr
    assert str(topology) in refused.stderr


def test_lab_names_where_to_go_when_there_is_no_docker(tmp_path: Path) -> None:
    refused = lab_up(PATH=str(tmp_path), DOCKER_HOST="unix:///nonexistent.sock", MATCHPOINT_ENGINE_DIR=str(tmp_path))
    assert refused.returncode == 1
    assert "make play" in refused.stderr


def test_host_that_reboots_itself_comes_back_at_its_address(pair: Lab) -> None:
    before = pair.run("pg2", BOOTED_AT)
    run(pair.ssh("pg2", "systemctl reboot"))

    def booted_at() -> str:
        return run(pair.ssh("pg2", BOOTED_AT)).stdout.strip()

    poll(lambda: booted_at() not in ("", before), within_s=60, what="pg2 to boot again")


@pytest.mark.parametrize("power_cut", [False, True])
def test_host_that_is_down_stays_in_the_inventory_and_comes_back_at_its_address(pair: Lab, power_cut: bool) -> None:
    before = {box["host"]: box for box in pair.machines()}
    with pair.down("pg2", power_cut=power_cut):
        during = {box["host"]: box for box in pair.machines()}
        inventory = inventory_of(pair)
    after = {box["host"]: box for box in pair.machines()}
    assert during["pg2"] == before["pg2"] | {"state": "exited"}
    assert during["pg1"] == before["pg1"]
    assert before["pg2"]["address"] in json.dumps(inventory["_meta"]["hostvars"]["pg2"])
    assert after == before
    assert pair.run("pg2", "hostname") == "pg2"


def test_a_second_edge_can_join_and_go(pair: Lab) -> None:
    """Every edge answers to the site's name; the hosts and the inventory know it at once."""
    pair.make("lab-add", "HOST=edge2", "GROUPS=edge")
    try:
        assert pair.hosts("edge") == ["edge2", "pg1"]
        assert inventory_of(pair)["edge"]["hosts"] == ["edge2", "pg1"]
        assert set(pair.run("pg2", SITE).split()) == {pair.address("edge2"), pair.address("pg1")}
        pair.make("lab")  # a host that was added is no reason to refuse the lab's own topology
    finally:
        pair.make("lab-remove", "HOST=edge2")
    assert pair.hosts("edge") == ["pg1"]
    assert pair.run("pg2", SITE) == pair.address("pg1")


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (("lab-add", "HOST=pg2", "GROUPS=app"), "has a host pg2 already (db)"),
        (("lab-add", "HOST=pg3", "GROUPS=db"), "db has 3 hosts (pg1, pg2, pg3); it takes 2, so take pg3 out of it"),
        (("lab-add", "HOST=pg3", "GROUPS=web"), "host pg3 is in web; the groups are"),
        (("lab-add", "HOST=pg3"), "Name its groups"),
        (("lab-stop", "HOST=pg3"), f"There is no host 'pg3' in the lab '{TEST_LAB}-pair'; there are pg1, pg2, world"),
        (("lab-stop",), "Which host? Name it: HOST=pg1 or HOST=pg2"),
        (("lab-remove", "HOST=world"), "cannot be removed alone"),
        (("console", "NAME=prometheus"), "prometheus does not listen on pg1"),
    ],
)
def test_wrong_commands_are_refused_and_change_nothing(pair: Lab, command: tuple[str, ...], complaint: str) -> None:
    before = pair.machines()
    with pytest.raises(AssertionError) as refused:
        pair.make(*command)
    assert complaint in str(refused.value)
    assert pair.machines() == before


def test_another_topology_does_not_mix_with_the_running_one(pair: Lab) -> None:
    before = pair.machines()
    with pytest.raises(AssertionError) as refused:
        Lab(pair.name, "single").make("lab")
    assert "booted with the topology pair and is not what single says" in str(refused.value)
    assert "pg2 (db) runs and is not wanted" in str(refused.value)
    assert "mp1 (db, cache, app, edge, monitor) is wanted and not there" in str(refused.value)
    assert pair.machines() == before


def test_console_is_reached_where_it_listens(pair: Lab) -> None:
    """On a loopback address of the host's own, beside a proxy that stands in for another host's console."""
    serve = "systemd-run --quiet --unit {} --working-directory=/etc python3 -m http.server 9090 --bind {}"
    pair.run("pg1", serve.format("console", "127.9.8.7"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*DRIVER, pair.name, "console", "prometheus", "--port", str(port)]

    def fetch() -> str:
        try:
            return requests.get(f"http://127.0.0.1:{port}/hostname", timeout=5).text.strip()
        except requests.ConnectionError:
            return ""

    try:
        with started(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            assert poll(fetch, within_s=30, what="the tunnel") == "pg1"
    finally:
        pair.run("pg1", "systemctl stop console")


def test_mails_and_pages_of_every_host_are_seen(pair: Lab) -> None:
    since = time.time()
    for host in pair.hosts():
        body = json.dumps({"status": "firing", "alerts": [{"labels": {"alertname": "Test", "host": host}}]})
        send = (
            "import sys, urllib.request as u; "
            "u.urlopen(u.Request('http://world:8080/pager', sys.stdin.buffer.read()), timeout=10)"
        )
        pair.run(host, f'python3 -c "{send}"', stdin=body)
    told = [event["body"]["alerts"][0]["labels"]["host"] for event in pair.pages("Test", "firing", since)]
    assert told == ["pg1", "pg2"]
    assert pair.make("mailbox").count('"alertname": "Test"') == 2


def inventory_of(lab: Lab) -> dict:
    """What Ansible knows of the lab."""
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    environment = os.environ | {"MATCHPOINT_LAB": lab.name, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg")}
    engine = ROOT / ".lab/engine.env"
    environment |= dict(line.split("=", 1) for line in engine.read_text().split())
    done = run([program, "-i", "inventories/lab", "--list"], cwd=ROOT, env=environment, check=True)
    return json.loads(done.stdout)
