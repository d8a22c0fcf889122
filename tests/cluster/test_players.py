"""What players noticed of the drills in the modules before this one."""

import pytest

from tests.cluster.load import PROMISES, Load


@pytest.mark.parametrize("drill", PROMISES)
def test_players_noticed_no_more_than_promised(load: Load, drill: str) -> None:
    told = load.judge(drill)
    if told is None:
        pytest.skip(f"'{drill}' did not come to its end: its own test says why")
    PROMISES[drill](told)
