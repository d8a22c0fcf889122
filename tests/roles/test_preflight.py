"""What a preflight says about a host, from what it found there."""

import hashlib
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.roles.test_full_disk import load
from tests.rules.model import ROOT, role_template

FACTS = {
    "distribution": "Debian", "distribution_version": "13.1", "distribution_major_version": "13",
    "architecture": "x86_64", "service_mgr": "systemd", "memtotal_mb": 4096,
    "all_ipv4_addresses": ["192.0.2.10"], "all_ipv6_addresses": [],
}  # fmt: skip
SETTINGS = {
    "preflight_name": "pong.example.com", "preflight_open_ports": [22, 80, 443], "preflight_ports": [80, 443],
    "preflight_units": ["nginx.service"],
    "preflight_disks": [{"path": "/opt/matchpoint", "mb": 500}, {"path": "/var/log", "mb": 400}],
}  # fmt: skip
SHOP = {"what": "nginx", "loss": "it would be off", "found": ["/etc/nginx/sites-enabled/shop"]}
DISKS = {"/opt/matchpoint": {"place": "/opt", "free_mb": 600}, "/var/log": {"place": "/", "free_mb": 450}}
FULL = {"place": "/opt", "free_mb": 100}
ONE_DISK = {path: {"place": "/", "free_mb": 850} for path in DISKS}
APACHE = {"port": 80, "process": "apache2", "unit": "apache2.service"}
NGINX = {"port": 443, "process": "nginx", "unit": "nginx.service"}


def faults(facts: dict | None = None, **probe: object) -> list[str]:
    found = {
        "addresses": ["192.0.2.10"], "name_error": "", "listeners": [], "ssh_port": 22, "disks": DISKS,
        "disk_size_mb": 9700, "clock_skew": 0.4, "clock_kept_by": "", "aliases": {}, "foreign": [],
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
        ({}, {"disks": DISKS | {"/opt/matchpoint": FULL}}, "/opt has 100 MiB free: it needs 500, for /opt/matchpoint."),
        ({}, {"disks": ONE_DISK}, "/ has 850 MiB free: it needs 900, for /opt/matchpoint, /var/log."),
        ({}, {"clock_skew": 61.2}, "61 s away from that of the control machine, and nothing keeps it: set it"),
        ({}, {"clock_skew": 61.2, "clock_kept_by": "chrony"}, "although chrony keeps it: see `chronyc tracking`"),
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
        ({}, {"foreign": [SHOP]}, "/etc/nginx/sites-enabled/shop. It would be off. Give the site a host of its own"),
        ({}, {"listeners": [APACHE]}, "port 80 is taken by apache2 (apache2.service)"),
    ],
)  # fmt: skip
def test_a_host_that_will_not_do_is_told_why(facts: dict, found: dict, told: str) -> None:
    (fault,) = faults(facts, **found)
    assert told in fault


@pytest.fixture(scope="module")
def probe():
    spec = importlib.util.spec_from_file_location("probe", ROOT / "roles/preflight/library/preflight_probe.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def host(tmp_path, probe, monkeypatch):
    """A host with Debian's nginx as its package left it; ``outputs`` is what programs print."""
    host = SimpleNamespace(folder=tmp_path, outputs={}, take={
        "what": "nginx", "loss": "it would be off", "sign": str(tmp_path / "sign"),
        "files": [str(tmp_path / "nginx.conf"), str(tmp_path / "sites/*")],
    })  # fmt: skip
    (tmp_path / "sites").mkdir()
    (tmp_path / "default").write_text("a page")
    (tmp_path / "sites/default").symlink_to(tmp_path / "default")
    (tmp_path / "nginx.conf").write_text("the package's")
    known = [
        (path, hashlib.md5(path.read_bytes()).hexdigest()) for path in (tmp_path / "default", tmp_path / "nginx.conf")
    ]
    host.outputs["dpkg-query"] = "".join(f"\n {path} {digest}\n" for path, digest in known)

    def run_command(command, **how):
        return (0, host.outputs[command[0]], "") if command[0] in host.outputs else (1, "", "not now")

    module = SimpleNamespace(run_command=run_command, params={"takes": [host.take], "open_ports": [22, 80, 443]})
    monkeypatch.setattr(probe.shutil, "which", lambda name: name)
    monkeypatch.setattr(probe, "unit", lambda pid: f"{pid}.service")
    host.found = lambda: [name for one in probe.foreign(module) for name in one["found"]]
    return host


def test_what_a_package_brought_is_nobodys(host) -> None:
    assert host.found() == []


def test_files_of_somebody_else_are_foreign_until_a_role_has_its_sign_there(host) -> None:
    (host.folder / "sites/shop").write_text("a shop")
    assert host.found() == [str(host.folder / "sites/shop")]
    (host.folder / "nginx.conf").write_text("somebody's, or a role's that was killed before it came to its sign")
    assert len(host.found()) == 2
    (host.folder / "sign").touch()
    assert host.found() == []


def test_data_are_foreign_when_there_are_any(host) -> None:
    (host.folder / "dump").write_bytes(b"x" * 89)
    host.take |= {"files_over": {"bytes": 95, "paths": [str(host.folder / "dump")]}, "ask": ["valkey-cli", "randomkey"]}
    assert host.found() == []
    host.outputs["valkey-cli"] = "\n"
    assert host.found() == []
    (host.folder / "dump").write_bytes(b"x" * 99)
    host.outputs["valkey-cli"] = "basket:7\n"
    assert host.found() == [str(host.folder / "dump"), "basket:7"]


SOCKETS = """\
tcp   LISTEN 0  511  0.0.0.0:8080  0.0.0.0:*  users:(("node",pid=70,fd=18))
tcp   LISTEN 0  128  0.0.0.0:22  0.0.0.0:*  users:(("sshd",pid=71,fd=3))
tcp   LISTEN 0  200  127.0.0.1:5432  0.0.0.0:*  users:(("postgres",pid=72,fd=6))
tcp   LISTEN 0  200  [::1]:25  [::]:*  users:(("exim4",pid=73,fd=6))
udp   UNCONN 0  0  0.0.0.0:51820  0.0.0.0:*
udp   UNCONN 0  0  127.0.0.53%lo:53  0.0.0.0:*  users:(("systemd-resolve",pid=74,fd=13))
udp   UNCONN 0  0  10.0.0.2%eth0:68  0.0.0.0:*  users:(("dhclient",pid=75,fd=13))
udp   UNCONN 0  0  0.0.0.0:47001  0.0.0.0:*  users:(("ntpd",pid=76,fd=13))
udp   UNCONN 0  0  *:53  *:*  users:(("dnsmasq",pid=77,fd=13))
"""


def test_ports_that_the_firewall_would_close_are_foreign(host) -> None:
    host.outputs["ss"] = SOCKETS
    host.take |= {"closes": True}
    assert host.found() == [
        "tcp 8080 of node (70.service)", "udp 51820 of the kernel", "udp 53 of dnsmasq (77.service)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("there", "skew"),
    [(100.0, 0.0), (130.0, 0.0), (160.0, 0.0), (95.0, 5.0), (200.0, 40.0)],  # it took a minute to ask the slowest host
)
def test_a_clock_is_compared_at_the_time_of_its_own_exchange(there: float, skew: float) -> None:
    program = load("ansible/plugins/action/preflight_probe.py")
    assert program.skew(there, asked=100.0, answered=160.0) == skew


def test_the_room_is_that_of_the_file_system_on_which_a_path_would_be(tmp_path: Path) -> None:
    room = load("roles/preflight/library/preflight_probe.py").room
    assert room(str(tmp_path / "not/there")) == room(str(tmp_path))
    assert room("/proc/sys")["place"] == "/proc"
