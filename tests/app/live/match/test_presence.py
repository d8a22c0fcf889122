"""Players who come, go, come back, or only watch."""

import json
from contextlib import suppress
from typing import Any

import pytest

from live.directory import MatchOver
from live.protocol.tokens import seat_token
from tests.app.live.conftest import Socket
from tests.app.live.transport.polled import Request


async def test_a_player_who_comes_back_in_time_gets_what_was_missed_and_no_more(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5, aims=(None, 0))
    await house.clock.until(lambda: sum(ada.score) == 1)
    held = ada.version

    ada.socket.drop()
    await house.clock.advance(8)
    await ada.join()
    await house.clock.advance(0.1)

    assert ada.socket.heard("welcome")[0]["state"] is None
    assert ada.socket.heard("ev")[0]["e"][0]["v"] == held + 1
    assert ada.state == bob.state
    await house.clock.until(lambda: ada.is_over and bob.is_over)
    assert ada.state == bob.state
    assert ada.state.reason == "score"


async def test_a_page_that_was_loaded_anew_gets_a_key_frame(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    await house.clock.until(lambda: sum(ada.score) == 1)

    fresh = await house.player(ada.match_id, "g:ada").join()

    assert fresh.state == bob.state
    fresh.move(80.0)
    await house.clock.advance(0.1)
    assert fresh.happened("pad")[-1]["seq"] == 1, "inputs are counted from 1 again"


async def test_a_rally_is_played_to_its_end_before_the_pause(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=5)
    await house.clock.until(lambda: ada.state.ball is not None and ada.now > ada.state.ball.t)

    ada.socket.drop()
    await house.clock.advance(4)

    kinds = [event["k"] for event in bob.events if event["k"] in ("point", "pause", "serve")]
    assert kinds == ["serve", "point", "pause"]
    assert bob.happened("pause")[0]["side"] == 0
    assert bob.socket.heard("peer")[-1]["online"] is False


async def test_an_announced_serve_is_called_off_when_a_player_goes(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    await house.clock.advance(1)
    ada.socket.drop()
    await house.clock.advance(5)
    assert [event["k"] for event in bob.events if event["k"] != "pad"][-1] == "pause"

    before = bob.now
    await ada.join()

    assert [event["k"] for event in bob.events if event["k"] != "pad"][-2:] == ["resume", "serve"]
    assert bob.happened("serve")[-1]["t"] - before == 3_000_000


async def test_a_player_who_stays_away_for_thirty_seconds_loses(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    ada.socket.drop()

    await house.clock.advance(29)
    assert not bob.is_over
    await house.clock.advance(2)
    await house.settle()

    assert (bob.state.reason, bob.state.winner) == ("forfeit", 1)
    assert (house.saved[0].reason, house.saved[0].winner) == ("forfeit", 1)


async def test_the_grace_is_for_the_whole_match(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    for _ in range(2):
        ada.socket.drop()
        await house.clock.advance(12)
        await ada.join()
        await house.clock.advance(0.5)
    assert not bob.is_over

    ada.socket.drop()
    await house.clock.advance(0.1)
    assert 5_000 < bob.socket.heard("peer")[-1]["grace_ms"] <= 6_000
    await house.clock.advance(6)

    assert bob.state.reason == "forfeit"


async def test_coming_and_going_does_not_put_a_defeat_off(house: Any) -> None:
    """A player who drops in each countdown and is back at once would never be served to."""
    await house.worker()
    ada, bob = await house.pair()
    for _ in range(30):
        if bob.is_over:
            break
        ada.socket.drop()
        await house.clock.advance(0.03)
        with suppress(MatchOver):  # which bob is told when it is stored
            await ada.join(pings=False)
        await house.clock.advance(1)

    assert (bob.state.reason, bob.state.winner) == ("forfeit", 1)


def looks_in(house: Any, worker: Any, match_id: str) -> Any:
    """A watcher at the door of a worker, whatever the directory says."""
    late = house.player(match_id, "g:late")
    late.socket.open(f"/ws/{worker.name}/match/{match_id}")
    token = seat_token(match_id=match_id, identity="g:late", side=None, worker=worker.name)
    late.socket.say("hello", protocol=2, token=token, version=0)
    return late


async def test_a_newcomer_hears_a_point_when_it_is_stored_and_no_earlier(house: Any) -> None:
    worker = await house.worker()
    ada, bob = await house.pair()
    owner = worker.owners[ada.match_id]
    await house.clock.until(lambda: ada.state.ball is not None)
    owner._host = Undecided(worker)
    await house.clock.until(lambda: sum(owner._state.score) == 1)
    assert sum(ada.score) == 0

    late = looks_in(house, worker, ada.match_id)
    await house.clock.advance(0.5)

    assert not late.socket.heard("welcome"), "it would tell what may still be lost"
    assert sum(ada.score) == sum(bob.score) == 0
    point = owner._decided
    owner.kept(point - 1)
    await house.clock.advance(0.1)
    assert sum(ada.score) == 0, "an older checkpoint says nothing of this point"
    assert (owner._state.phase, owner._state.reason) == ("paused", "server"), "the match stands still meanwhile"
    owner.kept(point)
    await house.clock.until(lambda: late.socket.heard("welcome"))
    assert sum(ada.score) == sum(bob.score) == 1


class Undecided:
    """A worker whose directory does not answer: nothing is stored, and another may have the match."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def keep(self, owner: Any, checkpoint: Any) -> None:
        pass


async def test_a_socket_that_comes_to_a_stopped_match_is_sent_away(house: Any) -> None:
    """Its owner may have stopped while the directory was asked; whoever stayed would wait for ever."""
    worker = await house.worker()
    ada, _ = await house.pair()
    worker.owners[ada.match_id].stop(1012, moved=True)

    late = looks_in(house, worker, ada.match_id)
    await house.clock.advance(2)

    assert late.socket.close_code == 1012


async def test_a_match_that_both_left_behind_is_abandoned(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    ada.socket.drop()
    await house.clock.advance(5)
    bob.socket.drop()

    await house.clock.advance(58)
    assert not house.saved
    await house.clock.advance(3)
    await house.settle()

    assert (house.saved[0].reason, house.saved[0].winner) == ("abandoned", None)


async def test_nobody_loses_by_grace_while_both_are_away(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    ada.socket.drop()
    await house.clock.advance(20)
    bob.socket.drop()
    await house.clock.advance(50)

    await ada.join()
    await house.clock.advance(29)

    assert not ada.is_over, "bob has his own thirty seconds"
    await house.clock.advance(2)
    assert (ada.state.reason, ada.state.winner) == ("forfeit", 0)


async def test_who_leaves_loses_at_once(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    await house.clock.advance(5)
    bob.socket.say("leave")
    await house.clock.advance(0.1)
    await house.settle()

    assert (ada.state.reason, ada.state.winner) == ("forfeit", 0)
    assert bob.socket.close_code == 1000
    assert len(house.saved) == 1


@pytest.mark.parametrize("way", ["socket", "poll"])
async def test_who_comes_back_only_to_leave_has_left(house: Any, way: str) -> None:
    """Both words at once, and while a point is held back: nobody is let in, and the second word counts all the same."""
    worker = await house.worker()
    ada, bob = await house.pair()
    owner = worker.owners[ada.match_id]
    await house.clock.until(lambda: ada.state.ball is not None)
    owner._host = Undecided(worker)
    await house.clock.until(lambda: sum(owner._state.score) == 1)
    bob.socket.drop()
    path = f"/ws/{worker.name}/match/{ada.match_id}"
    token = seat_token(match_id=ada.match_id, identity="g:bob", side=1, worker=worker.name)
    words = [{"t": "hello", "protocol": 2, "token": token, "version": 0}, {"t": "leave"}]
    if way == "poll":
        said = Request(path, messages=words, wait=True)
    else:
        bob.socket = Socket(house.clock)
        bob.socket.open(path)
        for word in words:
            bob.socket.say_raw(json.dumps(word))
    await house.clock.advance(0.1)
    owner._host = worker
    owner.kept(owner._state.version)
    await house.clock.advance(0.5)

    assert (ada.state.reason, ada.state.winner) == ("forfeit", 0)
    assert (said.answer["close"] if way == "poll" else bob.socket.close_code) == 1000


async def test_who_gives_up_a_machine_leaves_no_result(house: Any) -> None:
    """Somebody to play with was found meanwhile."""
    await house.worker()
    ada = await house.player(await house.match("ai")).join()
    await house.clock.until(lambda: ada.happened("serve"))
    ada.socket.say("leave")
    await house.clock.advance(0.1)
    await house.settle()

    assert ada.socket.close_code == 1000
    assert not house.saved
    assert await house.directory.matches.get(ada.match_id) is None
    assert (await house.directory.workers.alive())[0].matches == 0


async def test_a_match_that_nobody_joined_leaves_no_result(house: Any) -> None:
    worker = await house.worker()
    ada = await house.player(await house.match()).join()
    ada.socket.say("leave")
    await house.clock.advance(0.1)
    await house.settle()

    assert ada.socket.close_code == 1000
    assert not house.saved
    assert (await house.directory.workers.alive())[0].matches == 0
    assert worker.name == "local-8101"


async def test_the_newest_socket_of_a_player_wins(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair()
    old = ada.socket
    await ada.join()
    await house.clock.advance(1)

    assert old.close_code == 4409
    assert ada.socket.close_code is None
    ada.move(100.0)
    await house.clock.advance(0.1)
    assert bob.happened("pad")
    assert not any(frame["side"] == 0 and not frame["online"] for frame in bob.socket.heard("peer"))


async def test_a_third_person_watches_and_cannot_play(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    eve = await house.player(ada.match_id, "g:eve").join()
    await house.clock.advance(1)
    assert (await house.directory.workers.alive())[0].watched == {ada.match_id: 1}
    eve.move(80.0)
    eve.socket.say("leave")
    await house.clock.until(lambda: ada.is_over and eve.is_over)

    assert eve.side is None
    assert eve.socket.heard("welcome")[0]["side"] is None
    assert eve.state == ada.state
    assert not ada.happened("pad")


async def test_so_many_can_watch_and_no_more(house: Any) -> None:
    await house.worker()
    ada, _ = await house.pair()
    crowd = [await house.player(ada.match_id, f"g:{number}").join(pings=False) for number in range(101)]

    assert [player.socket.close_code for player in crowd] == [None] * 100 + [4429]
    assert ada.socket.close_code is None


async def test_a_page_that_is_hidden_while_it_waits_for_a_friend_stays_connected(house: Any) -> None:
    await house.worker()
    ada = await house.player(await house.match()).join(pings=False)
    for _ in range(5):
        await house.clock.advance(60)
        ada.socket.say("ping", c=1, rtt=None)
    assert ada.socket.close_code is None

    await house.clock.advance(91)
    assert ada.socket.close_code == 1001


async def test_a_player_who_falls_silent_counts_as_away(house: Any) -> None:
    await house.worker()
    ada, bob = await house.pair(points=21)
    ada.is_asleep = True
    await house.clock.advance(12)

    assert ada.socket.close_code == 1001
    assert bob.socket.heard("peer")[-1] == {
        "t": "peer", "side": 0, "online": False, "ping": 40, "grace_ms": bob.socket.heard("peer")[-1]["grace_ms"],
    }  # fmt: skip
