"""Who is logged out leaves the court at every worker, and old tokens open nothing."""

import time
from unittest.mock import AsyncMock

import pytest

from live import directory
from live.directory.revocations import call_off, revoke
from tests.app.live.conftest import House, settle


@pytest.fixture(autouse=True)
def _one_valkey(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pages tell arrives where the workers listen."""
    monkeypatch.setattr(directory, "_fake_server", house.valkey)


async def test_every_worker_closes_the_sockets_of_who_is_logged_out(house: House) -> None:
    players = []
    for name in ("local-8101", "other-8101"):
        worker = await house.worker(name)
        await worker.logouts.heed()
        match_id = await house.match()
        players += [await house.player(match_id, identity).join() for identity in ("g:ada", "g:bob")]
    assert all(player.socket.heard("welcome") for player in players)
    revoke("g:ada")
    for worker in house.workers.values():
        await worker.logouts.heed()
    await settle()
    assert [player.socket.close_code for player in players] == [4401, None, 4401, None]


async def test_a_token_from_before_opens_nothing_and_one_from_after_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.worker()
    match_id = await house.match()
    revoke("g:ada")
    player = await house.player(match_id, "g:ada").join()  # in the same second
    assert player.socket.close_code == 4401
    assert not player.socket.heard("welcome")
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + 2)
    player = await house.player(match_id, "g:ada").join()
    await settle()
    assert player.socket.heard("welcome")


async def test_what_a_worker_missed_it_hears_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await house.worker()
    await worker.logouts.heed()
    player = await house.player(await house.match(), "g:ada").join()
    with monkeypatch.context() as cut_off:
        cut_off.setattr(house.directory.revocations, "after", AsyncMock(side_effect=TimeoutError))
        revoke("g:ada")
        await worker.logouts.heed()
    assert player.socket.close_code is None
    await worker.logouts.heed()
    await settle()
    assert player.socket.close_code == 4401


async def test_who_signed_in_during_a_match_leaves_the_seat_of_the_guest(house: House) -> None:
    worker = await house.worker()
    await worker.logouts.heed()
    match_id = await house.match()
    guest = await house.player(match_id, "g:ada").join()
    friend = await house.player(match_id, "g:bob").join()
    await house.directory.matches.seat(match_id, identity="u:7", name="Ada", before="g:ada")
    revoke("u:8")
    revoke("u:7")
    await worker.logouts.heed()
    await settle()
    assert [player.socket.close_code for player in (guest, friend)] == [4401, None]


async def test_a_match_that_staff_end_has_no_winner(house: House) -> None:
    worker = await house.worker()
    await worker.logouts.heed()
    match_id, other = await house.match(), await house.match()
    for each in (match_id, other):
        for name in ("g:ada", "g:bob"):
            await house.player(each, name).join()
    call_off(match_id)
    call_off("unknown")
    await worker.logouts.heed()
    await settle()
    assert worker.owners[match_id].is_over
    assert not worker.owners[other].is_over
    call_off(match_id)  # twice is once
    await worker.logouts.heed()
