"""Valkey loses a second at most, evicts nothing, and knows who asks."""

import re

import pytest

from tests.infra.conftest import connect

testinfra_hosts = ["ansible://cache"]
UNITS = ["valkey-server.service"]


@pytest.fixture(scope="module")
def cli(host, facts, public, pytestconfig):
    """Runs a command as the ACL user `app`, with the password that the game has, or as nobody."""
    app = next(name for name, each in public.hosts.items() if "app" in each["group_names"])
    environment = connect(pytestconfig.option.inventory, app).file("/etc/matchpoint/app.env").content_string
    password = re.search(r"^MATCHPOINT_VALKEY_URL='redis://app:([^@]+)@", environment, re.MULTILINE)[1]

    def run(command, user=None):
        login = f"--no-auth-warning --user {user} --pass {password}" if user else ""
        return host.run(f"valkey-cli -h {facts['host_address']} {login} {command}").stdout.strip()

    return run


def test_strangers_get_nothing(cli):
    assert "NOAUTH" in cli("ping")
    assert "WRONGPASS" in cli("auth default ''")


def test_the_app_uses_it_and_administers_nothing(cli):
    assert cli("ping", "app") == "PONG"
    for command in ("config get maxmemory", "flushall", "acl list", "shutdown nosave", "keys '*'"):
        assert cli(command, "app").startswith("NOPERM"), command


def test_writes_survive_and_nothing_is_evicted(cli):
    info = dict(line.strip().split(":", 1) for line in cli("info", "app").splitlines() if ":" in line)
    assert info["aof_enabled"] == "1"
    assert info["aof_last_write_status"] == "ok"
    assert int(info["maxmemory"]) > 0
    assert info["maxmemory_policy"] == "noeviction"


def test_acl_file_has_no_password_in_it(host):
    acl = host.file("/etc/valkey/users.acl")
    assert acl.mode == 0o640
    assert acl.group == "valkey"
    assert not re.search(r"(^|\s)>", acl.content_string)


def test_it_listens_on_loopback_only(host):
    lines = host.check_output("ss -Hltnp 'sport = :6379' | grep -v haproxy").splitlines()
    assert lines
    assert all(line.split()[3].startswith("127.") for line in lines)
