"""A bare host, the site on it, a receiver turned off, the site taken away, and what is left: `make test-uninstall`."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.conftest import TEST_LAB, Lab, booted, recap

# Paths, what is in /etc, units, what runs, users, groups, packages, ports, nftables; not caches, nor what Ansible left
SNAPSHOT = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/cache \
  -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/log/journal -o -path '*/__pycache__' \
  -o -path '/home/*/.ansible' -o -path /root/.ansible -o -path /var/lib/matchpoint-kept \) -prune -o -print \
  | sed 's/^/path /'
find /etc -xdev -type f -exec sha256sum {} + | sed 's/^/content /'
systemctl list-unit-files --no-legend --plain | awk '{print "unit", $1, $2}' | grep -v session
systemctl list-units --no-legend --plain --state=active --type=service,timer,socket | awk '{print "runs", $1}' \
  | grep -v session
cut -d: -f1 /etc/passwd | sed 's/^/user /'
cut -d: -f1 /etc/group | sed 's/^/group /'
dpkg-query --show --showformat='package ${Package} ${db:Status-Abbrev}\n'
ss -ltnuH | awk '{print "port", $1, $5}'
(nft list tables 2>/dev/null || true) | sed 's/^/filter /'
"""
# What a machine does by itself, or any installation leaves
ALLOWED = re.compile(
    r"^content \w+ +/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|ld\.so\.cache)$"
    r"|^path /etc/(passwd|group|shadow|gshadow|subuid|subgid)-$"
    r"|^path /var/(lib/ucf/.*\.\d+|log/alternatives\.log)$"
    r"|^(user|group) (matchpoint|postgres|prometheus|valkey)$"  # whose data were kept
)
HOST = "mp1"


def look(lab: Lab) -> set[str]:
    return set(lab.run(HOST, "sh -s", stdin=SNAPSHOT).splitlines())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with booted(Lab(f"{TEST_LAB}-uninstall")) as single:
        yield single


def test_what_came_with_the_site_goes_with_it(lab: Lab, tmp_path) -> None:
    bare = look(lab)
    receiver = tmp_path / "receiver.json"
    hook = {"type": "webhook", "url": "http://world:8080/pager", "for": ["ticket"]}
    receiver.write_text(json.dumps({"matchpoint_receivers": [hook]}))
    lab.make("deploy", f"ARGS=-e @{receiver}")
    urls = "ls /etc/prometheus/*/*-url /etc/prometheus/*-url 2>/dev/null || true"
    before = set(lab.run(HOST, urls).split())
    said = lab.make("deploy")
    gone = before - set(lab.run(HOST, urls).split())
    assert len(gone) == 1
    assert f"removed    {gone.pop()}" in said, "and nothing else"

    refused = lab.make("uninstall", f"HOST={HOST}", "CHECK=1")
    assert recap(refused)["failed"] == 0
    assert "postgresql@17-main" in lab.run(HOST, "systemctl list-units --state=active --plain --no-legend")
    said = lab.make("uninstall", f"HOST={HOST}", f"CONFIRM={HOST}")
    after = look(lab)
    left = {line for line in bare ^ after if not ALLOWED.search(line)}
    assert not left, "\n".join(sorted(f"{'+' if line in after else '-'} {line}" for line in left))
    assert lab.run(HOST, "ls -d /var/lib/matchpoint-kept/var/lib/postgresql/17/main/base")
    assert "the user postgres, whose data were kept" in re.sub(r"\s+", " ", said)
