"""A visitor asks how the site is: on any screen, in any light, by keyboard, without scripts, and without the app."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT, Lab, poll
from tests.e2e.conftest import PHONE, Visitor

PICTURES = ROOT / os.environ.get("SCREENSHOTS", ".cache/screenshots")
WORST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3

# The least contrast of any text on the page to what lies behind it. Backgrounds are plain on this page.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = (colour, over) => {
    canvas.fillStyle = `rgb(${over.join(" ")})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const under = element.parentElement ? behind(element.parentElement) : [255, 255, 255];
    return rgb(getComputedStyle(element).backgroundColor, under);
  };
  let worst = [21, ""];
  for (const element of document.querySelectorAll("main *")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (!text || element.closest("svg") || !element.checkVisibility()) continue;
    const ground = behind(element);
    const [a, b] = [light(ground), light(rgb(getComputedStyle(element).color, ground))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, text];
  }
  return worst;
}"""


def look_at(page: Page, name: str) -> None:
    """What any visitor can expect of the page in any look, and its picture."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    ratio, text = page.evaluate(CONTRAST)
    assert ratio >= WORST_CONTRAST, f"{ratio:.2f}: {text}"
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


@pytest.fixture
def without_workers(site: Lab, visitor: Visitor) -> Iterator[None]:
    """No web worker runs, after somebody has looked: what nobody has asked for has no copy."""
    page = visitor().new_page()
    for path in ("/status", "/status.json"):
        page.goto(path)
    units = "'matchpoint-web@*.service'"
    found = site.run(site.hosts("app")[0], f"systemctl list-units --plain --no-legend {units} | cut -d' ' -f1 | xargs")
    site.run(site.hosts("app")[0], f"systemctl stop {found}")
    try:
        yield
    finally:
        site.run(site.hosts("app")[0], f"systemctl start {found}")


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("status", {}),
        ("status-light", {"color_scheme": "light"}),
        ("status-phone", {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}),
        ("status-phone-de", {"viewport": PHONE, "locale": "de-DE", "color_scheme": "light"}),
    ],
)
def test_status_is_read_in_every_look(visitor: Visitor, name: str, look: dict[str, object]) -> None:
    page = visitor(**look).new_page()
    page.goto("/")
    page.locator(".site-footer a[href='/status']").click()
    expect(page).to_have_url("https://matchpoint.localhost/status")
    expect(page.locator(".when-fresh h1")).to_be_visible()
    expect(page.locator(".when-stale h1")).to_be_hidden()
    expect(page.locator("main h1:visible")).to_have_count(1)
    for chart in page.get_by_role("img").all():
        assert chart.get_attribute("aria-labelledby"), "a chart without words"
    look_at(page, name)


def test_the_table_opens_by_keyboard_and_needs_no_script(visitor: Visitor) -> None:
    page = visitor(java_script_enabled=False).new_page()
    page.goto("/status")
    table = page.get_by_role("table")
    expect(table).to_be_hidden()
    page.locator("details summary").focus()
    page.keyboard.press("Enter")
    expect(table).to_be_visible()
    expect(table.get_by_role("rowheader")).to_have_count(90)
    expect(table.get_by_role("columnheader")).to_have_count(7)


@pytest.mark.usefixtures("without_workers")
def test_without_any_web_worker_the_last_copy_says_so(visitor: Visitor) -> None:
    page = visitor().new_page()

    def is_marked(path: str, mark: str) -> bool:
        page.goto(path)
        return mark in page.content()

    for path, mark in {"/status.json": '"copy": "stale"', "/status": 'data-copy="stale"'}.items():
        poll(lambda path=path, mark=mark: is_marked(path, mark), within_s=60, every_s=1, what=f"an old copy of {path}")
    expect(page.get_by_role("heading", level=1)).to_have_text("The site does not answer.")
    expect(page.locator(".when-stale time")).to_be_visible()
    expect(page.locator(".status-parts")).to_be_visible()
    look_at(page, "status-stale")
