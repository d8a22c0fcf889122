"""A short match between two bots on one very worker, at its own address: does it play, does the directory hear of it?

No edge, no pages and no database take part, and no result is kept. Statistics do not count it either.
"""

import asyncio
import time
from dataclasses import dataclass
from random import SystemRandom
from statistics import median
from typing import Any, Final

from django.utils import timezone
from django.utils.crypto import get_random_string

from live.bot.player import Player, play_together
from live.bot.site import Failure, Ticket
from live.directory import Directory
from live.protocol.tokens import seat_token
from live.records import MatchSpec, PlayerSpec

KEEP_SECONDS: Final = 600  # of a match that nobody plays to its end
DONE_SECONDS: Final = 3.0  # for the directory to hear of the end
POLL_SECONDS: Final = 0.05
SEATS_MAX: Final = 4  # a socket may be lost; a worker that loses every one does not play


@dataclass(slots=True)
class Court:
    """The place of one bot: always this worker, whatever the directory says."""

    worker: str
    address: str
    port: int
    origin: str
    side: int
    identity: str
    seats: int = 0
    tls: None = None

    @property
    def sockets(self) -> str:
        return f"ws://{self.address}:{self.port}"

    def match_seat(self, match_id: str) -> Ticket:
        self.seats += 1
        if self.seats > SEATS_MAX:
            raise Failure(f"{SEATS_MAX} sockets of one player were lost")
        token = seat_token(match_id=match_id, identity=self.identity, side=self.side, worker=self.worker)
        return Ticket(path=f"/ws/{self.worker}/match/{match_id}", token=token, side=self.side)


async def probe(
    directory: Directory, *, worker: str, address: str, port: int, origin: str, timeout_s: float
) -> dict[str, Any]:
    """Play; what came of it. Failure, and redis' errors."""
    began = time.monotonic()
    release = await _release_of(directory, worker)
    courts = [Court(worker, address, port, origin, side, f"probe:{side}") for side in (0, 1)]
    left, right = (PlayerSpec(court.side, "human", court.identity, "Probe") for court in courts)
    match_id = f"probe{get_random_string(12)}"
    spec = MatchSpec(
        id=match_id,
        mode="friend",
        level=None,
        points=1,
        players=(left, right),
        created_at=timezone.now().isoformat(),
        is_probe=True,
    )
    await directory.matches.create(spec, worker=worker, seconds=KEEP_SECONDS)
    rng = SystemRandom().random
    players = [Player(court, match_id, level="hard", rng=rng, yields_after=1) for court in courts]
    try:
        async with asyncio.timeout(timeout_s):
            await play_together(players)
    except (Failure, TimeoutError) as error:
        what = str(error) or f"no point within {timeout_s:g} s, {players[0].describe()}"
        trouble = next((player.trouble for player in players if player.trouble), "")
        raise Failure(f"{what}: {trouble}" if trouble else what) from error
    score = _score(players)
    await _done(directory, match_id)
    answers = [ms for player in players for ms in player.acknowledged_ms]
    return {
        "worker": worker,
        "address": f"{address}:{port}",
        "release": release,
        "match": match_id,
        "score": score,
        "rtt_ms_median": round(median(ms for player in players for ms in player.clock.round_trips_ms), 1),
        "input_ack_ms_max": round(max(answers), 1) if answers else None,
        "reconnects": sum(player.reconnects + player.moves for player in players),
        "duration_s": round(time.monotonic() - began, 1),
    }


async def _release_of(directory: Directory, name: str) -> str:
    workers = {worker.name: worker for worker in await directory.workers.alive()}
    if name not in workers:
        raise Failure(f"the directory knows no live worker {name} (alive: {', '.join(workers) or 'none'})")
    if workers[name].draining:
        raise Failure(f"worker {name} is draining")
    return workers[name].release


def _score(players: list[Player]) -> list[int]:
    state, other = (player.state for player in players)
    if state is None or state != other:
        raise Failure(f"the bots saw different matches: {[player.describe() for player in players]}")
    if state.reason != "score":
        raise Failure(f"the match ended by {state.reason}, not by score")
    if not all(player.clock.round_trips_ms for player in players):
        raise Failure("the worker answered no ping")
    return list(state.score)


async def _done(directory: Directory, match_id: str) -> None:
    """Wait until the worker has told the directory of the end."""
    deadline = time.monotonic() + DONE_SECONDS
    while await directory.matches.get(match_id) is not None:
        if time.monotonic() > deadline:
            raise Failure(f"the match is over, but after {DONE_SECONDS:g} s the directory does not know it")
        await asyncio.sleep(POLL_SECONDS)
