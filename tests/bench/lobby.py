"""`make bench-lobby`: a thousand strangers wait at web processes around a real store, and some of those are killed.

Each player speaks the protocol of docs/lobby.md over a WebSocket, comes back when it is lost, and goes over when the
countdown ends. Printed is how long they waited, beside the load of the machine; it fails when somebody is in two pairs,
is forgotten, or goes where the other one does not.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import websockets

from tests.bench.matches.servers import free_port, listens, started, store, wait_for

APP = Path(__file__).parents[2] / "app"
ORIGIN = "http://testserver"  # of the settings for tests
HERE_S = 2.0
AWAY_S = (0.25, 0.75)  # before a page comes back
PATIENCE_S = 60.0  # after the last one has come
SPREAD = 300  # of the ratings around 1500


@dataclass
class Player:
    identity: str
    rating: float
    ports: list[int]
    began: float = 0.0
    waited: float | None = None
    match: str = ""
    came_back: int = 0
    offs: int = 0
    over: float = float("inf")  # the end of the countdown
    met: list[str] = field(default_factory=list)

    async def play(self, until: float) -> None:
        """Wait until somebody is met who comes. A countdown goes on when the socket is lost, as on the page."""
        self.began = time.monotonic()
        while not self.match and time.monotonic() < until:
            with suppress(OSError, TimeoutError, websockets.WebSocketException):
                await self._visit(random.choice(self.ports), until)
            if self.over < float("inf"):
                await asyncio.sleep(self.over - time.monotonic())
                self.match = self.met[-1]
            else:
                self.came_back += 1
                await asyncio.sleep(random.uniform(*AWAY_S))

    async def _visit(self, port: int, until: float) -> None:
        from lobby.protocol import Claim, lobby_token

        token = lobby_token(Claim(self.identity, self.identity, self.rating, self.identity))
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws/lobby", origin=ORIGIN, open_timeout=10) as socket:
            for message in ({"t": "hello", "protocol": 1, "token": token}, {"t": "wait"}):
                await socket.send(json.dumps(message))
            while (now := time.monotonic()) < min(self.over, until):
                try:
                    text = await asyncio.wait_for(socket.recv(), min(HERE_S, self.over - now))
                except TimeoutError:
                    await socket.send('{"t":"here"}')
                    continue
                message = json.loads(text)
                if message["t"] == "met":
                    if not self.met:
                        self.waited = time.monotonic() - self.began
                    self.met.append(message["match"])
                    self.over = time.monotonic() + message["in_ms"] / 1000
                    await socket.send(json.dumps({"t": "coming", "match": message["match"]}))
                elif message["t"] == "off":
                    self.offs += 1
                    self.over = float("inf")


async def crowd(options: argparse.Namespace, ports: list[int], kill: "asyncio.Future[None]") -> list[Player]:
    rng = random.Random(options.seed)
    players = [Player(f"g:{number}", rng.gauss(1500, SPREAD), ports) for number in range(options.players)]

    until = time.monotonic() + options.seconds + PATIENCE_S

    async def come(player: Player, after: float) -> None:
        await asyncio.sleep(after)
        await player.play(until)

    async with asyncio.TaskGroup() as group:
        group.create_task(_later(options.seconds / 2, kill))
        for number, player in enumerate(players):
            group.create_task(come(player, options.seconds * number / options.players))
    missing = [player.identity for player in players if not player.match]
    if missing:
        raise SystemExit(f"forgotten: {len(missing)} of {len(players)}, {missing[:8]}")
    return players


async def _later(seconds: float, future: "asyncio.Future[None]") -> None:
    await asyncio.sleep(seconds)
    future.set_result(None)


async def seats(players: list[Player], dead: str) -> None:
    """Every match has the two who were told of it, and a worker that lives."""
    from live.directory import get_directory

    directory = get_directory()
    sharers = Counter(player.match for player in players)
    odd = {match: count for match, count in sharers.items() if count != 2}
    if odd:
        raise SystemExit(f"not two: {odd}")
    for player in players:
        placement = await directory.matches.seat(player.match, identity=player.identity, name="")
        if placement.side is None or placement.worker == dead:
            raise SystemExit(f"{player.identity} has no seat in {player.match}: {placement}")
    await directory.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-lobby")
    parser.add_argument("--players", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0, help="in which they come, evenly (default: %(default)s)")
    parser.add_argument(
        "--web", type=int, default=4, help="web processes, one of which is killed (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.players -= options.players % 2
    cores = list(range(os.cpu_count() or 1))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(store(folder))
        environment = {
            "DJANGO_SETTINGS_MODULE": "matchpoint.settings",
            "MATCHPOINT_ENV": "test",
            "MATCHPOINT_STATE_DIR": str(folder),
            "MATCHPOINT_VALKEY_URL": url,
            "PYTHONPATH": str(APP),
        }
        os.environ.update(environment)
        processes = {}
        for role in ["web"] * options.web + ["live"] * 2:
            port, log = free_port(), folder / f"{role}-{len(processes)}.log"
            command = [sys.executable, "-m", "matchpoint.serve", role, "--port", str(port)]
            process = stack.enter_context(started(command, cores=cores, log=log, environment=environment))
            processes[port] = role, process
            wait_for(lambda port=port: listens(port), process, log)  # type: ignore[misc]  # mypy knows no such lambda
        import django

        django.setup()
        web = [port for port, (role, _) in processes.items() if role == "web"]
        live = [port for port, (role, _) in processes.items() if role == "live"]

        def fail(_: object) -> None:
            for port in (web[0], live[0]):
                processes[port][1].kill()
            print(f"killed a web and a live worker after {options.seconds / 2:.0f} s")

        async def run() -> list[Player]:
            kill = asyncio.get_running_loop().create_future()
            kill.add_done_callback(fail)
            players = await crowd(options, list(web), kill)
            await seats(players, f"local-{live[0]}")
            return players

        players = asyncio.run(run())
    report(options, players)


def report(options: argparse.Namespace, players: list[Player]) -> None:
    waits = sorted(player.waited for player in players if player.waited is not None)
    by_match: dict[str, list[Player]] = {}
    for player in players:
        by_match.setdefault(player.match, []).append(player)
    gaps = [abs(one.rating - other.rating) for one, other in by_match.values()]
    print(
        f"{len(players)} players in {options.seconds:.0f} s at {options.web} web processes: "
        f"waited {median(waits):.2f} s, "
        f"p95 {quantiles(waits, n=20)[-1]:.2f}, longest {waits[-1]:.2f}; rating gap {median(gaps):.0f}, "
        f"p95 {quantiles(gaps, n=20)[-1]:.0f}; {sum(player.came_back for player in players)} came back, "
        f"{sum(player.offs for player in players)} heard off; everybody in one match of two; "
        f"load {os.getloadavg()[0]:.0f}"
    )


if __name__ == "__main__":
    main()
