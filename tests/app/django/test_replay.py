"""A stored match plays again: as JSON, and in a real browser."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect, sync_playwright

import engine
from accounts.models import User
from live.records import FinishedMatch
from matches.models import Match
from matches.services import match_finish

PATIENCE_MS = 20_000  # of a busy machine; what is wrong for good fails as well
GOLDEN = Path(__file__).parents[1] / "golden/rules1.json"


@pytest.fixture(scope="module")
def played() -> dict[str, Any]:
    """A whole match by the rules: what a record of it says."""
    rules, events = next(
        (match["rules"], events)
        for match in json.loads(GOLDEN.read_text())
        if (events := [event for step in match["steps"] for event in step["events"]])[-1]["k"] == "end"
        and events[-1]["reason"] == "score"
    )
    end = events[-1]
    return {
        "timeline": events,
        "score": tuple(end["score"]),
        "winner": end["winner"],
        "duration_us": end["t"],
        "rules_version": rules["version"],
    }


@pytest.mark.django_db
def test_a_replay_holds_all_that_is_needed_to_play_it(
    client: Client, record: Callable[..., FinishedMatch], played: dict[str, Any]
) -> None:
    match_finish(record=record("abc", **played))
    answer = client.get("/api/matches/abc/replay")
    assert "attachment" in answer.headers["Content-Disposition"]
    told = answer.json()
    assert (told["format"], told["version"]) == ("matchpoint-replay", 1)
    state = engine.state_from_json(told["start"])
    assert state.rules.version == played["rules_version"]
    for event in told["events"]:
        state = engine.apply(state, engine.event_from_json(event))
    assert (state.phase, list(state.score), state.winner) == ("over", told["match"]["score"], told["match"]["winner"])
    assert [player["name"] for player in told["match"]["players"]] == ["Left Player", "Right Player"]


@pytest.mark.django_db
def test_only_what_is_finished_plays_again(client: Client) -> None:
    match_id = client.post("/api/matches", '{"mode": "friend"}', content_type="application/json").json()["id"]
    for unknown in ("nothing", match_id):
        assert client.get(f"/api/matches/{unknown}/replay").status_code == 404
    assert client.get("/m/nothing/replay/").status_code == 404
    answer = client.get(f"/m/{match_id}/replay/")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/m/{match_id}/")
    assert client.post("/api/matches/abc/replay").status_code == 405


@pytest.mark.django_db
def test_a_match_by_unknown_rules_is_a_clear_answer(client: Client, record: Callable[..., FinishedMatch]) -> None:
    match_finish(record=record("abc"))
    Match.objects.update(rules_version=99)
    assert client.get("/api/matches/abc/replay").status_code == 503


@pytest.fixture
def page(
    live_server: Any, record: Callable[..., FinishedMatch], played: dict[str, Any], make_user: Callable[..., User]
) -> Iterator[Page]:
    """A browser on the site, which has the match `abc`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: `docker/lab/bootstrap.sh browser` installs it")
    ada, bea = make_user("ada"), make_user("bea")
    match_finish(record=record("abc", left=f"u:{ada.pk}", right=f"u:{bea.pk}", **played))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--disable-gpu", "--no-first-run"], chromium_sandbox=os.geteuid() != 0
        )
        expect.set_options(timeout=PATIENCE_MS)
        errors: list[str] = []
        page = browser.new_page(base_url=live_server.url, viewport={"width": 1000, "height": 700})
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
    assert not errors


def test_a_browser_plays_a_stored_match_again(page: Page, played: dict[str, Any]) -> None:
    left, right = played["score"]
    seconds = played["duration_us"] / 1e6
    page.goto("/m/abc/")  # the end card has its numbers again, and leads to the replay
    expect(page.locator("[data-stat='rally']")).not_to_have_text("0")
    page.get_by_role("link", name="Watch again").click()
    shown = page.locator("[data-score]")
    bar = page.get_by_label("Moment")
    points = page.get_by_label("Points").get_by_role("button")
    expect(points).to_have_count(left + right)
    expect(points.last).to_have_text(f"{left}–{right}")  # noqa: RUF001 - as a score is written

    page.get_by_label("Speed").select_option("4")  # it plays by itself
    expect(shown).not_to_have_text(["0", "0"])
    page.get_by_role("button", name="Pause").click()

    points.last.click()
    before = [int(text) for text in shown.all_inner_texts()]
    assert sum(before) == left + right - 1, "a point's button shows the rally that it ended"
    page.locator("body").press("ArrowLeft")
    assert float(bar.input_value()) < seconds
    page.get_by_role("button", name="Next rally").click()
    bar.press("End")
    expect(shown).to_have_text([str(left), str(right)])

    page.get_by_role("button", name="Previous rally").click()
    page.get_by_role("button", name="Link to this moment").click()
    moment = page.evaluate("location.hash")
    at = bar.input_value()
    page.goto("about:blank")
    page.goto(f"/m/abc/replay/{moment}")
    expect(bar).to_be_enabled()
    assert float(bar.input_value()) == pytest.approx(float(at), abs=0.2)
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # a linked moment waits for its watcher
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert json.loads(Path(download.value.path()).read_text())["match"]["score"] == [left, right]
