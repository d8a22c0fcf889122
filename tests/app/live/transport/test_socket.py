"""What a socket may not do. Each bad one is closed with its code, while the others' match goes on."""

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from live.directory import MatchOver
from live.protocol.codec import MESSAGE_BYTES
from live.protocol.socket import Frame
from live.protocol.tokens import seat_token
from live.transport.connection import QUEUE_BYTES, Connection
from tests.bench.matches.servers import seats_in


async def goes_on(house: Any, *players: Any) -> None:
    """The players' match is played to its end by score."""
    await house.clock.until(lambda: all(player.is_over for player in players))
    assert {player.state.reason for player in players} == {"score"}
    assert all(player.socket.close_code is None for player in players)


def flood(socket: Any) -> None:
    for _ in range(70):
        socket.say("ping", c=1, rtt=None)


BAD_MESSAGES: dict[str, tuple[int, Callable[[Any], None]]] = {
    "not JSON": (4400, lambda socket: socket.say_raw("{")),
    "not an object": (4400, lambda socket: socket.say_raw("[1]")),
    "nested beyond measure": (4400, lambda socket: socket.say_raw("[" * MESSAGE_BYTES)),
    "binary": (4400, lambda socket: socket.say_bytes(b"\x00\x01")),
    "unknown type": (4400, lambda socket: socket.say("dispatch")),
    "type is not a text": (4400, lambda socket: socket.say_raw('{"t": {}}')),
    "field too many": (4400, lambda socket: socket.say("leave", side=0)),
    "field missing": (4400, lambda socket: socket.say("in", seq=1, at=1)),
    "NaN": (4400, lambda socket: socket.say_raw('{"t": "in", "seq": 1, "at": 1, "target": NaN}')),
    "infinite": (4400, lambda socket: socket.say_raw('{"t": "in", "seq": 1, "at": 1, "target": 1e999}')),
    "number as text": (4400, lambda socket: socket.say("in", seq="1", at=1, target=1)),
    "boolean as number": (4400, lambda socket: socket.say("in", seq=True, at=1, target=1)),
    "fraction as whole number": (4400, lambda socket: socket.say("in", seq=1, at=1.5, target=1)),
    "huge number": (4400, lambda socket: socket.say("in", seq=1, at=10**300, target=1)),
    "second hello": (4400, lambda socket: socket.say("hello", protocol=1, token="x", version=0)),
    "too large": (1009, lambda socket: socket.say("leave", padding="x" * MESSAGE_BYTES)),
    "too large in bytes": (1009, lambda socket: socket.say_raw('"' + "ü" * (MESSAGE_BYTES - 2) + '"')),
    "flood": (4429, flood),
}


@pytest.mark.parametrize("case", BAD_MESSAGES)
async def test_a_bad_message_closes_its_socket_and_touches_nobody_else(house: Any, case: str) -> None:
    code, misbehave = BAD_MESSAGES[case]
    await house.worker()
    ada, bob = await house.pair()
    eve = await house.player(ada.match_id, "g:eve").join()

    misbehave(eve.socket)
    await house.clock.advance(0.01)

    assert eve.socket.close_code == code
    assert eve.socket.heard("error")[-1]["code"] == code
    assert eve.socket.is_done
    await goes_on(house, ada, bob)


async def test_a_player_who_misbehaves_can_come_back(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    ada.socket.say("dispatch")
    await house.clock.advance(2)
    assert ada.socket.close_code == 4400
    assert bob.socket.heard("peer")[-1]["online"] is False

    await ada.join()

    await goes_on(house, ada, bob)


async def test_a_slow_reader_is_closed(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=21, aims=(0, 0))
    eve = await house.player(ada.match_id, "g:eve").join(pings=False)
    eve.socket.is_stalled = True
    for _ in range(9):
        eve.socket.say("ping", c=1, rtt=None)
        await house.clock.advance(9, until=lambda: eve.socket.close_code is not None)

    assert eve.socket.close_code == 4408
    assert eve.socket.is_done
    assert (ada.socket.close_code, bob.socket.close_code) == (None, None)
    assert ada.state == bob.state


@pytest.mark.parametrize("origin", ["https://evil.example", "http://testserver.evil.example", "null", None])
async def test_a_foreign_origin_is_refused(house: Any, origin: str | None) -> None:
    await house.worker()
    ada, bob = await house.pair()
    eve = await house.player(ada.match_id, "g:eve").join(origin=origin)

    assert eve.socket.is_accepted, "a browser cannot see why a handshake failed"
    assert eve.socket.close_code == 4403
    assert not eve.socket.heard("welcome")
    await goes_on(house, ada, bob)


async def test_hello_has_to_come_within_five_seconds(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    socket = house.socket()
    socket.open(f"/ws/local-8101/match/{ada.match_id}")
    await house.clock.advance(4.9)
    assert socket.close_code is None
    await house.clock.advance(0.2)

    assert socket.close_code == 4401
    await goes_on(house, ada, bob)


async def refusal(house: Any, path: str, hello: dict[str, Any]) -> int:
    socket = house.socket()
    socket.open(path)
    socket.say_raw(json.dumps(hello))
    await house.clock.advance(0.01)
    assert not socket.heard("welcome")
    assert isinstance(socket.close_code, int)
    return socket.close_code


async def test_a_page_is_answered_in_the_protocol_that_it_speaks(house: Any) -> None:
    await house.worker()
    match_id = await house.match()
    seat = await house.directory.matches.seat(match_id, identity="g:ada", name="Ada")
    token = seat_token(match_id=match_id, identity="g:ada", side=0, worker=seat.worker)
    for protocol in (1, 2):
        socket = house.socket()
        socket.open(f"/ws/{seat.worker}/match/{match_id}")
        socket.say("hello", protocol=protocol, token=token, version=0, later="fields of a hello pass")
        await house.clock.advance(0.01)
        assert socket.heard("welcome")[0]["protocol"] == protocol


async def test_a_hello_needs_the_token_of_this_seat(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    there = f"/ws/local-8101/match/{ada.match_id}"

    def hello(**claim: Any) -> dict[str, Any]:
        claim = {"match_id": ada.match_id, "identity": "g:eve", "side": None, "worker": "local-8101", **claim}
        return {"t": "hello", "protocol": 1, "token": seat_token(**claim), "version": 0}

    forged = hello()
    forged["token"] = forged["token"][:-3] + "AAA"
    assert await refusal(house, there, forged) == 4401
    assert await refusal(house, there, hello(match_id="other")) == 4401
    assert await refusal(house, there, hello(worker="local-8102")) == 4401
    assert await refusal(house, there, hello(side=0)) == 4401
    assert await refusal(house, there, {"t": "ping", "c": 1, "rtt": None}) == 4400
    assert await refusal(house, there, {**hello(), "protocol": 4}) == 4426
    assert await refusal(house, there, {**hello(), "protocol": "1"}) == 4400
    assert await refusal(house, there, {"t": "hello", "protocol": 1, "token": "x"}) == 4400
    elsewhere = "/ws/local-8102/match/" + ada.match_id
    assert await refusal(house, elsewhere, hello(worker="local-8102")) == 4404
    unknown = "/ws/local-8101/match/nosuchmatch"
    assert await refusal(house, unknown, hello(match_id="nosuchmatch")) == 4404
    await goes_on(house, ada, bob)


async def test_a_token_expires(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.worker()
    match_id = await house.match()
    token = seat_token(match_id=match_id, identity="g:ada", side=0, worker="local-8101")
    later = time.time() + 61
    monkeypatch.setattr("time.time", lambda: later)

    hello = {"t": "hello", "protocol": 1, "token": token, "version": 0}
    assert await refusal(house, f"/ws/local-8101/match/{match_id}", hello) == 4401


async def test_a_process_without_a_worker_has_no_matches(house: Any) -> None:
    socket = house.socket()
    socket.open("/ws/local-8001/match/abc")
    await house.clock.advance(0.01)
    assert socket.close_code == 4404


async def test_a_match_that_fails_again_and_again_is_given_up(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await house.worker()
    ada = house.player(await house.match("ai"))

    def fail(*args: Any) -> Any:
        raise RuntimeError("boom")

    monkeypatch.setattr("engine.decide", fail)
    for _ in range(3):
        await ada.join()
        await house.clock.until(lambda: ada.socket.close_code == 1012)
    await worker.settle()

    with pytest.raises(MatchOver):
        await ada.join()


async def test_a_point_right_before_a_failure_is_not_lost(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    await house.clock.until(lambda: ada.happened("serve"))

    def fail(*args: Any) -> Any:
        raise RuntimeError("boom")

    with monkeypatch.context() as broken:
        broken.setattr("engine.serve", fail)
        await house.clock.until(lambda: ada.socket.close_code is not None)
    await ada.join()
    await bob.join()

    assert sum(ada.score) == 1
    await goes_on(house, ada, bob)


async def test_an_owner_that_fails_goes_back_to_the_last_boundary(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    await house.clock.until(lambda: sum(ada.score) == 1)
    await house.settle()

    def fail(*args: Any) -> Any:
        raise RuntimeError("boom")

    with monkeypatch.context() as broken:
        broken.setattr("engine.decide", fail)
        await house.clock.until(lambda: ada.socket.close_code is not None)
    assert (ada.socket.close_code, bob.socket.close_code) == (1012, 1012)

    await ada.join()
    await bob.join()
    assert sum(ada.score) == 1
    await goes_on(house, ada, bob)


async def test_the_seats_of_the_benchmark_are_let_in(house: Any) -> None:
    """So that a change of the live tier cannot break `make bench-matches` unseen."""
    worker = await house.worker()
    for line in await seats_in(house.directory, worker.name, 1):
        path, _, hello = line.partition("\t")
        socket = house.socket()
        socket.open(path)
        socket.say_raw(hello)
        await house.clock.until(lambda socket=socket: socket.heard("welcome"), 5)


async def test_a_reader_that_lets_bytes_pile_up_is_closed_before_the_messages_are_many(house: Any) -> None:
    stopped = SimpleNamespace(write=lambda message: False, serverClose=lambda code=None: None, on_room=None)
    connection = Connection(None, house.clock, lambda: None, stopped)  # type: ignore[arg-type]
    frame = Frame("ev", b"x" * (QUEUE_BYTES // 2))
    connection.send(frame)
    connection.send(frame)
    assert not connection.closing
    connection.send(Frame("ev", b"x"))
    assert connection.close_reason == "timeout"
