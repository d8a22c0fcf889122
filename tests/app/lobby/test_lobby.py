"""The lobby of several processes: whoever waits meets somebody, once, whatever dies meanwhile."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import structs
from prometheus_client import REGISTRY

import engine
from live.directory.revocations import STREAM, ban, revoke, unban
from live.events import Events
from live.records import Checkpoint
from lobby import hall as lobby_hall
from lobby.hall import ADDRESS_MAX, IDENTITY_MAX
from lobby.protocol import MESSAGE_BYTES, Claim, lobby_token
from lobby.queue import QUEUE, met_key, ticket_key
from tests.app.live.conftest import Socket, settle
from tests.app.lobby.conftest import Lobby, Player, PolledPlayer


async def test_two_strangers_meet_within_a_second(lobby: Lobby) -> None:
    other = lobby.open()
    ada = await lobby.wait("u:1", rating=1520.4)
    await lobby.beat()
    assert ada.last == {"t": "you", "state": "waiting", "waited_ms": 200}
    eve = await lobby.wait("g:eve", at=other)
    began = lobby.clock.now()
    match = await lobby.meet(ada, eve)
    assert lobby.clock.now() - began <= 1_000_000
    assert ada.last == {"t": "met", "match": match, "name": "G:Eve", "rating": None, "rated": False, "in_ms": 3000}
    assert eve.last["rating"] == 1520
    spec = await lobby.directory.matches.get(match)
    assert spec is not None
    assert {player.identity for player in spec.players if player} == {"u:1", "g:eve"}
    seat = await lobby.directory.matches.seat(match, identity="g:eve", name="Eve")
    assert (seat.worker, seat.side) == ("local-8101", spec.side_of("g:eve"))


async def test_a_lobby_that_nobody_has_open_asks_for_nothing(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    hall = lobby.halls[0]
    beats: list[float] = []

    async def beat() -> None:
        beats.append(lobby.clock.now())

    for name in ("TOGETHER_S", "BEAT_S", "SLOW_S"):
        monkeypatch.setattr(lobby_hall, name, 0)
    monkeypatch.setattr(hall, "beat", beat)
    running = asyncio.create_task(hall.run())
    await settle()
    assert not beats
    await lobby.come()
    assert beats
    hall.sessions.clear()
    await settle()
    await asyncio.wait_for(asyncio.gather(hall.stop(), running), 5)


async def test_two_accounts_meet_for_points(lobby: Lobby) -> None:
    ada, bob = await lobby.wait("u:1"), await lobby.wait("u:2")
    await lobby.meet(ada, bob)
    assert ada.last["rated"] is bob.last["rated"] is True


async def test_the_numbers_of_the_lobby_are_told(lobby: Lobby) -> None:
    await lobby.directory.workers.beat("local-8101", release="dev", draining=False, owned={"m1": 1, "m2": 1})
    looking = await lobby.come("g:ada")
    await lobby.come("g:ada")  # another tab
    await lobby.wait("g:bob", at=lobby.open())
    await lobby.beat(1, times=2)
    assert looking.site() == {"t": "site", "here": 2, "waiting": 1, "matches": 2, "courts": "free"}


async def test_the_queue_ends_with_the_tickets_in_it(lobby: Lobby) -> None:
    """Whoever waited at a process that was killed counts no longer than the ticket lives, though nobody looks."""
    await lobby.wait("g:ada", at=lobby.open())
    await lobby.beat(1)
    for key in (ticket_key("g:ada"), QUEUE):
        await lobby.store.persist(key)
    await lobby.beat(1)
    ends = [await lobby.store.ttl(key) for key in (ticket_key("g:ada"), QUEUE)]
    assert ends[0] > 0
    assert abs(ends[0] - ends[1]) <= 1


async def test_who_is_blocked_is_not_met_from_whichever_process(lobby: Lobby) -> None:
    async def avoided(identity: str) -> tuple[str, ...]:
        return ("u:2",) if identity == "u:1" else ()

    lobby.halls[0]._avoided = avoided
    ada, bob = await lobby.wait("u:1"), await lobby.wait("u:2", at=lobby.open())
    await lobby.beat(times=25)
    assert ada.last["state"] == bob.last["state"] == "waiting"
    carol = await lobby.wait("u:3")
    await lobby.meet(ada, carol)


async def test_a_banned_guest_has_no_lobby_now_and_later(lobby: Lobby) -> None:
    ada, bob = await lobby.wait("g:ada"), await lobby.wait("g:bob")
    await lobby.beat()
    await asyncio.to_thread(ban, "g:ada")
    await lobby.beat()
    assert (ada.close_code, bob.close_code) == (4401, None)
    assert (await lobby.come("g:ada")).close_code == 4401, "with a new token as well"
    await asyncio.to_thread(unban, "g:ada")
    assert (await lobby.come("g:ada")).close_code is None


async def test_who_was_logged_out_before_coming_is_let_be(lobby: Lobby) -> None:
    """An empty lobby hears of nothing; what it reads then is old."""
    await lobby.come("u:7")
    await lobby.store.xadd(STREAM, {"identity": "u:1"}, id="1000-1")
    ada = await lobby.wait("u:1")
    await lobby.beat(1)
    assert ada.close_code is None
    await asyncio.to_thread(revoke, "u:1")
    await lobby.beat(1)
    assert ada.close_code == 4401


async def test_who_has_no_websocket_meets_others_and_declines_by_leaving(lobby: Lobby) -> None:
    ada = await lobby.wait("g:ada")
    bob = await lobby.wait("g:bob", at=lobby.open(), carrier=PolledPlayer)
    match = await lobby.meet(ada, bob)
    for player in (ada, bob):
        player.say("coming", match=match)
    await settle()
    assert isinstance(bob, PolledPlayer)
    bob.leave()
    await lobby.beat()
    assert ada.last == {"t": "you", "state": "waiting", "waited_ms": 1200}
    bob = await lobby.wait("g:bob", carrier=PolledPlayer)
    await lobby.halls[0].stop()
    await settle()
    assert bob.close_code == 1012


async def test_who_does_not_come_costs_the_other_nothing(lobby: Lobby) -> None:
    ada = await lobby.wait("g:ada")
    await lobby.beat(5)
    ghost = await lobby.wait("g:ghost")
    match = await lobby.meet(ada, ghost)
    ada.say("coming", match=match)  # the ghost says nothing
    await lobby.beat(times=10)
    assert {"t": "off", "match": match} in ada.frames
    assert ghost.close_code == 1001, "it comes back if it is there, and does not keep the next one waiting"
    bob = await lobby.wait("g:bob")
    await lobby.meet(ada, bob)
    assert ada.last["match"] != match
    assert ada.heard("you")[-1]["waited_ms"] >= 5000, "its place is the old one"


async def test_who_comes_is_not_called_off(lobby: Lobby) -> None:
    ada, bob = await lobby.wait(), await lobby.wait()
    match = await lobby.meet(ada, bob)
    for player in (ada, bob):
        player.say("coming", match=match)
    await lobby.beat(times=20)
    assert not ada.heard("off") + bob.heard("off")


@pytest.mark.parametrize("way", ["cancel", "close"])
async def test_who_declines_leaves_the_other_waiting(lobby: Lobby, way: str) -> None:
    ada, bob = await lobby.wait("g:ada", at=lobby.open()), await lobby.wait("g:bob")
    match = await lobby.meet(ada, bob)
    for player in (ada, bob):
        player.say("coming", match=match)
    await settle()
    if way == "cancel":
        bob.say("cancel")
    else:
        bob._inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await lobby.beat()
    assert ada.story[-2:] == [{"t": "off", "match": match}, {"t": "you", "state": "waiting", "waited_ms": 1200}]
    carol = await lobby.wait("g:carol")
    await lobby.meet(ada, carol)
    if way == "cancel":
        assert bob.last == {"t": "you", "state": "idle", "waited_ms": 0}


async def test_a_page_that_goes_over_is_no_decline(lobby: Lobby) -> None:
    ada, bob = await lobby.wait(), await lobby.wait()
    match = await lobby.meet(ada, bob)
    for player in (ada, bob):
        player.say("coming", match=match)
    await lobby.beat(3)
    bob._inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await lobby.beat()
    assert not ada.heard("off")


async def test_who_cancels_is_gone(lobby: Lobby) -> None:
    ada = await lobby.wait()
    await lobby.beat()
    ada.say("cancel")
    await settle()
    assert ada.last["state"] == "idle"
    bob = await lobby.wait()
    await lobby.beat(times=40)
    assert bob.last["state"] == "waiting"


async def test_a_pair_that_nobody_was_told_of_is_told_by_another_process(lobby: Lobby) -> None:
    first, second = lobby.halls[0], lobby.open()
    ada, bob = await lobby.wait("g:ada", at=second), await lobby.wait("g:bob", at=second)
    await lobby.assert_tickets(second)
    one, other = await first._queue.waiting()
    assert await first._queue.pair(one, other, match="abc", at=first.now())
    lobby.kill(second)
    ada, bob = await lobby.wait("g:ada"), await lobby.wait("g:bob")
    await lobby.beat()
    assert ada.last["match"] == bob.last["match"] == "abc"


async def test_a_matchmaker_that_dies_is_replaced(lobby: Lobby) -> None:
    first, second = lobby.halls[0], lobby.open()
    await lobby.wait("g:ada")
    await lobby.beat()
    bob, carol = await lobby.wait("g:bob", at=second), await lobby.wait("g:carol", at=second)
    assert first._leads
    lobby.kill(first)
    await lobby.store.delete("mp:lobby:leader", ticket_key("g:ada"))  # both end by themselves, after 1 and 4 s
    await lobby.beat(times=5)
    assert second._leads
    assert bob.last["match"] == carol.last["match"]


async def test_a_valkey_that_lost_everything_is_told_again(lobby: Lobby) -> None:
    ada = await lobby.wait("g:ada")
    await lobby.beat(3)
    await lobby.store.flushall()
    await lobby.worker()
    bob = await lobby.wait("g:bob")
    await lobby.meet(ada, bob)


async def test_a_ticket_that_cannot_be_read_is_written_anew(lobby: Lobby) -> None:
    ada = await lobby.wait("g:ada")
    await lobby.beat()
    await lobby.store.set(ticket_key("g:ada"), '{"identity": ')
    await lobby.store.set("mp:lobby:ticket:g:odd", "[]")
    await lobby.store.zadd("mp:lobby:queue", {"g:odd": 1.0})
    bob = await lobby.wait("g:bob")
    await lobby.meet(ada, bob)


async def test_the_place_is_kept_when_the_server_stops(lobby: Lobby) -> None:
    first, second = lobby.halls[0], lobby.open()
    ada = await lobby.wait("g:ada")
    await lobby.beat(3)
    await first.stop()
    lobby.kill(first)
    assert ada.close_code == 1012
    ada = await lobby.wait("g:ada", at=second)
    await lobby.beat()
    assert ada.last["waited_ms"] >= 3000


async def test_a_page_that_says_nothing_does_not_wait(lobby: Lobby) -> None:
    looking, silent = await lobby.come(), await lobby.wait("g:silent")
    await lobby.beat(1, times=8)
    assert silent.close_code == 1001
    assert await lobby.store.get(ticket_key("g:silent")) is None
    assert looking.close_code is None
    await lobby.beat(60)
    looking.say("here")
    await lobby.beat(60)
    assert looking.close_code is None
    await lobby.beat(16)
    assert looking.close_code == 1001


async def test_a_second_page_of_a_player_waits_instead(lobby: Lobby) -> None:
    first = await lobby.wait("g:ada")
    await lobby.beat(3)
    second = await lobby.wait("g:ada", at=lobby.open())
    await lobby.beat(times=2)
    assert first.last["state"] == "elsewhere"
    assert second.last["state"] == "waiting"
    assert second.last["waited_ms"] >= 3000
    first.drop()
    await settle()
    assert await lobby.store.get(ticket_key("g:ada")), "it is not the loser's to take away"


async def test_logging_out_closes_every_lobby(lobby: Lobby) -> None:
    ada, bob = await lobby.wait("u:1"), await lobby.come("u:2", at=lobby.open())
    await lobby.beat()
    token = lobby_token(Claim("u:1", "Ada", None, ""))
    await asyncio.to_thread(revoke, "u:1")
    await lobby.beat()
    assert (ada.close_code, bob.close_code) == (4401, None)
    assert await lobby.store.get(ticket_key("u:1")) is None
    assert (await lobby.come("u:1", token=token)).close_code == 4401, "it is from before"


@pytest.mark.parametrize(("load", "courts"), [(0.99, "full"), (None, "none")])
async def test_nobody_is_paired_while_there_is_no_court(lobby: Lobby, load: float | None, courts: str) -> None:
    await (lobby.store.flushall() if load is None else lobby.worker(load=load))
    ada, bob = await lobby.wait(), await lobby.wait()
    await lobby.beat(1, times=5)
    assert ada.site()["courts"] == courts
    assert ada.last["state"] == bob.last["state"] == "waiting"
    await lobby.worker()
    for player in (ada, bob):
        player.say("here")
    await lobby.beat(1, times=2)
    assert ada.last["match"] == bob.last["match"]


async def test_without_valkey_the_lobby_says_so_and_comes_back(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await lobby.wait()
    await lobby.beat(1)
    hall = lobby.halls[0]
    with monkeypatch.context() as fault:
        fault.setattr(hall._queue, "look", failing)
        fault.setattr(lobby_hall, "BEAT_S", 0.0)
        running = asyncio.create_task(hall.run())
        for _ in range(100):
            await settle()
            if ada.site()["courts"] == "away":
                break
        hall.is_stopping = True
        await running
    await lobby.beat(1)
    assert ada.site()["courts"] == "free"
    assert ada.close_code is None


async def test_who_has_left_is_not_counted_while_valkey_is_away(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two processes that each remember one would look like two who wait and do not meet."""
    ada = await lobby.wait()
    await lobby.beat()
    assert REGISTRY.get_sample_value("matchpoint_lobby_waiting") == 1
    ada.drop()
    await settle()
    monkeypatch.setattr(lobby.directory.revocations, "after", failing)
    with pytest.raises(TimeoutError):
        await lobby.halls[0].beat()
    assert REGISTRY.get_sample_value("matchpoint_lobby_waiting") == 0


async def failing(*_: Any, **__: Any) -> Any:
    raise TimeoutError


def after(*messages: dict[str, Any]) -> Callable[[Player], None]:
    def say(player: Player) -> None:
        for message in messages:
            fields = dict(message)
            player.say(fields.pop("t"), **fields)

    return say


REFUSALS: dict[str, tuple[int, Callable[[Player], None]]] = {
    "not JSON": (4400, lambda player: player.say_raw("wait")),
    "brackets": (4400, lambda player: player.say_raw("[" * 1000)),
    "no object": (4400, lambda player: player.say_raw('["wait"]')),
    "no type": (4400, lambda player: player.say_raw("{}")),
    "a type that is no text": (4400, lambda player: player.say_raw('{"t": {}}')),
    "unknown type": (4400, after({"t": "waiting"})),
    "binary": (4400, lambda player: player.say_bytes(b"{}")),
    "too long": (1009, lambda player: player.say("here", padding="x" * MESSAGE_BYTES)),
    "wait with a field": (4400, after({"t": "wait", "rating": 9000})),
    "cancel with a field": (4400, after({"t": "cancel", "match": "abc"})),
    "here with a field": (4400, after({"t": "here", "n": 1})),
    "coming without a match": (4400, after({"t": "coming"})),
    "coming to a number": (4400, after({"t": "coming", "match": 7})),
    "coming to nothing": (4400, after({"t": "coming", "match": ""})),
    "coming to a long word": (4400, after({"t": "coming", "match": "x" * 33})),
    "hello again": (4400, after({"t": "hello", "protocol": 1, "token": "x"})),
    "a flood": (4429, after(*[{"t": "here"}] * 13)),
}
GREETINGS: dict[str, tuple[int, Callable[[Player], None]]] = {
    "no hello": (4400, after({"t": "wait"})),
    "hello without a token": (4400, after({"t": "hello", "protocol": 1})),
    "a token that is no text": (4400, after({"t": "hello", "protocol": 1, "token": None})),
    "a forged token": (4401, after({"t": "hello", "protocol": 1, "token": "a:b:c"})),
    "another protocol": (4426, after({"t": "hello", "protocol": 2, "token": "x"})),
    "a protocol that is no number": (4400, after({"t": "hello", "protocol": True, "token": "x"})),
}


async def test_each_refusal_has_its_code_and_a_sentence(lobby: Lobby) -> None:
    bystander = await lobby.wait("g:by")
    answers = {}
    for name, (_, say) in REFUSALS.items():
        player = await lobby.come()
        say(player)
        await settle()
        answers[name] = player.close_code
        assert player.frames[-1]["t"] == "error", name
        assert player.frames[-1]["detail"], name
    for name, (_, say) in GREETINGS.items():
        player = Player(lobby.clock)
        player.open("/ws/lobby")
        say(player)
        await settle()
        answers[name] = player.close_code
    assert answers == {name: code for name, (code, _) in (REFUSALS | GREETINGS).items()}
    assert bystander.close_code is None


@pytest.mark.parametrize(
    "message", [{"t": "coming", "match": "abc"}, {"t": "cancel"}, {"t": "here"}, {"t": "wait"}], ids=str
)
async def test_what_comes_at_the_wrong_time_changes_nothing(lobby: Lobby, message: dict[str, Any]) -> None:
    ada = await lobby.wait("g:ada")
    await lobby.beat()
    ada.say("wait")
    stranger = await lobby.come("g:stranger")
    after(message)(stranger)
    stranger.say("cancel")
    await lobby.beat()
    assert ada.last["state"] == "waiting"
    assert stranger.close_code is None
    assert await lobby.store.get(met_key("g:stranger")) is None


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
async def test_a_foreign_page_has_no_voice(lobby: Lobby, origin: str | None) -> None:
    assert (await lobby.come(origin=origin)).close_code == 4403


async def test_one_address_cannot_fill_the_hall(lobby: Lobby) -> None:
    pages = [await lobby.come("g:ada", address=str(number)) for number in range(IDENTITY_MAX + 1)]
    assert [page.close_code for page in pages] == [None] * IDENTITY_MAX + [4429]
    first = [await lobby.come(address="192.0.2.1") for _ in range(ADDRESS_MAX + 1)]
    assert [page.close_code for page in first if page.close_code] == [4429]
    assert (await lobby.come(address="192.0.2.2")).close_code is None


async def test_a_process_without_a_lobby_says_so(lobby: Lobby) -> None:
    lobby_hall.install(None)
    socket = Socket(lobby.clock)
    socket.open("/ws/lobby")
    await settle()
    assert socket.close_code == 4404


async def test_a_reader_that_is_too_slow_is_closed_and_holds_up_nobody(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lobby.session.SEND_S", 0.01)
    slow = await lobby.come("g:slow")
    slow.is_stalled = True
    (session,) = lobby.halls[0].sessions
    ada, bob = await lobby.wait(), await lobby.wait()
    await lobby.meet(ada, bob)
    async with asyncio.timeout(30):
        while session.close_code is None:
            await lobby.beat(1)
            await asyncio.sleep(0.01)
    assert session.close_code == 4408


async def test_a_crowd_over_four_processes_meets_while_one_is_killed(lobby: Lobby) -> None:
    """200 players: nobody in two pairs, nobody forgotten, and two processes that both think they lead."""
    halls = [lobby.halls[0], *(lobby.open() for _ in range(3))]
    come = partial(lobby.wait)
    players = {
        f"g:{n}": await come(f"g:{n}", at=halls[n % 4], rating=1500 + 7.0 * (n % 90), address=str(n))
        for n in range(200)
    }
    for hall in halls:
        await lobby.assert_tickets(hall)
    await lobby.clock.advance(0.2)
    await asyncio.gather(halls[0].make_pairs(), halls[1].make_pairs())
    lobby.kill(halls[0])  # which has told nobody but its own
    for n in range(0, 200, 4):
        if players[f"g:{n}"].last["t"] != "met":
            players[f"g:{n}"] = await come(f"g:{n}", at=halls[1], rating=1500.0, address=str(n))
    await lobby.store.delete("mp:lobby:leader")
    for _ in range(6):
        await lobby.beat(0.3)
        for player in players.values():
            for frame in player.heard("met"):
                player.frames.remove(frame)
                player.frames.append(frame | {"t": "went"})
                player.say("coming", match=frame["match"])
    matches = Counter(frame["match"] for player in players.values() for frame in player.heard("went")[-1:])
    assert set(matches.values()) == {2}
    assert len(matches) == 100
    for match in matches:
        spec = await lobby.directory.matches.get(match)
        assert spec is not None
        told = {who for who, player in players.items() if player.heard("went")[-1]["match"] == match}
        assert told == {player.identity for player in spec.players if player}


def test_tokens_hold_names_of_any_script() -> None:
    """As the first message must not be longer than a message may be."""
    token = lobby_token(Claim("u:12345678901", "\U0001f3d3" * 30, 1500.123456, "2001:db8:0:1::"))
    assert len(token) < MESSAGE_BYTES - 100


async def test_matches_of_those_who_met_can_be_watched_the_strongest_first(lobby: Lobby) -> None:
    looking = await lobby.come()
    matches = []
    for pair, rating in enumerate((1400.0, 1900.0)):
        one, other = await lobby.wait(f"u:{pair}1", rating=rating), await lobby.wait(f"u:{pair}2", rating=rating)
        matches.append(await lobby.meet(one, other))
    await lobby.beat(1)
    assert looking.heard("courts")[-1]["matches"] == [], "nobody plays yet"
    for match in matches:
        await begin(lobby, match, (2, 1))
    owned = dict.fromkeys(matches, 1)
    await lobby.directory.workers.beat(
        "local-8101", release="dev", draining=False, owned=owned, watched={matches[0]: 4, matches[1]: 0}
    )
    await lobby.beat(1)
    shown = looking.heard("courts")[-1]["matches"]
    assert [(match["id"], match["score"], match["watching"]) for match in shown] == [
        (matches[1], [2, 1], 0), (matches[0], [2, 1], 4),
    ]  # fmt: skip
    assert set(shown[1]["names"]) == {"U:01", "U:02"}

    await lobby.store.set(f"mp:match:{matches[1]}:snapshot", "{")
    await lobby.store.set(f"mp:match:{matches[0]}:over", "1")
    await lobby.beat(1)
    assert looking.heard("courts")[-1]["matches"] == []
    await lobby.store.delete(f"mp:match:{matches[1]}")
    await lobby.beat(1)
    assert await lobby.store.zcard("mp:lobby:matches") == 0


async def begin(lobby: Lobby, match: str, score: tuple[int, int]) -> None:
    """The match has come to a rally boundary."""
    await lobby.directory.matches.seat(match, identity="g:watcher", name="")
    claim = await lobby.directory.leases.claim(match, worker="local-8101")
    state = engine.state_to_json(structs.replace(engine.initial(), version=9, score=score))
    moment = lobby.clock.wall()
    checkpoint = Checkpoint(state, Events.of([]), now=5, saved_at=moment, started_at=moment, away=(0, 0))
    await lobby.directory.leases.checkpoint(match, worker="local-8101", epoch=claim.epoch, checkpoint=checkpoint)
