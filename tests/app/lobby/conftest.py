"""Lobby processes around one Valkey, and players at their sockets. The tests turn the clock and beat by hand."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from live import directory
from live.directory import Directory, get_directory
from lobby import hall as lobby_hall
from lobby import queue
from lobby.hall import Hall
from lobby.protocol import Claim, lobby_token
from tests.app.live.conftest import FakeClock, Socket, settle
from tests.app.live.transport.polled import Polled


class Player(Socket):
    """A page with the lobby open."""

    identity = ""

    @property
    def last(self) -> dict[str, Any]:
        """What was heard last about its own state: `you`, `met` or `off`."""
        return [frame for frame in self.frames if frame["t"] in ("you", "met", "off")][-1]

    @property
    def story(self) -> list[dict[str, Any]]:
        """All that was heard about itself."""
        return [frame for frame in self.frames if frame["t"] != "site"]

    def site(self) -> dict[str, Any]:
        return self.heard("site")[-1]


class PolledPlayer(Polled, Player):
    """The same behind a proxy that lets no WebSocket through."""


class Lobby:
    """`halls` are the processes; sockets go to the one that is asked for, by default the first."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.halls: list[Hall] = []
        self.directory: Directory = get_directory()
        self.store = self.directory.store.client
        self._coins = itertools.cycle((0.2, 0.8))
        self._names = itertools.count()

    def open(self) -> Hall:
        hall = Hall(self.directory, clock=self.clock, coin=lambda: next(self._coins))
        self.halls.append(hall)
        return hall

    async def worker(self, *, load: float = 0.0) -> None:
        await self.directory.workers.beat("local-8101", release="dev", draining=False, owned={}, load=load)

    async def come(
        self,
        identity: str = "",
        *,
        at: Hall | None = None,
        rating: float | None = None,
        address: str = "",
        token: str = "",
        carrier: type[Player] = Player,
        **options: Any,
    ) -> Player:
        """A page opens the lobby; options as `Socket.open` has them."""
        identity = identity or f"g:{next(self._names)}"
        lobby_hall.install(at or self.halls[0])
        player = carrier(self.clock)
        player.identity = identity
        player.open("/ws/lobby/c0ffee" if carrier is PolledPlayer else "/ws/lobby", **options)
        claim = Claim(identity, identity.title(), rating, address or identity)
        player.say("hello", protocol=1, token=token or lobby_token(claim))
        await settle()
        return player

    async def wait(self, identity: str = "", **options: Any) -> Player:
        player = await self.come(identity, **options)
        player.say("wait")
        await settle()
        return player

    async def beat(self, seconds: float = 0.2, times: int = 1) -> None:
        """Time goes on, and every process beats."""
        for _ in range(times):
            await self.clock.advance(seconds)
            for hall in self.halls:
                await hall.beat()
            await settle()

    def kill(self, hall: Hall) -> None:
        """The process is gone without a word."""
        self.halls.remove(hall)

    async def assert_tickets(self, hall: Hall) -> None:
        """What a beat does first: those who wait there have tickets, and nobody was paired yet."""
        await hall._look([session for session in hall.sessions if session.is_waiting], renew=True)

    async def meet(self, *players: Player) -> str:
        """Beat until the players have met each other; the match."""
        await self.beat(times=5)
        matches = {player.last["match"] for player in players}
        assert len(matches) == 1
        return str(matches.pop())


@pytest.fixture
async def lobby(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lobby]:
    monkeypatch.setattr(directory, "_fake_server", None)
    for name in ("TICKET_SECONDS", "MET_SECONDS", "LEADER_MS"):  # the stand-in's clock is the machine's: tests let end
        monkeypatch.setattr(queue, name, 600_000)
    lobby = Lobby()
    lobby.open()
    await lobby.worker()
    yield lobby
    lobby_hall.install(None)
    for session in [session for hall in lobby.halls for session in hall.sessions]:
        await session.end()
    await asyncio.sleep(0)
