"""What a unit runs after its worker: seat requests must not be sent to a process that is gone."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakeredis import TcpFakeServer
from redis import Redis

from tests.processes import run, started

APP = Path(__file__).parents[3] / "app"
KEY = "mp:worker:alpha-8101"


@pytest.fixture
def valkey() -> Iterator[Redis]:
    server = TcpFakeServer(("127.0.0.1", 0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Redis(port=server.server_address[1], decode_responses=True)
    yield client
    client.close()
    server.shutdown()
    server.server_close()


def obituary(url: str, *options: str, worker: str = "alpha-8101") -> str:
    done = run(
        [sys.executable, *options, "-m", "live.obituary", worker],
        env=os.environ | {"PYTHONPATH": str(APP), "MATCHPOINT_VALKEY_URL": url},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def url_of(client: Redis, database: int = 0) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/{database}"


def dead_pid() -> int:
    with started([sys.executable, "-c", ""]) as process:
        process.wait(timeout=60)
    return process.pid


def test_the_key_of_a_dead_worker_goes_and_what_it_carried_stays_to_be_found(valkey: Redis) -> None:
    valkey.set(KEY, json.dumps({"draining": False, "release": "r1", "pid": dead_pid()}))
    valkey.zadd(f"{KEY}:load", {"match1": 1.0})

    assert "worker alpha-8101 is gone" in obituary(url_of(valkey))

    assert valkey.keys("*") == [f"{KEY}:load"]


def test_the_key_of_a_worker_that_lives_stays(valkey: Redis) -> None:
    valkey.set(KEY, json.dumps({"draining": False, "release": "r1", "pid": os.getpid()}))
    assert "lives" in obituary(url_of(valkey))
    assert valkey.exists(KEY)


def test_after_an_orderly_stop_there_is_nothing_to_do(valkey: Redis) -> None:
    assert "was not there any more" in obituary(url_of(valkey))


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "nonsense", "unix:///nowhere", "redis://[::1"])
def test_whatever_is_wrong_it_ends_well(url: str) -> None:
    assert "no obituary" in obituary(url)


def test_it_loads_no_library_that_takes_time() -> None:
    loaded = obituary("redis://127.0.0.1:1/0", "-X", "importtime")
    assert "live.obituary" not in sys.modules
    for name in ("redis", "django", "asyncio", "ssl"):
        assert f" {name}\n" not in loaded
