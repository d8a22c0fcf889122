"""What a host is, to tell whether it is bare again."""

import re

from tests.conftest import Lab

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
BY_ITSELF = (
    r"content \w+ +/etc/((passwd|group|shadow|gshadow|subuid|subgid)-?|ld\.so\.cache)"
    r"|path /etc/(passwd|group|shadow|gshadow|subuid|subgid)-"
    r"|path /var/(lib/ucf/.*\.\d+|log/alternatives\.log)"
    r"|path /home/\w+/\.config(/procps)?"  # of the operator's own `top`, which runbooks ask for and verify types
)
KEPT = r"|(user|group) (matchpoint|matchpoint-live|postgres|prometheus|valkey)"  # whose data were


def look(lab: Lab, host: str) -> set[str]:
    return set(lab.run(host, "sh -s", stdin=SNAPSHOT).splitlines())


def differences(bare: set[str], after: set[str], *, data_kept: bool) -> str:
    """A line each, empty for none."""
    expected = re.compile(BY_ITSELF + (KEPT if data_kept else ""))
    lines = {line for line in bare ^ after if not expected.fullmatch(line)}
    return "\n".join(sorted(f"{'+' if line in after else '-'} {line}" for line in lines))
