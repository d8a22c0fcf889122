"""systemd hears from a worker while its event loop turns."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from matchpoint import watchdog
from tests.rules.model import ROOT


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """What listens as systemd does, and its address as it says it."""
    name = f"@{tmp_path}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(name.replace("@", "\0"))
        yield listening, name


async def test_beats_come_while_the_loop_turns(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    beating = asyncio.create_task(watchdog.beat({"NOTIFY_SOCKET": address}, allowed_s=0.003))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        assert [await loop.sock_recv(listening, 100) for _ in range(3)] == [b"WATCHDOG_USEC=3000\nWATCHDOG=1"] * 3
    beating.cancel()
    with suppress(asyncio.CancelledError):
        await beating


async def test_a_systemd_that_is_away_for_a_moment_ends_nothing(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watchdog.beat({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, allowed_s=0.003), 0.02)


async def test_without_systemd_nothing_beats() -> None:
    async with asyncio.timeout(20):
        await watchdog.beat({})


def test_the_unit_asks_nothing_of_a_release_that_never_beats() -> None:
    """A rollback starts the release before under the same unit."""
    unit = (ROOT / "roles/app/templates/etc/systemd/system/matchpoint-worker@.service.j2").read_text()
    assert "NotifyAccess=main" in unit
    assert "WatchdogSec=" not in unit
