"""The two engines agree, and the file that proves it is current."""

import shutil
from pathlib import Path

import pytest

from engine.rules import VERSIONS
from tests.app.golden import generate
from tests.processes import run

HERE = Path(__file__).parent


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_matches_are_what_the_rules_play_today(version: int) -> None:
    text = generate.path(version).read_text()
    assert generate.render(version) == text, "rules changed? run python tests/app/golden/generate.py"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node to run the JavaScript rules")
def test_javascript_rules_repeat_the_golden_matches() -> None:
    files = sorted(HERE.glob("*.test.mjs"))
    done = run(["node", "--test", *files])
    assert done.returncode == 0, done.stdout + done.stderr
