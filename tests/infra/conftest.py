"""The hosts of any inventory, as the playbook sees them: ``pytest tests/infra --inventory inventories/lab``.

A module names its hosts as testinfra does (``testinfra_hosts = ["ansible://edge"]``) and, in ``UNITS``, the units whose
journals explain a failure. Modules with ``WAITS`` need what happens by itself, a minute or two after a deploy, and come
last. Nothing here changes a host.
"""

import json
import os
import shlex
import socket
import ssl
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import testinfra

from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
# One connection a host and not one a command
CONTROL_PATHS = ROOT / ".cache/ansible/cp"
WIRING = [
    "ansible_host", "ansible_user", "ansible_port", "ssh_port", "ansible_ssh_private_key_file",
    "ansible_ssh_common_args", "group_names", "host_published", "host_address", "host_private_address", "host_links",
    "is_single_host", "tiers", "scrape_targets", "site_probes", "prometheus_listen", "alertmanager_listen",
    "alertmanager_cluster_listen", "matchpoint_domain",
    "matchpoint_public_ca", "matchpoint_public_address", "app_web_ports", "app_live_ports", "certbot_directory",
    "app_live_addresses",
    "backup_url", "certbot_issuer", "certbot_copies", "nginx_acme_share", "site_grafana",
    "base_upgrade_days", "secrets_file",
]  # fmt: skip


@dataclass(frozen=True)
class Site:
    """What the wiring says about every host, and the site as the public sees it."""

    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def edge(self) -> dict[str, Any]:
        return next(facts for facts in self.hosts.values() if "edge" in facts["group_names"])

    @property
    def domain(self) -> str:
        return str(self.edge["matchpoint_domain"])

    @property
    def address(self) -> str:
        return str(self.edge["matchpoint_public_address"] or self.domain)

    def tls(self, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.edge["matchpoint_public_ca"] or None)
        context.set_alpn_protocols(list(alpn))
        return context

    def handshake(self, name: str, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A TLS connection to the edge that asks for a name. Raises ssl.SSLError or ConnectionError."""
        return context.wrap_socket(socket.create_connection((self.address, 443), timeout=10), server_hostname=name)

    def get(self, path: str, *, https: bool = True, **headers: str) -> HTTPResponse:
        """A request through the public address; the body is read and kept as ``response.text``."""
        return self.ask("GET", path, https=https, **headers)

    def ask(self, method: str, path: str, *, body: str = "", https: bool = True, **headers: str) -> HTTPResponse:
        """The same with another method, and a body."""
        connection: HTTPConnection
        if https:
            connection = HTTPSConnection(self.domain, timeout=10)
            connection.sock = self.handshake(self.domain, self.tls())
        else:
            connection = HTTPConnection(self.address, 80, timeout=10)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, headers={"Host": self.domain, **names})
        response = connection.getresponse()
        response.text = b"" if response.status == 101 else response.read()  # type: ignore[attr-defined]
        connection.close()
        return response


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", default="inventories/lab", help="inventory whose hosts are tested")


def pytest_sessionstart(session: pytest.Session) -> None:
    """What is wrong with the inventory is said once, and not for every module. Processes beside this one are told."""
    inventory = session.config.option.inventory
    told = getattr(session.config, "workerinput", {}).get("hosts")
    _sites[inventory] = Site(json.loads(told)) if told else _ask(inventory)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["hosts"] = json.dumps(site_read(node.config.option.inventory).hosts)


_sites: dict[str, Site] = {}


def site_read(inventory: str) -> Site:
    """What Ansible said of the inventory when the session began."""
    return _sites[inventory]


def _ask(inventory: str) -> Site:
    """Asks Ansible for the inventory's variables with the wiring applied; connects to no host."""
    wanted = ", ".join(f"'{name}': {name} | default('')" for name in WIRING)
    command = [
        str(Path(sys.executable).with_name("ansible")), "all", "--inventory", inventory,
        "--playbook-dir", str(ROOT / "ansible"),
        "--module-name", "ansible.builtin.debug", "--args", f"msg={{{{ {{{wanted}}} | to_json }}}}",
    ]  # fmt: skip
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer",
        "ANSIBLE_STRATEGY": "linear",
    }
    done = run(command, env=environment, cwd=ROOT, timeout_s=120)
    if done.returncode:
        raise pytest.UsageError(f"Ansible cannot read {inventory}:\n{(done.stderr or done.stdout)[-3000:]}")
    report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
    tasks = report["plays"][0]["tasks"] if report["plays"] else []
    if not tasks:
        raise pytest.UsageError(
            f"{inventory} has no hosts: name another one (INVENTORY=...), or start the lab (`make up`)"
        )
    answers = tasks[0]["hosts"]
    messages = {name: answer["msg"] for name, answer in answers.items()}
    hosts = {name: json.loads(text) if isinstance(text, str) else text for name, text in messages.items()}
    return Site({name: facts | {"ansible_host": facts["ansible_host"] or name} for name, facts in hosts.items()})


@cache
def connect(inventory: str, name: str) -> Any:
    facts = site_read(inventory).hosts[name]
    CONTROL_PATHS.mkdir(parents=True, exist_ok=True, mode=0o700)
    user = f"{facts['ansible_user']}@" if facts["ansible_user"] else ""
    where = f"{user}{facts['ansible_host']}:{facts['ansible_port'] or 22}"
    # A socket's path may have 107 characters, of which ssh adds 17, and the checkout may be anywhere
    folder = min(str(CONTROL_PATHS), os.path.relpath(CONTROL_PATHS), key=len)
    return testinfra.get_host(
        f"ssh://{where}",
        ssh_identity_file=shlex.quote(key) if (key := facts["ansible_ssh_private_key_file"]) else None,
        ssh_extra_args=facts["ansible_ssh_common_args"] or None,
        controlpath=shlex.quote(f'"{folder}/v{zlib.crc32(where.encode()):08x}"'),  # for the shell, and for ssh
        sudo=True,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "_inventory_host" not in metafunc.fixturenames:
        return
    wanted = getattr(metafunc.module, "testinfra_hosts", ["ansible://all"])
    groups = {pattern.removeprefix("ansible://") for pattern in wanted}
    hosts = site_read(metafunc.config.option.inventory).hosts
    names = [name for name, facts in hosts.items() if groups & {"all", name, *facts["group_names"]}]
    metafunc.parametrize("_inventory_host", names, indirect=True, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: getattr(item.module, "WAITS", False))


@pytest.fixture(scope="session")
def public(pytestconfig: pytest.Config) -> Site:
    """The site as players and strangers reach it."""
    return site_read(pytestconfig.option.inventory)


@pytest.fixture(scope="module")
def edge(_inventory_host: str, public: Site) -> Site:
    """The site as one edge shows it, for modules whose hosts are the edges."""
    facts = public.hosts[_inventory_host]
    if sum("edge" in each["group_names"] for each in public.hosts.values()) == 1:
        return public  # which may be behind an address that is not its own
    return Site({_inventory_host: facts | {"matchpoint_public_address": facts["ansible_host"]}})


@pytest.fixture(scope="module")
def _inventory_host(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def host(_inventory_host: str, pytestconfig: pytest.Config) -> Any:
    """A host over SSH, as root."""
    return connect(pytestconfig.option.inventory, _inventory_host)


@pytest.fixture(scope="module")
def facts(_inventory_host: str, public: Site) -> dict[str, Any]:
    """What the wiring says about the host."""
    return public.hosts[_inventory_host]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A failure shows what the services said."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("host")
    if report.when == "call" and report.failed and machine is not None:
        for unit in getattr(item.module, "UNITS", []):
            journal = machine.run("journalctl --unit %s --lines 25 --no-pager", unit)
            report.sections.append((f"journal of {unit}", journal.stdout))
    return report
