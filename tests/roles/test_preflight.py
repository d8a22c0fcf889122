"""What a preflight says about a host, from what it found there."""

import time

import pytest
import yaml

from tests.rules.model import role_template

FACTS = {
    "distribution": "Debian", "distribution_version": "13.1", "distribution_major_version": "13",
    "architecture": "x86_64", "service_mgr": "systemd", "memtotal_mb": 4096,
    "all_ipv4_addresses": ["192.0.2.10"], "all_ipv6_addresses": [],
}  # fmt: skip
SETTINGS = {
    "preflight_name": "pong.example.com", "preflight_open_ports": [22, 80, 443], "preflight_ports": [80, 443],
    "preflight_units": ["nginx.service"],
}  # fmt: skip
APACHE = {"port": 80, "process": "apache2", "unit": "apache2.service"}
NGINX = {"port": 443, "process": "nginx", "unit": "nginx.service"}


def faults(facts: dict | None = None, **probe: object) -> list[str]:
    found = {
        "addresses": ["192.0.2.10"], "name_error": "", "listeners": [], "ssh_port": 22, "disk_free_mb": 9999,
        "disk_size_mb": 9700, "time": time.time(), "aliases": {},
    }  # fmt: skip
    text = role_template(
        "preflight", "faults.yml", ansible_facts=FACTS | (facts or {}), __preflight_probe=found | probe,
        inventory_hostname="pong", **SETTINGS,
    )  # fmt: skip
    return yaml.safe_load(text) or []


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"addresses": ["127.0.1.1"]},  # Debian's installer writes the host's own name to /etc/hosts
        {"listeners": [NGINX]},
        {"ssh_port": 0},  # not by SSH
    ],
)
def test_a_host_that_will_do_is_let_pass(found: dict) -> None:
    assert faults(**found) == []


@pytest.mark.parametrize(
    ("facts", "found", "told"),
    [
        ({"distribution": "Ubuntu", "distribution_version": "24.04"}, {}, "the system is Ubuntu 24.04"),
        ({"architecture": "riscv64"}, {}, "the machine is riscv64"),
        ({"service_mgr": "openrc"}, {}, "services are started by openrc"),
        ({"memtotal_mb": 512}, {}, "the host has 512 MiB of memory"),
        ({"memtotal_mb": 1700}, {}, "the host has 1700 MiB of memory"),
        ({}, {"disk_size_mb": 9000}, "have 9000 MiB together: the host needs 9500 (preflight_disk_size_mb)"),
        ({}, {"disk_free_mb": 100}, "/ has 100 MiB free"),
        ({}, {"time": 0}, "s away from that of the control machine"),
        ({}, {"addresses": []}, "which does not resolve on the host"),
        ({}, {"addresses": ["198.51.100.1"]}, 'matchpoint_addresses: ["198.51.100.1"]'),
        (
            {},
            {"aliases": {"www.pong.example.com": {"addresses": [], "error": "unknown name"}}},
            "nginx_aliases has www.pong.example.com, which does not resolve on the host (unknown name): add",
        ),
        (
            {},
            {"aliases": {"www.pong.example.com": {"addresses": ["192.0.2.10", "198.51.100.1"], "error": ""}}},
            "nginx_aliases has www.pong.example.com, which resolves to 192.0.2.10, 198.51.100.1: this host has",
        ),
        ({}, {"ssh_port": 2222}, "SSH reaches the host on port 2222, which the firewall would close"),
        ({}, {"listeners": [APACHE]}, "port 80 is taken by apache2 (apache2.service)"),
    ],
)  # fmt: skip
def test_a_host_that_will_not_do_is_told_why(facts: dict, found: dict, told: str) -> None:
    (fault,) = faults(facts, **found)
    assert told in fault
