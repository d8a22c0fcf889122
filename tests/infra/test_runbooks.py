"""What runbooks tell people to look at works on a healthy host, as the account that they log in with."""

import shlex

import pytest

from tests.rules.model import RUNBOOKS, code_blocks

testinfra_hosts = ["ansible://all"]

# What a check needs of its host, by a word in it
NEEDS = {
    "matchpoint-query": "prometheus",
    "prometheus/targets": "prometheus",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "postgres": "postgresql@17-main",
    "pg_": "postgresql@17-main",
    "valkey": "valkey-server",
    "nginx": "nginx",
    "certbot": "nginx",
    "matchpoint-web": "matchpoint-web@8001",
    ":8001": "matchpoint-web@8001",
    ":18001": "matchpoint-web@8001",
    "matchpoint-live": "matchpoint-live@8101",
    ":8101": "matchpoint-live@8101",
    "/opt/matchpoint": "matchpoint-web@8001",
}

CHECKS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in RUNBOOKS
    for number, block in enumerate(code_blocks(path.read_text(), "check"), 1)
]


@pytest.mark.parametrize("block", CHECKS)
def test_check_of_a_runbook_runs(host, facts, block: str) -> None:
    wanted = sorted({unit for word, unit in NEEDS.items() if word in block})
    elsewhere = [unit for unit in wanted if not host.service(unit).is_enabled]
    if elsewhere:
        pytest.skip(f"{', '.join(elsewhere)}: not on this host")
    script = shlex.quote(block.replace("HOST", "none"))
    done = host.run(f"runuser -u {facts['ansible_user'] or 'root'} -- bash -euo pipefail -c {script}")
    assert done.rc == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_runbooks_are_on_the_host_for_who_has_no_network(host, facts) -> None:
    if "monitor" not in facts["group_names"]:
        pytest.skip("no monitoring host")
    text = host.file("/usr/local/share/matchpoint/runbooks.md").content_string
    for path in RUNBOOKS:
        assert f"\n# {path.stem}\n" in "\n" + text
