"""The canary's program tells what came of a match: also of one that hangs, and of one after a success."""

import os
import re
from pathlib import Path

import pytest

from tests.processes import run
from tests.rules.model import role_template

PLAYED = "import os, sys; print(sys.argv[1:], os.environ['MATCHPOINT_DOMAIN'])"
REFUSED = "import sys; sys.exit('bot: the site does not answer')"
HANGS = "import signal; signal.pause()"


class Canary:
    """The program of the role, in a folder of the test instead of the host's, with bots of the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.page = root / "metrics/canary.prom"
        self.page.parent.mkdir()
        self.said = ""

    def run(self, bots: str, *, seconds: float = 20, ca: str = "") -> dict[str, float]:
        """Metric -> value after a run in which the bots do what the Python code says."""
        folder = self.root / "current/app/live"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
        (folder / "bot.py").write_text(bots)
        text = role_template(
            "app", "usr/local/lib/matchpoint/canary", app_canary_ca=ca, __app_canary_user="env",
            __app_canary_seconds=seconds, __app_root=str(self.root),
        )  # fmt: skip
        program = self.root / "canary"
        program.write_text(text.replace("/var/lib/prometheus/node-exporter", str(self.page.parent)))
        environment = os.environ | {"MATCHPOINT_DOMAIN": "pong.example.com"}
        done = run(["sh", program], env=environment)
        assert done.returncode == 0, done.stderr
        self.said = done.stderr
        assert [path.name for path in self.page.parent.iterdir()] == ["canary.prom"]
        checked = run(["promtool", "check", "metrics"], stdin=self.page.read_text())
        assert checked.returncode == 0, checked.stderr
        found = re.findall(r"^matchpoint_canary_last_(\w+) (\S+)$", self.page.read_text(), re.MULTILINE)
        return {name: float(value) for name, value in found}


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path)


def test_a_match_is_a_success_by_the_public_name(canary: Canary) -> None:
    told = canary.run(PLAYED)
    assert told["result"] == 1
    assert told["success_timestamp_seconds"] == told["run_timestamp_seconds"] > 1e9
    assert 0 < told["duration_seconds"] < 60
    assert "'https://pong.example.com'] pong.example.com" in canary.said
    assert canary.page.stat().st_mode & 0o777 == 0o644


def test_the_ca_of_a_lab_is_trusted(canary: Canary) -> None:
    canary.run(PLAYED, ca="/somewhere/ca.pem")
    assert "'--ca', '/etc/matchpoint/canary-ca.pem'" in canary.said


def test_a_failure_keeps_the_time_of_the_last_success(canary: Canary) -> None:
    before = canary.run(PLAYED)
    told = canary.run(REFUSED)
    assert told["result"] == 0
    assert told["success_timestamp_seconds"] == before["success_timestamp_seconds"]
    assert told["run_timestamp_seconds"] > before["run_timestamp_seconds"]
    assert "the site does not answer" in canary.said
    assert canary.run(PLAYED)["success_timestamp_seconds"] > told["run_timestamp_seconds"]


def test_a_canary_that_never_got_through_counts_from_its_first_run(canary: Canary) -> None:
    first = canary.run(REFUSED)
    second = canary.run(REFUSED)
    assert second["success_timestamp_seconds"] == first["run_timestamp_seconds"] < second["run_timestamp_seconds"]


def test_a_match_that_hangs_is_a_failure(canary: Canary) -> None:
    assert canary.run(HANGS, seconds=0.5)["result"] == 0
    assert "exit status 124" in canary.said
