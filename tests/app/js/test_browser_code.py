"""The browser's clock, socket, prediction and statistics, by Node's own test runner."""

import shutil
from pathlib import Path

import pytest

from tests.processes import run

HERE = Path(__file__).parent


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node to run the browser's code")
@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.js")), ids=lambda file: file.name)
def test_browser_code(file: Path) -> None:
    done = run(["node", "--test", file])
    assert done.returncode == 0, done.stdout + done.stderr
