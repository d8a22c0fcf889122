"""Grafana, where a site has it: it serves the provisioned dashboards, from the provisioned sources, to nobody else."""

import json
import re

import pytest

from tests.rules.model import dashboards

testinfra_hosts = ["ansible://monitor"]
UNITS = ["grafana-server.service"]


@pytest.fixture
def address(host) -> str:
    if not host.file("/usr/share/grafana").exists:
        pytest.skip("no Grafana on this site (grafana_source: off, or its repository cannot be reached): not tested")
    with host.sudo():
        settings = host.file("/etc/grafana/grafana.ini").content_string
    found = re.search(r"^http_addr = (\S+)\nhttp_port = (\d+)$", settings, re.MULTILINE)
    assert found
    return f"{found[1]}:{found[2]}"


def test_grafana_is_healthy_and_listens_on_no_public_address(host, address: str) -> None:
    health = json.loads(host.check_output("curl -sS http://%s/api/health", address))
    assert health["database"] == "ok"
    assert not host.socket(f"tcp://0.0.0.0:{address.split(':')[1]}").is_listening


def test_strangers_get_nothing(host, address: str) -> None:
    assert host.check_output("curl -sS -o /dev/null -w '%%{http_code}' http://%s/api/search", address) in {"401", "302"}


def test_dashboards_and_sources_are_provisioned(host, address: str) -> None:
    # As nginx says it, after the staff login
    headers = "-H 'X-WEBAUTH-USER: verify@staff' -H 'X-WEBAUTH-ROLE: Admin'"

    def get(path: str) -> list:
        return json.loads(host.check_output(f"curl -sS {headers} http://{address}/api/{path}"))

    found = {board["uid"] for board in get("search?type=dash-db")}
    sources = {source["uid"] for source in get("datasources")}
    assert set(dashboards()) <= found
    assert {"matchpoint-prometheus", "matchpoint-alertmanager"} <= sources
