"""Chromium as players have it, but for one thing: it trusts the lab's certificate authority."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, WebError, expect, sync_playwright

from tests.conftest import Lab
from tests.processes import run

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

Visitor = Callable[..., BrowserContext]

PATIENCE_MS = 20_000  # of a busy machine; what is wrong for good fails as well
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser(site: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is not installed: `docker/lab/bootstrap.sh browser` installs it"
    home = tmp_path_factory.mktemp("home")
    trust(home, site.state / "root-ca.pem")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[*ARGUMENTS, f"--host-resolver-rules=MAP matchpoint.localhost {site.address('mp1')}"],
            chromium_sandbox=os.geteuid() != 0,  # Chromium's sandbox refuses root
            env={**os.environ, "HOME": str(home)},
        )
        yield browser
        browser.close()


def trust(home: Path, authority: Path) -> None:
    """Adds a certificate authority to the store that Chromium reads, in a home directory of its own."""
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-n", "Matchpoint lab", "-t", "C,,", "-i", str(authority)]):
        run(["certutil", "-d", f"sql:{store}", *arguments], check=True)


def foreign(error: WebError) -> bool:
    """Raised by a page that is not ours, or by the way to it."""
    return bool(error.page and "/ops/prometheus/" in error.page.url)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Makes a visitor with cookies of their own; any uncaught error on their pages fails the test.

    Not what the pages of Prometheus do: the package of Debian includes a library in a form that they cannot load.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def enter(viewport: dict[str, int] = DESKTOP, **options: object) -> BrowserContext:
        options = {"color_scheme": "dark", **options}  # the look that the documentation shows
        context = browser.new_context(base_url="https://matchpoint.localhost", viewport=viewport, **options)
        context.set_default_timeout(PATIENCE_MS)
        context.on("weberror", lambda error: None if foreign(error) else errors.append(str(error.error)))
        contexts.append(context)
        return context

    yield enter
    for context in contexts:
        context.close()
    assert not errors, f"uncaught errors on the pages: {errors}"
