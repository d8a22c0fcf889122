"""The live tier under faults drawn from seeds: a fixed budget of them; `make soak` has as many as wanted."""

import os
import sys
from pathlib import Path

import pytest

from tests.processes import run
from tests.sim.world import simulate

ROOT = Path(__file__).parents[2]

# Each has found a defect once (docs/testing.md)
REGRESSIONS = (1, 3, 4, 7, 12)
SEEDS = range(1000, 1003)


@pytest.mark.parametrize("seed", [*REGRESSIONS, *SEEDS])
def test_the_promises_hold(seed: int, tmp_path: Path) -> None:
    simulate(seed, tmp_path / "hosts")


def test_a_seed_is_one_story_to_the_step(tmp_path: Path) -> None:
    """Also in another process, where sets and hashes of texts have another order."""
    first = simulate(7, tmp_path / "first")
    again = run(
        [sys.executable, "-m", "tests.sim", "--seed", "7"],
        cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": "app:."}, timeout_s=100,
    )  # fmt: skip
    assert f"trace {first.loop.trace:08x}" in again.stdout
