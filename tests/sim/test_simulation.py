"""The live tier under faults drawn from seeds: a fixed budget of them; `make soak` has as many as wanted."""

from pathlib import Path

import pytest

from tests.sim.world import simulate

# Each has found a defect once (docs/testing.md)
REGRESSIONS = (1, 9, 42)
SEEDS = range(1000, 1006)


@pytest.mark.parametrize("seed", [*REGRESSIONS, *SEEDS])
def test_the_promises_hold(seed: int, tmp_path: Path) -> None:
    simulate(seed, tmp_path / "hosts")


def test_a_seed_is_one_story(tmp_path: Path) -> None:
    first, again = (simulate(7, tmp_path / name) for name in ("first", "again"))
    assert first.story == again.story
    assert {record.spec.id: record.timeline for record in first.database.values()} == {
        record.spec.id: record.timeline for record in again.database.values()
    }
