"""A bare host, the site on it, a receiver turned off, the site taken away, and what is left: `make test-uninstall`."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.conftest import TEST_LAB, Lab, booted, recap
from tests.newcomer.bare import differences, look

HOST = "mp1"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with booted(Lab(f"{TEST_LAB}-uninstall")) as single:
        yield single


def test_what_came_with_the_site_goes_with_it(lab: Lab, tmp_path) -> None:
    bare = look(lab, HOST)
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
    after = look(lab, HOST)
    left = differences(bare, after, data_kept=True)
    assert not left, left
    assert lab.run(HOST, "ls -d /var/lib/matchpoint-kept/var/lib/postgresql/17/main/base")
    assert "the user postgres, whose data were kept" in re.sub(r"\s+", " ", said)
