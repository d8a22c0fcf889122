"""The second transport: sockets that requests carry, without a network."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from live.protocol.tokens import seat_token
from live.transport.poll import BODY_BYTES
from tests.app.live.conftest import ORIGIN, House, Socket, settle
from tests.app.live.transport.polled import Polled, Request, ask, sessions


@pytest.fixture(autouse=True)
async def goodbyes(house: House) -> AsyncIterator[None]:
    yield
    for session, (path, origin) in sessions.items():
        await ask(path, session=session, origin=origin, bye=True)
    sessions.clear()


def polled() -> float:
    return REGISTRY.get_sample_value("matchpoint_ws_polled") or 0


async def sat_down(house: House) -> tuple[str, str, list[Any]]:
    """Ada's session at a match that waits for a friend: its path, its id, and what it heard first."""
    match_id = await house.match()
    seat = await house.directory.matches.seat(match_id, identity="g:ada", name="Ada")
    token = seat_token(match_id=match_id, identity="g:ada", side=seat.side, worker=seat.worker)
    path = f"/ws/{seat.worker}/match/{match_id}"
    house.socket()
    hello = {"t": "hello", "protocol": 2, "token": token, "version": 0, "owner": ""}
    _, answer = await ask(path, messages=[hello], wait=True)
    return path, answer["session"], answer["messages"]


def ping(c: int) -> dict[str, Any]:
    return {"t": "ping", "c": c, "rtt": None}


def pongs(answer: dict[str, Any]) -> list[int]:
    return [message["c"] for message in answer["messages"] if message["t"] == "pong"]


async def test_a_match_between_both_transports_goes_to_its_end(house: House) -> None:
    await house.worker()
    before = polled()
    match_id = await house.match(points=3)
    ada = await house.player(match_id, aim=0, carrier=Polled).join()
    assert polled() == before + 1
    bob = await house.player(match_id, "g:bob").join()
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    assert ada.score == bob.score == (3, 0)
    assert ada.events == bob.events
    assert len(ada.happened("hit")) >= 3
    await house.clock.until(lambda: ada.socket.close_code is not None)
    assert ada.socket.close_code == 1000
    assert polled() == before


async def test_who_loses_a_session_comes_back_by_the_events_missed(house: House) -> None:
    await house.worker()
    match_id = await house.match()
    ada = await house.player(match_id, carrier=Polled).join()
    bob = await house.player(match_id, "g:bob", aim=0).join()
    await house.clock.until(lambda: ada.happened("serve"))
    ada.socket.drop()
    await house.clock.until(lambda: any(not frame["online"] for frame in bob.socket.heard("peer")), 4)
    await ada.join()
    assert ada.socket.heard("welcome")[0]["state"] is None
    assert ada.version == bob.version


CLOSES: list[tuple[str, dict[str, Any], int]] = [
    ("no hello", {"messages": [{"t": "leave"}]}, 4400),
    ("no message", {"messages": [7]}, 4400),
    ("bad token", {"messages": [{"t": "hello", "protocol": 2, "token": "x", "version": 0}]}, 4401),
    ("old page", {"messages": [{"t": "hello", "protocol": 9, "token": "x", "version": 0}]}, 4426),
    ("foreign origin", {"messages": [{"t": "leave"}], "origin": "https://evil.example"}, 4403),
    ("no origin", {"messages": [{"t": "leave"}], "origin": None}, 4403),
    ("too long", {"messages": [{"t": "hello", "token": "x" * 1024}]}, 1009),
    ("too many", {"messages": [{"t": "leave"}] * 62}, 4429),
]


@pytest.mark.parametrize("case", CLOSES, ids=lambda case: case[0])
async def test_what_closes_a_socket_closes_a_session(house: House, case: tuple[str, dict[str, Any], int]) -> None:
    _, fields, code = case
    await house.worker()
    house.socket()
    status, answer = await ask("/ws/local-8101/match/m1", **fields, wait=True)
    assert (status, answer["close"]) == (200, code)
    again, _ = await ask(
        "/ws/local-8101/match/m1", session=answer["session"], wait=True, origin=fields.get("origin", ORIGIN)
    )
    assert again == 200  # an answer that was lost can be had again
    await house.clock.advance(6)
    assert (await ask("/ws/local-8101/match/m1", session=answer["session"]))[0] == 404


async def test_an_address_that_is_no_socket_is_refused(house: House) -> None:
    await house.worker()
    house.socket()
    assert (await ask("/ws/elsewhere", messages=[ping(1)], wait=True))[1]["close"] == 4404


async def test_requests_that_belong_to_no_session_are_explained(house: House) -> None:
    await house.worker()
    path, session, _ = await sat_down(house)
    refusals: list[tuple[int, str, dict[str, Any]]] = [
        (405, "Use POST", {"method": "GET"}),
        (415, "Content-Type", {"kind": "text/plain"}),
        (400, "not a request", {"body": b"{"}),
        (400, "not a request", {"body": b"[" * 5000}),
        (400, "unknown field", {"sessions": 1}),
        (400, "ack", {"ack": -1}),
        (413, str(BODY_BYTES), {"body": b" " * (BODY_BYTES + 1)}),
        (400, "first message", {}),
        (404, "take the seat again", {"session": "guessed"}),
        (403, "Origin", {"session": session, "origin": "https://evil.example"}),
    ]
    for status, word, fields in refusals:
        answered, answer = await ask(path, **fields)
        assert (answered, word in answer["detail"]) == (status, True), (fields, answer)
    assert (await ask(path + "2", session=session))[0] == 404  # of another match
    assert (await ask(path, session=session, messages=[ping(1)]))[0] == 200


async def test_messages_are_heard_once_and_in_order_whatever_the_network_does(house: House) -> None:
    await house.worker()
    path, session, first = await sat_down(house)
    heard = len(first)
    status, early = await ask(path, session=session, at=2, ack=heard, messages=[ping(2)])  # the second comes first
    assert (status, pongs(early)) == (200, [])
    _, answer = await ask(path, session=session, at=1, ack=heard, messages=[ping(1)])
    assert pongs(answer) == [1, 2]
    _, again = await ask(path, session=session, at=1, ack=heard, messages=[ping(1), ping(2), ping(3)])
    assert pongs(again) == [1, 2, 3]  # the answer was lost: what is new is heard, all of it is told
    _, rest = await ask(path, session=session, at=1, ack=answer["at"] + 2, messages=[ping(1)])
    assert pongs(rest) == [3]
    _, gap = await ask(path, session=session, at=500, ack=0, messages=[ping(9)])
    assert gap["close"] == 4400


async def test_one_request_is_held_and_ends_before_proxies_cut_it(house: House) -> None:
    await house.worker()
    path, session, first = await sat_down(house)
    held = Request(path, session=session, ack=len(first), wait=True)
    await settle()
    second = Request(path, session=session, ack=len(first), wait=True)
    await settle()
    assert (held.status, second.status) == (200, None)
    await house.clock.advance(19.9)
    assert second.status is None
    await house.clock.advance(0.2)
    assert (second.status, second.answer["messages"]) == (200, [])


async def test_what_follows_from_a_message_comes_with_its_answer_and_the_rest_by_the_held_request(house: House) -> None:
    await house.worker()
    path, session, first = await sat_down(house)
    held = Request(path, session=session, ack=len(first), wait=True)
    await settle()
    _, answer = await ask(path, session=session, at=1, ack=len(first), messages=[ping(1)])
    assert pongs(answer) == [1]
    await settle()
    assert pongs(held.answer) == [1]  # a ping lets it go: its next one ends the measurement of a round trip
    held = Request(path, session=session, ack=answer["at"] + len(answer["messages"]), wait=True)
    await settle()
    assert held.status is None
    await house.player(path.rpartition("/")[2], "g:bob").join()
    assert held.status == 200
    assert "peer" in {message["t"] for message in held.answer["messages"]}


async def test_the_server_measures_from_an_answer_to_the_next_request(house: House) -> None:
    await house.worker()
    path, session, first = await sat_down(house)
    meter = next(iter(house.workers["local-8101"].owners.values()))._seats[0].meter
    for at, wait in ((1, 0.07), (2, 4)):  # the second time the answer was lost: that measures nothing
        await house.clock.advance(wait)
        held = Request(path, session=session, ack=len(first), wait=True)
        await settle()
        await ask(path, session=session, at=at, ack=len(first), messages=[ping(at)])
        await held.task
        assert meter.rtt == 70_000


async def test_who_sends_no_request_is_gone_and_who_says_goodbye_at_once(house: House) -> None:
    await house.worker()
    before = polled()
    path, session, _ = await sat_down(house)
    await house.clock.advance(4.9)
    assert polled() == before + 1
    await house.clock.advance(0.3)
    assert polled() == before
    assert (await ask(path, session=session))[0] == 404

    path, session, first = await sat_down(house)
    held = Request(path, session=session, ack=len(first), wait=True)
    await house.clock.advance(15)
    assert polled() == before + 1
    held.leave()
    await settle()
    assert (held.task.done(), held.status) == (True, None)
    await house.clock.advance(5.1)
    assert polled() == before

    path, session, _ = await sat_down(house)
    await ask(path, session=session, bye=True)
    assert polled() == before
    assert not house.workers["local-8101"].connections


async def test_a_client_that_acknowledges_nothing_is_closed_with_4408(house: House) -> None:
    await house.worker()
    match_id = await house.match(points=21)
    ada = await house.player(match_id, carrier=Polled).join()
    bob = await house.player(match_id, "g:bob", aim=0).join()
    await house.clock.until(lambda: ada.happened("serve"))
    assert isinstance(ada.socket, Polled)
    ada.socket.is_reading = False
    await house.clock.until(lambda: ada.socket.close_code is not None, 120)
    assert ada.socket.close_code == 4408
    assert max(len(request.answer.get("messages", ())) for request in ada.socket.requests) <= 65
    assert bob.socket.close_code is None


async def test_too_many_requests_close_the_session(house: House) -> None:
    await house.worker()
    path, session, _ = await sat_down(house)
    for _ in range(130):
        _, answer = await ask(path, session=session)
        if "close" in answer:
            break
    assert answer["close"] == 4429


async def test_a_worker_that_stops_takes_itssessions_along(house: House) -> None:
    first = await house.worker()
    match_id = await house.match()
    ada = await house.player(match_id, carrier=Polled).join()
    bob = await house.player(match_id, "g:bob").join()
    await house.clock.until(lambda: ada.happened("serve") and bob.happened("serve"))
    await house.worker("local-8102")
    await house.worker_stops(first)
    assert ada.socket.heard("move")
    assert ada.socket.close_code == 1012
    assert not first.connections


async def test_a_process_without_a_worker_says_so() -> None:
    status, answer = await ask("/ws/local-8101/match/m1", messages=[ping(1)])
    assert (status, answer["error"]) == (404, "no-worker")


@pytest.mark.parametrize("carrier", [Socket, Polled])
async def test_the_echo_answers_pings_over_both_transports(house: House, carrier: type[Socket]) -> None:
    worker = await house.worker()
    socket = carrier(house.clock)
    house.socket()
    socket.open(f"/ws/{worker.name}/echo")
    for c in range(1, 4):
        socket.say("ping", c=c, rtt=None)
        await house.clock.advance(0.05)
    assert [frame["c"] for frame in socket.heard("pong")] == [1, 2, 3]
    assert socket.heard("pong")[0]["s"] == pytest.approx(house.clock.wall().timestamp() * 1000, abs=1000)
    assert socket.heard("pong")[2]["lag"] >= 0
    socket.say("leave")
    await house.clock.advance(0.1)
    assert socket.close_code == 4400


@pytest.mark.parametrize("wrong", [{"origin": "https://evil.example"}, {"path": "/ws/other-1/echo"}])
async def test_the_echo_is_for_pages_of_the_site_at_the_worker_named(house: House, wrong: dict[str, str]) -> None:
    await house.worker()
    socket = house.socket()
    socket.open(wrong.get("path", "/ws/local-8101/echo"), origin=wrong.get("origin", ORIGIN))
    await settle()
    assert socket.close_code == (4403 if "origin" in wrong else 4404)
