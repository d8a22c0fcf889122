"""axe-core finds nothing on any page, in any language; and the keyboard alone makes an account, plays and reads."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.app.live.transport.test_process import MANAGE, Site
from tests.conftest import ROOT
from tests.processes import end, run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = ROOT / "node_modules/axe-core/axe.min.js"
SEED = Path(__file__).with_name("seed.py")
LANGUAGES = ("en", "de", "fr", "es")
# A guest on a phone in the dark, an account by day, and staff: how they look, and what they see among others
VISITORS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "guest": (
        {"viewport": {"width": 360, "height": 640}, "color_scheme": "dark"},
        {"/", "/privacy/", "/leaderboard/", "/connection/", "/m/axeMatch1234/replay/", "/nowhere/"},
    ),
    "ada": (
        {"color_scheme": "light"},
        {"/me/", "/accounts/2fa/totp/activate/", "/privacy/delete/", "/m/axeGuest1234/report/"},
    ),
    "boss": ({}, {"/ops/", "/ops/players/", "/ops/runbooks/AppDown"}),
}
WITH_ARGUMENTS = (
    "/u/{bea}/", "/u/{bea}/report/", "/m/axeMatch1234/", "/m/axeMatch1234/replay/", "/m/axeGuest1234/report/",
    "/nowhere/", "/ops/players/{bea}/", "/ops/runbooks/AppDown",
)  # fmt: skip

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (docker/lab/bootstrap.sh browser)"),
    pytest.mark.skipif(not AXE.exists(), reason="needs axe-core (make node_modules)"),
]


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


@pytest.fixture(scope="module")
def seed(site: Site) -> dict[str, Any]:
    environment = os.environ | {"MATCHPOINT_ENV": "play", "MATCHPOINT_STATE_DIR": str(site.log.parent)}
    command = [sys.executable, str(MANAGE), "shell", "--no-imports", "-c", SEED.read_text()]
    done = run(command, env=environment, timeout_s=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout.partition("SEED")[2])
    return found


class Inspector:
    """One visitor, and what axe has against the pages."""

    def __init__(self, page: Page, who: str) -> None:
        self._page = page
        self._who = who
        self.seen: set[str] = set()
        self.faults: list[str] = []

    async def look(self, what: str, **options: Any) -> None:
        """Have axe look at what the page shows now."""
        if not await self._page.evaluate("'axe' in window"):
            await self._page.evaluate(AXE.read_text())
        found = await self._page.evaluate(
            "options => axe.run(document, options)", {"preload": False, "resultTypes": ["violations"], **options}
        )
        self.seen.add(what)
        for rule in found["violations"]:
            for node in rule["nodes"]:
                why = " ".join(node["failureSummary"].split())
                self.faults.append(f"{self._who} {what}: {rule['id']} {node['target']} {why}")

    async def visit(self, path: str, *, is_bare: bool = False) -> None:
        """Look at a page, if the path has one for this visitor. Bare, without styles and scripts, it takes a fifth."""
        response = await self._page.request.get(path, max_redirects=0)
        if response.status not in (200, 404) or not response.headers.get("content-type", "").startswith("text/html"):
            return
        if is_bare:
            await self._page.set_content(await response.text(), wait_until="commit")
            await self.look(path, rules={"color-contrast": {"enabled": False}})
        else:
            await self._page.goto(path)
            await self.look(path)


async def visitor(browser: Browser, site: Site, language: str, session: str = "", **options: Any) -> BrowserContext:
    context = await browser.new_context(base_url=site.base, locale=language, bypass_csp=True, **options)
    context.set_default_timeout(60_000)
    if session:
        await context.add_cookies([{"name": "sessionid", "value": session, "url": site.base}])
    return context


async def inspected(
    browser: Browser, site: Site, seed: dict[str, Any], language: str, who: str, **options: Any
) -> Inspector:
    """All pages that somebody can see. What styles and scripts do is the same in all languages."""
    context = await visitor(browser, site, language, seed["sessions"].get(who, ""), **options)
    page = await context.new_page()
    inspector = Inspector(page, f"{language} {who}")
    for path in (*seed["paths"], *WITH_ARGUMENTS):
        if (who == "boss") == path.startswith("/ops/"):
            await inspector.visit(path.format(**seed["players"]), is_bare=language != "en")
    if who == "guest":
        await court(page, inspector)
    await context.close()
    return inspector


async def court(page: Page, inspector: Inspector) -> None:
    """A match against the machine, its settings, and one that waits for a friend."""
    await page.goto("/")
    await page.click('button[value="ai"]')
    await page.wait_for_url("**/m/*/")
    await page.wait_for_selector("#meeting:not([hidden])")
    await inspector.look("court")
    await page.goto("/")
    await page.click('button[value="friend"]')
    await page.wait_for_url("**/m/*/")
    await page.wait_for_selector("#invite:not([hidden])")
    await inspector.look("invitation")


@pytest.mark.timeout(300)  # forty pages on a busy machine
@pytest.mark.parametrize(
    ("language", "who"), [(each, who) for each in LANGUAGES for who in VISITORS if who != "boss" or each == "en"]
)
async def test_axe_finds_nothing_on_any_page(site: Site, seed: dict[str, Any], language: str, who: str) -> None:
    options, expected = VISITORS[who]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        inspector = await inspected(browser, site, seed, language, who, **options)
        await browser.close()
    assert expected <= inspector.seen
    assert not inspector.faults


async def test_the_keyboard_alone_makes_an_account_plays_and_reads(site: Site) -> None:
    """Tab, arrows, space and Enter, as somebody without a mouse goes; where the focus is can be seen."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await (await visitor(browser, site, "en")).new_page()
        await page.goto("/accounts/signup/")
        await reach(page, "#id_username")
        await page.keyboard.type("keys")
        for field in ("#id_password1", "#id_password2"):
            await reach(page, field)
            await page.keyboard.type("correct horse 42")
        await page.keyboard.press("Enter")
        await page.wait_for_url(lambda url: "/signup/" not in url)

        await page.goto("/")
        await reach(page, '[name="level"]:checked')
        await page.keyboard.press("ArrowRight")
        assert await page.locator('[name="level"]:checked').get_attribute("value") == "hard"
        await reach(page, 'button[value="ai"]')
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/m/*/")
        await page.wait_for_selector("#meeting:not([hidden])")
        await reach(page, "#meeting-stop")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#meeting", state="hidden")
        while await page.locator("#leaving:not([hidden])").count() == 0:  # Escape asks once the match is played
            await page.keyboard.press("Escape")
            await page.wait_for_timeout(100)
        await reach(page, "#leave-yes")
        await page.keyboard.press("Enter")
        await page.wait_for_url(lambda url: "/m/" not in url)

        await reach(page, 'a[href="/leaderboard/"]')
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/leaderboard/")
        await browser.close()


async def reach(page: Page, selector: str) -> None:
    """Tab on until it has the focus, which shows."""
    shown = """element => {
        const label = element.matches("input[type=radio]") ? element.parentElement.querySelector("span") : null;
        const style = getComputedStyle(label ?? element);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
    }"""
    target = page.locator(selector).first
    await target.wait_for(state="attached")
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await target.evaluate("element => element === document.activeElement"):
            assert await target.evaluate(shown), f"{selector} has the focus, and does not show it"
            return
    raise AssertionError(f"the keyboard does not reach {selector} on {page.url}")
