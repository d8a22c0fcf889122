"""What owners ask of the directory gets through, each match by itself."""

import asyncio
from typing import Any


async def test_a_call_that_hangs_holds_up_no_other_match(house: Any) -> None:
    await house.worker()
    (ada, _), (eve, _) = [await house.pair(points=3) for _ in range(2)]
    save = house.directory.leases.checkpoint

    async def hang(match_id: str, **fields: Any) -> None:
        if match_id == ada.match_id:
            await asyncio.Event().wait()
        await save(match_id, **fields)

    house.directory.leases.checkpoint = hang
    await house.clock.until(lambda: eve.is_over)

    assert sum(ada.score) == 0
