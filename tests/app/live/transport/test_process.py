"""The real server process, over real sockets: `manage.py play`."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.processes import end, run, start

MANAGE = Path(__file__).parents[4] / "app" / "manage.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Site:
    """A running `play`, and a visitor with cookies."""

    def __init__(self, state: Path) -> None:
        self.port = free_port()
        self.base = f"http://localhost:{self.port}"
        self.log = state / "log"
        environment = os.environ | {"MATCHPOINT_ENV": "play", "MATCHPOINT_STATE_DIR": str(state)}
        with self.log.open("w") as log:
            self.process = start(
                [sys.executable, str(MANAGE), "play", "--port", str(self.port)],
                env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.forget()

    def forget(self) -> None:
        """From now on it is another visitor."""
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if json.loads(self.get("/readyz"))["ready"]:
                    return
            time.sleep(0.1)
        pytest.fail(f"play did not get ready: {self.log.read_text()}")

    def get(self, path: str) -> str:
        with self._browser.open(self.base + path, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r'name="csrf-token" content="([^"]+)"', self.get("/"))
        assert found
        headers = {"Content-Type": "application/json", "X-CSRFToken": found[1], "Origin": self.base}
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)
        with self._browser.open(request, timeout=10) as answer:
            data: dict[str, Any] = json.loads(answer.read())
            return data

    def submit(self, path: str, **fields: str) -> None:
        """Fills in the form at `path`, as a browser without scripts does."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path))
        assert found
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": found[1], **fields}).encode()
        with self._browser.open(self.base + path, data, timeout=30) as answer:
            assert answer.status == 200

    def seat(self) -> dict[str, Any]:
        match = self.post("/api/matches", {"mode": "ai", "level": "easy", "points": 3})
        return self.post(f"/api/matches/{match['id']}/seat", {})

    @contextlib.asynccontextmanager
    async def sit_down(self) -> Any:
        """A match against the computer, with its socket open and welcomed."""
        seat = await asyncio.to_thread(self.seat)
        async with websockets.connect(f"ws://localhost:{self.port}{seat['url']}", origin=self.base) as match:
            await match.send(json.dumps({"t": "hello", "protocol": 1, "token": seat["token"], "version": 0}))
            assert json.loads(await match.recv())["t"] == "welcome"
            yield match


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("play"))
    try:
        site.wait_until_ready()
        yield site
        site.process.send_signal(signal.SIGTERM)
        site.process.wait(timeout=30)
    finally:
        end(site.process)


async def code_of_close(match: Any) -> int | None:
    with contextlib.suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(30):
            async for _ in match:
                pass
    code: int | None = match.close_code
    return code


async def test_two_visitors_meet_in_the_lobby_and_its_sockets_move_on_when_it_stops(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        site.wait_until_ready()
        async with contextlib.AsyncExitStack() as pages:
            met = []
            for _ in range(2):
                site.forget()
                place = await asyncio.to_thread(site.post, "/api/lobby", {})
                page = await pages.enter_async_context(
                    websockets.connect(f"ws://localhost:{site.port}{place['url']}", origin=site.base)
                )
                await page.send(json.dumps({"t": "hello", "protocol": 1, "token": place["token"]}))
                await page.send(json.dumps({"t": "wait"}))
                met.append(page)
            matches = {(await until(page, "met"))["match"] for page in met}
            assert len(matches) == 1
            assert '"status": "live"' in await asyncio.to_thread(site.get, f"/api/matches/{matches.pop()}")
            site.process.send_signal(signal.SIGTERM)
            assert await code_of_close(met[0]) == 1012
    finally:
        end(site.process)


async def until(page: Any, kind: str) -> dict[str, Any]:
    """The next message of a kind."""
    async with asyncio.timeout(30):
        while True:
            message: dict[str, Any] = json.loads(await page.recv())
            if message["t"] == kind:
                return message


async def test_a_message_that_is_too_large_closes_with_1009(site: Site) -> None:
    async with site.sit_down() as match:
        await match.send("x" * 2000)
        assert await code_of_close(match) == 1009


async def test_logging_out_closes_the_match_within_two_seconds(site: Site) -> None:
    password = "correct horse 42"
    await asyncio.to_thread(site.submit, "/accounts/signup/", username="ada", password1=password, password2=password)
    async with site.sit_down() as match:
        await asyncio.to_thread(site.submit, "/accounts/logout/")
        async with asyncio.timeout(2):
            assert await code_of_close(match) == 4401


async def test_a_malformed_message_closes_with_4400(site: Site) -> None:
    async with site.sit_down() as match:
        await match.send("{")
        assert await code_of_close(match) == 4400


async def match_time(match: Any) -> int:
    await match.send(json.dumps({"t": "ping", "c": 1, "rtt": None}))
    while (frame := json.loads(await match.recv()))["t"] != "pong":
        pass
    time_us: int = frame["s"]
    return time_us


async def test_the_server_measures_round_trips_and_grants_a_grace(site: Site) -> None:
    async with site.sit_down() as match, asyncio.timeout(20):
        for _ in range(8):
            await match_time(match)
            await asyncio.sleep(0.04)  # within the message limit, and past the start of the match by a grace
        for seq in range(1, 31):  # on a busy machine the way of one input may take longer than its grace
            arrived_after = await match_time(match)
            await match.send(json.dumps({"t": "in", "seq": seq, "at": 0, "target": 100 + seq}))
            pads: list[dict[str, Any]] = []
            while not pads:
                pads = [event for event in json.loads(await match.recv()).get("e", []) if event.get("seq") == seq]
            assert arrived_after - 120_000 <= pads[0]["t"]
            if pads[0]["t"] < arrived_after:
                return
            await asyncio.sleep(0.04)
        pytest.fail("no input counted from before it came: without a measured round trip there is no grace")


GUSHING_SERVER = """
import asyncio, sys
from live.transport.server import Server

async def application(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    for count in range(1_000_000):
        try:
            async with asyncio.timeout(1):
                await send({"type": "websocket.send", "text": "x" * 1024})
        except TimeoutError:
            print("blocked", flush=True)
            await receive()
            return
    print("never blocked", flush=True)

Server(application, endpoint=f"tcp:{sys.argv[1]}:interface=127.0.0.1", ready=lambda: print("ready", flush=True)).run()
"""


async def test_a_client_that_does_not_read_makes_the_sender_wait() -> None:
    port = free_port()
    environment = os.environ | {"MATCHPOINT_ENV": "test", "PYTHONPATH": str(MANAGE.parent)}
    environment["DJANGO_SETTINGS_MODULE"] = "matchpoint.settings"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GUSHING_SERVER, str(port), env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout
    try:
        async with asyncio.timeout(60):
            assert await server.stdout.readline() == b"ready\n"
            async with websockets.connect(f"ws://127.0.0.1:{port}/", max_queue=1, close_timeout=0.1):
                assert await server.stdout.readline() == b"blocked\n"
    finally:
        server.kill()
        await server.wait()


async def test_a_taken_port_is_explained(site: Site, tmp_path: Path) -> None:
    environment = os.environ | {"MATCHPOINT_ENV": "play", "MATCHPOINT_STATE_DIR": str(tmp_path)}
    command = [sys.executable, str(MANAGE), "play", "--port", str(site.port)]
    done = await asyncio.to_thread(run, command, env=environment)
    assert done.returncode == 1
    assert f"port {site.port}" in done.stderr
    assert "Try another port" in done.stderr
    assert "Traceback" not in done.stderr


async def test_an_orderly_stop_says_1012_and_is_quick(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await asyncio.to_thread(site.wait_until_ready)
    async with site.sit_down() as match:
        site.process.send_signal(signal.SIGTERM)
        assert await code_of_close(match) == 1012
    assert await asyncio.to_thread(site.process.wait, 20) == 0
    assert "Traceback" not in site.log.read_text()
