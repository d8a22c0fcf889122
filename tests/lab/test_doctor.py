"""`make doctor` on a host around which ten things are broken: it names all, each with its setting, and no other."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Lab, recap

STORE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8xSoK2W9Z3qvPyYJc1m0g7mYc5hTtWbE6dVxkR0aQz"
# Addresses that lead nowhere, or to something else
SETTINGS = {
    "matchpoint_acme_directory": "https://world:8080/events",
    "matchpoint_smtp_url": "smtp://world:24",
    "matchpoint_pager_url": "http://world:9/pager",
    "matchpoint_receivers": [{"type": "webhook", "url": "http://nobody.invalid/hook", "for": ["ticket"]}],
    "matchpoint_deadman_url": "https://world:8080/deadman",
    "matchpoint_backup_host_keys": f"world {STORE_KEY}",
    "grafana_source": "upstream",
}
BREAK = """
echo "$(getent hosts world | cut -d ' ' -f 1) apt.grafana.com # broken" >> /etc/hosts
echo '/dev/vdb1 /var/lib/postgresql ext4 defaults 0 2 # broken' >> /etc/fstab
echo 'deb http://world:9/debian trixie main' > /etc/apt/sources.list.d/broken.list
"""
MEND = """
for file in /etc/hosts /etc/fstab; do grep -v '# broken$' $file > /run/mended; cat /run/mended > $file; done
rm -f /etc/apt/sources.list.d/broken.list
"""
TOLD = [  # what is said, as the beginning of each sentence
    "settings: matchpoint_domain: port 80 of NOBODY is not reached from here, No route to host: correct the DNS",
    "settings: matchpoint_domain: port 443 of NOBODY is not reached from here, No route to host: correct the DNS",
    "mp1: the package sources of the host: http://world:9",
    "mp1: preflight_disks: /var/lib/postgresql is to be on the disk of /var/lib/postgresql, which is in /etc/fstab",
    "mp1: matchpoint_acme_directory: https://world:8080 cannot be asked, no TLS is spoken there",
    "mp1: matchpoint_smtp_url: smtp://world:24 cannot be reached, Connection refused: correct host and port",
    "mp1: matchpoint_backup_url: sftp://world shows other keys than matchpoint_backup_host_keys: ask",
    "mp1: matchpoint_pager_url: http://world:9 cannot be reached, Connection refused: correct the address",
    "mp1: matchpoint_receivers: http://nobody.invalid cannot be reached, its name does not resolve: correct",
    "mp1: matchpoint_deadman_url: https://world:8080 cannot be reached, no TLS is spoken there",
    "mp1: grafana_source: https://apt.grafana.com cannot be reached, Connection refused: open the way",
]


def nobody(lab: Lab) -> str:
    """An address in the lab's network that no machine has."""
    return lab.address("mp1").rpartition(".")[0] + ".250"


@pytest.fixture
def broken(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    lab.run("mp1", BREAK)
    settings = tmp_path / "broken.json"
    settings.write_text(json.dumps(SETTINGS | {"matchpoint_public_address": nobody(lab)}))
    yield settings
    lab.run("mp1", MEND)


def test_ten_broken_things_of_the_world_are_all_named_and_nothing_else(lab: Lab, broken: Path) -> None:
    with pytest.raises(AssertionError) as failure:
        lab.make("doctor", f"ARGS=-e @{broken}")
    said = re.search(r"Action failed: (\[.+?\])\s+Origin:", str(failure.value), re.DOTALL)
    assert said, failure.value
    told = ast.literal_eval(said[1])
    expected = [sentence.replace("NOBODY", nobody(lab)) for sentence in TOLD]
    assert [each for each in expected if not any(one.startswith(each) for one in told)] == []
    assert len(told) == len(expected), f"and nothing else: {told}"


def test_a_world_that_is_mended_has_nothing_wrong(lab: Lab) -> None:
    said = lab.make("doctor")
    assert "Nothing is wrong" in said
    assert recap(said)["changed"] == 0
