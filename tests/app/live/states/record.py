"""Records what a release leaves in Valkey and in the spool, for test_states.py.

`PYTHONPATH=app:. python -m tests.app.live.states.record NAME`, with the code of that release, when it is made: from
then on every later one has to read that file.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


async def record() -> dict[str, Any]:
    from tests.app.live.conftest import House

    house = House(Path(tempfile.mkdtemp()))
    await house.worker("alpha-8101")
    ada, bob = await house.pair(points=5, aims=(45, None))
    await house.clock.until(lambda: sum(ada.score) == 2)
    await house.settle()
    await house.clock.until(lambda: ada.now > ada.state.ball.t)
    keys: dict[str, Any] = {}
    for key in sorted(await house.redis.keys("*")):
        match await house.redis.type(key):
            case "string":
                keys[key] = await house.redis.get(key)
            case "list":
                keys[key] = await house.redis.lrange(key, 0, -1)
            case "set":
                keys[key] = sorted(await house.redis.smembers(key))
            case "zset":
                keys[key] = dict(await house.redis.zrange(key, 0, -1, withscores=True))
    house.is_database_down = True
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    await house.settle()
    [path] = house.spool.glob("*.json")
    return {"valkey": keys, "spool": json.loads(path.read_text())}


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matchpoint.settings")
    os.environ["MATCHPOINT_ENV"] = "test"
    django.setup()
    text = json.dumps(asyncio.run(record()), indent=1)
    (FOLDER / f"{sys.argv[1]}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
