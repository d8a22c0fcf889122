"""What runbooks tell people to look at works on healthy hosts, as the account that they log in with."""

import json
import re
import shlex
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.infra.conftest import Site, connect
from tests.rules.model import RUNBOOKS, code_blocks

# Where a command is for, by what it names; the first that fits, else any host: that is a monitoring host here
PLACES = [
    (r"^matchpoint-query|amtool|promtool|prometheus/|prometheus-alertmanager", "monitor"),
    (r"postgres|pg_|psql|pgbackrest|matchpoint-backup|matchpoint-restore", "db"),
    (r"matchpoint-web|matchpoint-live|:8001|:18001|:8101'|/opt/matchpoint|/var/lib/matchpoint", "app"),
    (r"valkey|redis|:6379", "cache"),
    (r"nginx|stub_status|:443|certbot|letsencrypt|matchpoint/tls", "edge"),
    (r"", "monitor"),
]
DEAD = re.compile(
    r"^(bash: |sudo: |grep: |tail: |ls: |cat: |Unit \S+ could).*"
    r"(command not found|No such file|could not be found|nvalid option|nrecognized option)",
    re.MULTILINE,
)
CHECKS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in RUNBOOKS
    for number, block in enumerate(code_blocks(path.read_text(), "check"), 1)
]


# Runs the scripts of its input at a time, and prints the exit code and the output of each
RUN = """
import json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

def run(script):
    command = ["bash", "-euo", "pipefail", "-c", "exec 2>&1 </dev/null\\n" + script]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return done.returncode, done.stdout[-3000:]

with ThreadPoolExecutor(4) as pool:
    print(json.dumps(list(pool.map(run, json.load(sys.stdin)))))
"""


def commands(block: str) -> dict[str, str]:
    """The lines of a check by the tier that they are for."""
    lines: dict[str, list[str]] = {}
    for line in block.replace("HOST", "none").splitlines():
        tier = next(tier for pattern, tier in PLACES if re.search(pattern, line))
        lines.setdefault(tier, []).append(line)
    return {tier: "\n".join(found) for tier, found in lines.items()}


@pytest.fixture(scope="module")
def answers(public: Site, pytestconfig: pytest.Config) -> dict[tuple[str, str], tuple[int, str]]:
    """What each script said on the first host of its tier: one round trip a tier, and all at once."""
    scripts: dict[str, list[str]] = {}
    for check in CHECKS:
        for tier, script in commands(check.values[0]).items():
            scripts.setdefault(tier, []).append(script)

    def answers_of(tier: str) -> list[tuple[int, str]]:
        name = next(iter(public.hosts.values()))["tiers"][tier][0]
        user = public.hosts[name]["ansible_user"] or "root"
        run = f"printf %s {shlex.quote(json.dumps(scripts[tier]))} | runuser -u {user} -- python3 -c {shlex.quote(RUN)}"
        done = connect(pytestconfig.option.inventory, name).run(run)
        assert done.rc == 0, f"{name}: {done.stderr}"
        return json.loads(done.stdout)

    with ThreadPoolExecutor() as pool:
        said = dict(zip(scripts, pool.map(answers_of, scripts), strict=True))
    return {
        (tier, script): answer
        for tier, wanted in scripts.items()
        for script, answer in zip(wanted, said[tier], strict=True)
    }


@pytest.mark.parametrize("block", CHECKS)
def test_check_of_a_runbook_runs(block: str, answers: dict[tuple[str, str], tuple[int, str]]) -> None:
    for place in commands(block).items():
        code, output = answers[place]
        assert code == 0, f"{place}: {output}"
        # What a runbook lets fail (`|| true`) may find nothing, and yet has to be there
        assert not DEAD.search(output), f"{place}: {output}"


def test_runbooks_are_on_every_monitoring_host_for_who_has_no_network(
    public: Site, pytestconfig: pytest.Config
) -> None:
    for name in next(iter(public.hosts.values()))["tiers"]["monitor"]:
        host = connect(pytestconfig.option.inventory, name)
        text = host.file("/usr/local/share/matchpoint/runbooks.md").content_string
        for path in RUNBOOKS:
            assert f"\n# {path.stem}\n" in "\n" + text
