"""The example inventories pass the checks of a deploy as they are, and do what their READMEs say."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.roles.test_wiring import ROOT, ansible, as_roles_see_them, settled

CLUSTER = ROOT / "inventories/cluster"
GROUPS = {"edge": 2, "acme": 1, "app": 3, "db": 2, "cache": 1, "monitor": 2}
DOCUMENTATION = ("192.0.2.", "198.51.100.", "203.0.113.")  # RFC 5737: these belong to nobody


def groups(inventory: Path) -> dict[str, list[str]]:
    children = yaml.safe_load((inventory / "hosts.yml").read_text())["all"]["children"]
    return {group: list(content["hosts"]) for group, content in children.items()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Host name -> what the wiring says about it."""
    names = ("host_links", "firewall_public_ports", "group_names", "ansible_host", "private_address")
    return as_roles_see_them(CLUSTER, tmp_path_factory.mktemp("cluster"), names, settled())


@pytest.mark.parametrize("name", ["single", "cluster"])
def test_example_inventory_passes_the_check_of_its_settings(name: str) -> None:
    done = ansible(
        "ansible", "all", "--inventory", ROOT / "inventories" / name, "--playbook-dir", ROOT / "ansible",
        "--module-name", "ansible.builtin.include_role", "--args", "name=preflight tasks_from=settings",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All assertions passed" in done.stdout


def test_host_that_stands_twice_is_an_error_and_nobody_forgets_it(tmp_path: Path) -> None:
    shutil.copytree(CLUSTER, tmp_path / "site")
    hosts = tmp_path / "site/hosts.yml"
    hosts.write_text(hosts.read_text().replace("        app3: {", "        app2: {"))
    done = ansible("ansible-inventory", "--inventory", tmp_path / "site", "--list")
    assert done.returncode != 0
    assert "duplicate mapping key 'app2'" in done.stderr
    assert str(hosts) in " ".join(done.stderr.split())


def test_cluster_has_every_tier_and_addresses_of_nobody(cluster: dict[str, dict]) -> None:
    assert {group: len(hosts) for group, hosts in groups(CLUSTER).items()} == GROUPS
    addresses = [host[key] for host in cluster.values() for key in ("ansible_host", "private_address")]
    assert len(set(addresses)) == 2 * len(cluster)
    assert all(address.startswith(DOCUMENTATION) for address in addresses)


def test_cluster_readme_tells_exactly_who_talks_to_whom(cluster: dict[str, dict]) -> None:
    """Each line of its table stands for ports that the firewall opens, to those it names; and none is left out."""
    rows = re.findall(r"^\| ([\d, ]+) \| ([\w ]+) \| ([\w, ]+) \|", (CLUSTER / "README.md").read_text(), re.MULTILINE)
    assert len(rows) > 5
    names = {"where they are": list(cluster), "every host": list(cluster), "the ACME host": groups(CLUSTER)["acme"]}
    names |= groups(CLUSTER)
    told, told_public = {}, {}
    for ports, of, to in rows:
        for port in map(int, ports.split(",")):
            if to == "everybody":
                told_public[port] = set(names[of])
            else:
                told.setdefault(port, (set(names[of]), {host for group in to.split(", ") for host in names[group]}))
    for name, host in cluster.items():
        assert set(host["firewall_public_ports"]) == {port for port, of in told_public.items() if name in of}
        for link in host["host_links"]["opens"]:
            of, to = told.get(link["port"], (set(), set()))
            assert name in of, f"port {link['port']} of {name} is open, and the table does not say so"
            assert set(link["peers"]) == to - {name}, f"port {link['port']} of {name}"
    opened = {link["port"] for host in cluster.values() for link in host["host_links"]["opens"]}
    assert set(told) == opened


def test_one_line_adds_a_host(tmp_path: Path) -> None:
    """The line of the README makes its workers known to the edges, and lets it reach the database."""
    readme, copy = (CLUSTER / "README.md").read_text(), tmp_path / "cluster"
    shutil.copytree(CLUSTER, copy, ignore=shutil.ignore_patterns("secrets*"))
    line = re.search(r"^ {8}app4: .*\n", readme, re.MULTILINE)[0]
    hosts = copy / "hosts.yml"
    before = hosts.read_text()
    third = re.search(r"^ {8}app3: .*\n", before, re.MULTILINE)[0]
    hosts.write_text(before.replace(third, third + line))
    site = as_roles_see_them(copy, tmp_path, ("nginx_live", "host_links"), settled())
    assert {"app4-8101", "app4-8102"} < set(site["edge2"]["nginx_live"])
    database = next(link for link in site["db1"]["host_links"]["opens"] if link["port"] == 5432)
    assert "app4" in database["peers"]
