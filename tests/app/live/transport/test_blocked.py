"""Behind proxies that let no WebSocket through, the browser's own code plays on, against a real server process."""

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from tests.app.live.transport.test_process import Site
from tests.processes import end

THROUGH = Path(__file__).with_name("through.mjs")
NOT_FORWARDED = ("connection", "upgrade", "sec-websocket-", "keep-alive", "accept-encoding")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Proxy:
    """Passes requests on and gives an answer back when it has all of it, as proxies do that look into what they pass.

    `swallows`: a handshake of a WebSocket gets no answer; else it loses its Upgrade. Whatever takes longer than `cut_s`
    is cut, with 504.
    """

    def __init__(self, port: int, *, swallows: bool = False, cut_s: float = 60) -> None:
        self._port = port
        self._swallows = swallows
        self._cut_s = cut_s
        self.upgrades = self.cuts = 0
        self.base = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "localhost", 0)
        self.base = f"http://localhost:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
            first, *lines = head.rstrip().split("\r\n")
            lengths = [int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:")]
            body = await reader.readexactly(sum(lengths))
            if any(line.lower().startswith("upgrade:") for line in lines):
                self.upgrades += 1
                if self._swallows:
                    await reader.read()  # until the client gives up
                    writer.close()
                    return
            passed = [first, *(line for line in lines if not line.lower().startswith(NOT_FORWARDED))]
            ask = "\r\n".join([*passed, "Connection: close", "", ""]).encode("latin1") + body
            writer.write(await self._answer(ask))
            await writer.drain()
        writer.close()

    async def _answer(self, ask: bytes) -> bytes:
        upstream, up = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            up.write(ask)
            async with asyncio.timeout(self._cut_s):
                return await upstream.read()
        except TimeoutError:
            self.cuts += 1
            return b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        finally:
            up.close()


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


async def played(seat: dict[str, Any], proxy: Proxy) -> dict[str, Any]:
    """How a match begins behind the proxy."""
    node = await asyncio.create_subprocess_exec(
        "node", str(THROUGH), proxy.base, json.dumps(seat), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await node.communicate()
    finally:
        with suppress(ProcessLookupError):
            node.kill()
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node to run the browser's code")
async def test_a_match_is_played_behind_proxies_that_strip_buffer_swallow_and_cut(site: Site) -> None:
    stripping = Proxy(site.port)
    swallowing = Proxy(site.port, swallows=True)
    cutting = Proxy(site.port, cut_s=0.25)  # as others do after a minute: no held request gets its 20 s
    proxies = [stripping, swallowing, cutting]
    async with AsyncExitStack() as stack:
        for proxy in proxies:
            await stack.enter_async_context(proxy.running())
        seats = [await asyncio.to_thread(site.seat) for _ in proxies]
        found = await asyncio.gather(*map(played, seats, proxies))
    assert [(one["how"], one["ways"][:2]) for one in found] == [("played", ["socket", "poll"])] * 3, found
    assert all(proxy.upgrades for proxy in proxies)
    assert cutting.cuts > 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (docker/lab/bootstrap.sh browser)")
async def test_a_browser_behind_a_proxy_without_upgrade_plays_a_point_and_is_told_why(site: Site) -> None:
    async with Proxy(site.port).running() as proxy, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(base_url=proxy.base)
        page.set_default_timeout(60_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto("/connection/")
        await page.wait_for_selector('#connection[data-play="playPoll"]')
        report = await page.input_value("#report")
        await page.evaluate(
            """async () => {
                const token = document.querySelector('meta[name="csrf-token"]').content;
                const headers = {"Content-Type": "application/json", "X-CSRFToken": token};
                const body = JSON.stringify({mode: "ai", level: "easy", points: 3});
                const answer = await fetch("/api/matches", {method: "POST", headers, body});
                location.assign((await answer.json()).url);
            }"""
        )
        await page.locator("[data-score]", has_text=re.compile("^1$")).wait_for()
        assert await page.evaluate("sessionStorage.getItem('matchpoint.way')") == "poll"
        await browser.close()
    assert '"works":false' in report.splitlines()[-2]
    assert '"works":true' in report.splitlines()[-1]
    assert errors == []
    assert proxy.upgrades >= 2  # of the page that measures, and of the match


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (docker/lab/bootstrap.sh browser)")
async def test_a_stranger_behind_a_proxy_without_upgrade_meets_another_and_plays(site: Site) -> None:
    async with Proxy(site.port, swallows=True).running() as proxy, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        pages = []
        for base in (proxy.base, site.base):
            context = await browser.new_context(base_url=base)
            page = await context.new_page()
            page.set_default_timeout(60_000)
            pages.append(page)
            await page.goto("/")
            await page.click('button[value="ai"]')
            await page.wait_for_url("**/m/*/")
        machines = {page.url.rpartition("/m/")[2] for page in pages}
        for page in pages:
            await page.wait_for_url(lambda url: url.rpartition("/m/")[2] not in machines)
            await page.locator("[data-score]", has_text=re.compile("^1$")).first.wait_for()
        matches = {page.url.rpartition("/m/")[2] for page in pages}
        await browser.close()
    assert len(matches) == 1
    assert proxy.upgrades
