"""Load as players make it: two-bot matches without end, and people who look at pages, through the edges of a site.

    PYTHONPATH=app:. python -m tests.cluster.swarm --url https://pong.example.com --ca ca.pem \
        --edge 192.0.2.1 --edge 192.0.2.2 --matches 40 --log swarm.jsonl --seconds 120

One asyncio process plays all of it. It judges nothing: it writes down what players saw, one JSON object a line, and
`judge.py` reads that. After `--seconds`, or when its stdin ends, it starts no match any more, lets the running ones
end, and exits.

Times `t` are unix seconds that never jump (the wall clock at the start, and the monotonic one from there). Records by
`k`:

    match   m                          a match was made
    seat    m side worker              the site named a worker
    open    m side worker edge v score the worker welcomed the player, who now holds version v and this score
    close   m side worker code         the socket is gone; code 0: the server asked the player to move, -1: no handshake
    serve   m side worker v flies      announced; `flies` is when the ball leaves, by the player's clock
    point   m side worker v mt by score  decided; `mt` is the time of the match (µs), `by` the side that scored
    silence m side s                   nothing had come for so long (over 2 s) until now
    over    m side v score reason winner
    missed  m side                     the match was over when the player, whose socket was lost, came back
    lost    m side why                 the player could not go on
    stored  m score winner reason      the site answers with the recorded result: it is acknowledged
    missing m why                      the result was not recorded in time
    http    by method path edge status ms why  one request, `by` page or bot; status 0: no answer
    cpu     s busy                     processor seconds of this process so far, and its share of a core since the last
    playing n                          how many matches are being played
"""

import argparse
import asyncio
import json
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from socket import socket as Socket
from typing import Any, Final

import uvloop

import engine
from live.bot.player import Player, play_together
from live.bot.site import TIMEOUT_S, Failure, Over, Site, Ticket, Unavailable

NO_HANDSHAKE: Final = -1
SILENCE_S: Final = 2.0  # pongs come every second
STORED_S: Final = 60.0
POLL_S: Final = 0.5
AGAIN_S: Final = 1.0  # before another try to make a match
MADE_PER_MINUTE: Final = 55  # the site allows one address 60, counted by the minutes of the clock
TABLES_PER_S: Final = 5.0  # all of them come from one address, which an edge allows only so many requests a second
CALLS_AT_A_TIME: Final = 24
PAGES_AT_A_TIME: Final = 100
WATCH_EVERY: Final = 32  # requests; the site allows one visitor a seat a second
CPU_S: Final = 5.0
ANSWERS: Final = frozenset({200, 201, 409})  # to bots; 409 to one that asks for a seat when the match is over
LAST_MATCH_S: Final = 150.0  # the running matches may take so long after the last new one

_ZERO: Final = time.time() - time.monotonic()


def now() -> float:
    return _ZERO + time.monotonic()


class Log:
    """What happened, a line each; readers may follow the file. Safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"k": kind, "t": round(now(), 4), **fields}, separators=(",", ":"))
        with self._lock:
            self._file.write(line + "\n")


class Visitor(Site):
    """A browser that knows all addresses of the site: where nobody answers, it asks the next one."""

    def __init__(self, url: str, *, ca: str | None, edges: list[str], first: int, log: Log) -> None:
        super().__init__(url, ca=ca, address=edges[first % len(edges)])
        self._edges = edges
        self._log = log

    @property
    def is_known(self) -> bool:
        return bool(self._csrf)

    @property
    def csrf(self) -> str:
        return self._csrf

    @property
    def netloc(self) -> str:
        return self._netloc

    def cookie_lines(self) -> list[str]:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)
        return [f"Cookie: {cookies}"] if cookies else []

    def turn(self) -> None:
        self.address = self._edges[(self._edges.index(self.address) + 1) % len(self._edges)]

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        began, status, why = time.monotonic(), 0, ""
        try:
            status, text = super()._request(method, path, body)
            if status not in ANSWERS:
                why = text[:200] or "no body"
            return status, text
        except Failure as error:
            why = str(error)
            raise
        finally:
            self._wrote(method, path, status, began, why)

    def _dial(self) -> Socket:
        """Only a connection that never was is tried elsewhere: nobody repeats a request that was sent."""
        for _ in self._edges[1:]:
            began = time.monotonic()
            try:
                return super()._dial()
            except ssl.SSLCertVerificationError:
                raise
            except OSError as error:
                self._wrote("CONNECT", "", 0, began, str(error))
                self.turn()
        return super()._dial()

    def _wrote(self, method: str, path: str, status: int, began: float, why: str) -> None:
        ms = round((time.monotonic() - began) * 1000, 1)
        self._log.write("http", by="bot", method=method, path=path, edge=self.address, status=status, ms=ms, why=why)


class Bot(Player):
    """A player who writes down what it sees."""

    def __init__(self, visitor: Visitor, match_id: str, *, log: Log, rng: Random, yields_after: int) -> None:
        super().__init__(visitor, match_id, level="hard", rng=rng.random, yields_after=yields_after)
        self._visitor = visitor
        self._log = log
        self._worker = ""
        self._spoke = 0.0  # when the server last did

    def _note(self, kind: str, **fields: Any) -> None:
        self._log.write(kind, m=self._match_id, side=self._side, worker=self._worker, **fields)

    async def _seat(self) -> Ticket:
        seat = await super()._seat()
        self._side = seat.side
        self._worker = seat.path.split("/")[2]
        self._note("seat")
        return seat

    async def _session(self, seat: Ticket) -> int:
        code = NO_HANDSHAKE
        try:
            code = await super()._session(seat)
        except Unavailable as error:
            if isinstance(error.__cause__, OSError):
                self._visitor.turn()
            raise
        finally:
            self._note("close", code=code)
        return code

    def _receive(self, message: dict[str, Any]) -> bool:
        silent, self._spoke = now() - (self._spoke or now()), now()
        if silent > SILENCE_S:
            self._note("silence", s=round(silent, 3))
        return super()._receive(message)

    def _welcome(self, message: dict[str, Any]) -> None:
        super()._welcome(message)
        if self.state is not None:
            self._note("open", edge=self._visitor.address, v=self.state.version, score=self.state.score)

    def _fold(self, event: engine.Event) -> None:
        super()._fold(event)
        match event:
            case engine.Serve():
                flies = now() + (event.t - self.clock.now()) / engine.SECOND
                self._note("serve", v=event.v, flies=round(flies, 4))
            case engine.Point():
                self._note("point", v=event.v, mt=event.t, by=event.side, score=event.score)

    async def play(self) -> None:
        try:
            await super().play()
        except Failure as error:
            if isinstance(error.__cause__, Over):
                self._note("missed")
                return
            self._note("lost", why=str(error))
            raise
        state = self.state
        assert state is not None
        self._note("over", v=state.version, score=state.score, reason=state.reason, winner=state.winner)


class Pace:
    """At most so many matches in each minute of the clock, as the site counts them."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute = 0
        self._made = 0

    async def wait(self) -> None:
        while True:
            minute, second = divmod(time.time(), 60)
            if minute != self._minute:
                self._minute, self._made = int(minute), 0
            if self._made < self._per_minute:
                self._made += 1
                return
            await asyncio.sleep(60.1 - second)


class Swarm:
    """Keeps `matches` matches going, and `pages` requests a second, until `finish`."""

    def __init__(self, options: argparse.Namespace, log: Log) -> None:
        self._options = options
        self._edges: list[str] = options.edge
        self._log = log
        self._rng = Random(options.seed)
        self._pace = Pace(options.per_minute)
        self._finish = asyncio.Event()
        self._playing: dict[str, list[Bot]] = {}  # the oldest first
        self._visitors = count()

    def finish(self) -> None:
        self._finish.set()

    async def run(self) -> None:
        tables = [asyncio.create_task(self._table(number / TABLES_PER_S)) for number in range(self._options.matches)]
        others = [asyncio.create_task(self._pages()), asyncio.create_task(self._measure())]
        try:
            await self._finish.wait()
            await asyncio.wait(tables, timeout=LAST_MATCH_S)
        finally:
            for task in (*tables, *others):
                task.cancel()
            for outcome in await asyncio.gather(*tables, *others, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome

    def _visitor(self) -> Visitor:
        return Visitor(
            self._options.url, ca=self._options.ca, edges=self._edges, first=next(self._visitors), log=self._log
        )

    # Matches

    async def _table(self, after_s: float) -> None:
        """Two visitors who play one match after the other."""
        await asyncio.sleep(after_s)
        two = (self._visitor(), self._visitor())
        while not self._finish.is_set():
            try:
                for visitor in two:
                    if not visitor.is_known:
                        await asyncio.to_thread(visitor.open)
                await self._pace.wait()
                if not self._finish.is_set():
                    await self._match(*two)
            except Failure:  # it is in the log
                await asyncio.sleep(AGAIN_S)

    async def _match(self, host: Visitor, friend: Visitor) -> None:
        options = self._options
        match_id, page = await asyncio.to_thread(host.match_create, mode="friend", points=options.points)
        self._log.write("match", m=match_id)
        bots = [
            Bot(visitor, match_id, log=self._log, rng=self._rng, yields_after=options.rally)
            for visitor in (host, friend)
        ]
        self._playing[match_id] = bots
        self._log.write("playing", n=len(self._playing))
        try:
            await asyncio.to_thread(friend.open, page)
            await play_together(bots)
        finally:
            del self._playing[match_id]
            self._log.write("playing", n=len(self._playing))
        await self._recorded(host, match_id)

    async def _recorded(self, host: Visitor, match_id: str) -> None:
        deadline = time.monotonic() + STORED_S
        why = ""
        while time.monotonic() < deadline:
            try:
                record = await asyncio.to_thread(host.match_get, match_id)
                if record["status"] == "finished":
                    fields = {key: record[key] for key in ("score", "winner", "reason")}
                    self._log.write("stored", m=match_id, **fields)
                    return
                why = f"its status is {record['status']}"
            except Failure as error:
                why = str(error)
            await asyncio.sleep(POLL_S)
        self._log.write("missing", m=match_id, why=why)

    # Pages

    async def _pages(self) -> None:
        """So many requests a second, however long each takes."""
        rate = self._options.pages
        if not rate:
            return
        reader = self._visitor()
        while not reader.is_known:
            try:
                await asyncio.to_thread(reader.open)
            except Failure:
                await asyncio.sleep(AGAIN_S)
        running: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number in count():
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            if len(running) >= PAGES_AT_A_TIME:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            edge = self._edges[number % len(self._edges)]
            task = asyncio.create_task(self._page(reader, edge, *self._wish(number)))
            running.add(task)
            task.add_done_callback(running.discard)

    def _wish(self, number: int) -> tuple[str, str, tuple[int, ...]]:
        """What somebody wants, and with which status the site may answer: pages mostly, at times a watcher's seat."""
        match_id = next((match_id for match_id, bots in self._playing.items() if all(bot.state for bot in bots)), None)
        turn = number // len(self._edges) % WATCH_EVERY
        if match_id is None or turn % 2:
            return "GET", "/", (200,)
        if turn == 0:
            return "POST", f"/api/matches/{match_id}/seat", (200, 409)
        return "GET", (f"/api/matches/{match_id}" if turn % 4 else f"/m/{match_id}/"), (200,)

    async def _page(self, reader: Visitor, edge: str, method: str, path: str, allowed: tuple[int, ...]) -> None:
        began, status, why = time.monotonic(), 0, ""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, body = await fetch(edge, reader, method, path)
            if status not in allowed:
                why = body[:200].decode(errors="replace") or "no body"
        except (OSError, ValueError, EOFError) as error:
            why = f"{type(error).__name__}: {error}"
        ms = round((time.monotonic() - began) * 1000, 1)
        self._log.write("http", by="page", method=method, path=path, edge=edge, status=status, ms=ms, why=why)

    async def _measure(self) -> None:
        used, at = time.process_time(), time.monotonic()
        while True:
            await asyncio.sleep(CPU_S)
            used_before, at_before, used, at = used, at, time.process_time(), time.monotonic()
            self._log.write("cpu", s=round(used, 2), busy=round((used - used_before) / (at - at_before), 3))


async def fetch(edge: str, reader: Visitor, method: str, path: str) -> tuple[int, bytes]:
    """Status and body over a connection of its own. OSError, ValueError, EOFError when there is no whole answer."""
    stream, writer = await asyncio.open_connection(
        edge, reader.port, ssl=reader.tls, server_hostname=reader.host if reader.tls else None
    )
    try:
        body = b"{}" if method == "POST" else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {reader.netloc}", f"Origin: {reader.origin}", "Connection: close"]
        lines += [f"Referer: {reader.origin}/", *reader.cookie_lines()]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", f"X-CSRFToken: {reader.csrf}"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await stream.read(-1)
    finally:
        writer.close()
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        raise EOFError(f"the answer ended after {len(answer)} bytes")
    status, *headers = head.decode("latin-1").split("\r\n")
    named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
    if int(named.get("content-length", len(body))) != len(body):
        raise EOFError(f"{len(body)} bytes of a body of {named['content-length']}")
    if named.get("transfer-encoding") == "chunked" and not body.endswith(b"0\r\n\r\n"):
        raise EOFError("the last chunk is missing")
    return int(status.split(" ")[1]), body


async def main(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(CALLS_AT_A_TIME))
    swarm = Swarm(options, Log(options.log))
    if options.seconds:
        loop.call_later(options.seconds, swarm.finish)
    else:
        await loop.connect_read_pipe(lambda: _UntilClosed(swarm), sys.stdin)
    await swarm.run()


class _UntilClosed(asyncio.Protocol):
    """Whoever started the swarm ends it by closing its stdin, or by going away."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def eof_received(self) -> None:
        self._swarm.finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._swarm.finish()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Matches and page views without end; see the top of the file")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", metavar="FILE")
    parser.add_argument("--edge", action="append", required=True, metavar="ADDRESS", help="may be given several times")
    parser.add_argument("--log", type=Path, required=True, metavar="FILE")
    parser.add_argument("--matches", type=int, default=40, help="at a time")
    parser.add_argument("--points", type=int, default=7, help="that win a match")
    parser.add_argument("--rally", type=int, default=2, help="hits after which a player lets the ball pass")
    parser.add_argument("--pages", type=float, default=20, help="requests a second")
    parser.add_argument("--per-minute", type=int, default=MADE_PER_MINUTE, help="matches made, at most")
    parser.add_argument("--seconds", type=float, help="end by itself")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(arguments()))
