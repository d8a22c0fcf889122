"""Rules and levels play as they should, by few matches that are always the same ones (`make balance` plays many)."""

import pytest

from tests.balance.table import GOALS, Cell, figures


@pytest.mark.parametrize("cell", GOALS, ids=lambda cell: cell.name)
def test_rules_and_levels_keep_their_goals(cell: Cell) -> None:
    assert figures(cell, 24).misses(cell, slack=1.0) == []
