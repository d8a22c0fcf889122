"""The bot keeps to the close table of docs/protocol.md, resumes, and finds out a server that breaks the rules."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import engine
from live.bot.player import Player
from live.bot.site import Failure, Ticket

RULES = engine.rules_of(2, 1)
Script = Callable[[ServerConnection, dict[str, Any]], Awaitable[None]]


@dataclass
class FakeSite:
    """A site that always has a seat, at the worker of the test."""

    port: int
    seats: int = 0
    tls: None = None
    address: str = "127.0.0.1"
    origin: str = field(init=False)
    sockets: str = field(init=False)

    def __post_init__(self) -> None:
        self.origin = f"http://127.0.0.1:{self.port}"
        self.sockets = f"ws://127.0.0.1:{self.port}"

    def match_seat(self, match_id: str) -> Ticket:
        self.seats += 1
        return Ticket(path=f"/ws/local/match/{match_id}", token=f"token {self.seats}", side=0)


@asynccontextmanager
async def worker(*scripts: Script) -> AsyncIterator[FakeSite]:
    """A live server that plays one script a socket, in order, and repeats the last."""
    left = list(scripts)

    async def handle(socket: ServerConnection) -> None:
        script = left.pop(0) if len(left) > 1 else left[0]
        await script(socket, json.loads(await socket.recv()))

    async with serve(handle, "127.0.0.1", 0) as server:
        yield FakeSite(server.sockets[0].getsockname()[1])


def player(site: FakeSite) -> Player:
    return Player(site, "m1", level="hard", rng=lambda: 0.5)


def match_events() -> list[engine.Event]:
    """A match to one point: a serve to the right, which nobody returns."""
    state = engine.initial(RULES)
    events: list[engine.Event] = []
    calls: list[Callable[[engine.MatchState], tuple[engine.Event, ...]]] = [
        lambda state: engine.move(state, 0, 1, 550.0),
        lambda state: engine.serve(state, 1_000_000, 1, 0.0),
        engine.decide,
    ]
    for call in calls:
        for event in call(state):
            state = engine.apply(state, event)
            events.append(event)
    return events


EVENTS = match_events()


def welcome(state: dict[str, Any] | None) -> str:
    return json.dumps({"t": "welcome", "protocol": 1, "match": "m1", "side": 0, "now": 0, "state": state})


def ev(*events: engine.Event) -> str:
    return json.dumps({"t": "ev", "e": [engine.event_to_json(event) for event in events]})


async def whole_match(socket: ServerConnection, hello: dict[str, Any]) -> None:
    """A new client gets the beginning, one that comes back gets what it missed."""
    version = hello["version"]
    await socket.send(welcome(None if version else engine.state_to_json(engine.initial(RULES))))
    await socket.send(ev(*EVENTS[version:]))
    await socket.wait_closed()


def closing(code: int, *, after: int | None = None) -> Script:
    """Close with `code`: at once, or after the welcome and so many events."""

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        if after is not None:
            await socket.send(welcome(engine.state_to_json(engine.initial(RULES))))
            await socket.send(ev(*EVENTS[:after]))
        await socket.close(code)

    return script


async def test_a_worker_of_an_earlier_release_is_spoken_to_in_its_protocol() -> None:
    said: list[int] = []

    async def older(socket: ServerConnection, hello: dict[str, Any]) -> None:
        said.append(hello["protocol"])
        if hello["protocol"] > 1:
            await socket.close(4426)
        else:
            await whole_match(socket, hello)

    async with worker(older, older) as site:
        bot = player(site)
        await bot.play()
    assert (bot.is_over, said) == (True, [2, 1])


async def test_plays_to_the_end() -> None:
    async with worker(whole_match) as site:
        bot = player(site)
        await bot.play()
    assert bot.state is not None
    assert (bot.state.phase, bot.state.score, bot.reconnects) == ("over", (1, 0), 0)


@pytest.mark.parametrize("code", [1012, 1001, 1011, 4401, 4404, 4408])
async def test_a_lost_socket_is_replaced_and_the_match_resumed_from_the_last_version(code: int) -> None:
    async with worker(closing(code, after=2), whole_match) as site:
        bot = player(site)
        await bot.play()
    assert bot.state is not None
    assert (bot.state.version, bot.reconnects, site.seats) == (len(EVENTS), 1, 2)


async def test_a_hand_over_is_followed_at_once_and_is_no_reconnect() -> None:
    async def moving(socket: ServerConnection, hello: dict[str, Any]) -> None:
        await socket.send(welcome(engine.state_to_json(engine.initial(RULES))))
        await socket.send(ev(EVENTS[0]))
        await socket.send('{"t": "move"}')
        await socket.wait_closed()

    async with worker(moving, whole_match) as site:
        bot = player(site)
        await bot.play()
    assert (bot.is_over, bot.moves, bot.reconnects) == (True, 1, 0)


@pytest.mark.parametrize("code", [1000, 1009, 4400, 4403, 4409, 4426])
async def test_a_close_that_a_player_cannot_mend_fails_and_names_the_code(code: int) -> None:
    async with worker(closing(code, after=1)) as site:
        with pytest.raises(Failure, match=str(code)):
            await player(site).play()
    assert site.seats == (2 if code == 4426 else 1)  # the number before is tried as well


async def test_a_second_refused_token_fails() -> None:
    async with worker(closing(4401)) as site:
        with pytest.raises(Failure, match="tokens are not accepted"):
            await player(site).play()
    assert site.seats == 2


def altered(index: int, **changes: Any) -> Script:
    """The whole match at once, with one event changed."""

    async def script(socket: ServerConnection, hello: dict[str, Any]) -> None:
        data = [engine.event_to_json(event) for event in EVENTS]
        data[index] |= changes
        await socket.send(welcome(engine.state_to_json(engine.initial(RULES))))
        await socket.send(json.dumps({"t": "ev", "e": data}))
        await socket.wait_closed()

    return script


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (altered(0, y=310.0), "the server put paddle 1 at 310.0, the rules say 300.0"),
        (altered(1, v=3), "version gap"),
        (altered(2, score=[0, 1]), "the rules say"),
        (altered(2, k="goal"), "does not keep to the protocol"),
    ],
)
async def test_a_server_that_breaks_the_rules_is_found_out(script: Script, complaint: str) -> None:
    async with worker(script) as site:
        with pytest.raises(Failure, match=complaint):
            await player(site).play()
