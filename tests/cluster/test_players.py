"""What players noticed of the drills of `test_cluster.py`."""

import pytest

from tests.cluster.load import PROMISES, Load


@pytest.mark.parametrize("drill", PROMISES)
def test_players_noticed_no_more_than_promised(load: Load, drill: str) -> None:
    if drill not in load.drills:
        pytest.skip(f"'{drill}' was not selected, or did not come to its end: then its own test says why")
    PROMISES[drill](load.judge(drill))
