"""Two people, two browsers, one match: through TLS and nginx, onto a worker, into PostgreSQL."""

import base64
import gzip
import json
import os
import re
from typing import Any

from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.conftest import ROOT, Lab
from tests.e2e.conftest import PHONE, Visitor
from tests.e2e.player import KeyboardPlayer

# `SCREENSHOTS=docs/screenshots make test` renews the pictures of the documentation
POINTS = 5  # while pictures are taken nobody plays
PICTURES = ROOT / os.environ.get("SCREENSHOTS", ".cache/screenshots")


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def stored_match(lab: Lab, match_id: str) -> dict[str, Any]:
    """The match as the database of the host has it."""
    return lab.query(f"""
        select json_build_object('score', json_build_array(m.score_left, m.score_right), 'winner', m.winner,
                                 'end_reason', m.end_reason, 'events_gzip', encode(t.events_gzip, 'base64'))
        from matches_match m join matches_timeline t on t.match_id = m.id where m.public_id = '{match_id}'""")


def shorten(context: BrowserContext) -> None:
    """Matches that are made here end at POINTS: the score changes nothing about how a match ends."""

    def wish(route: Route) -> None:
        request = route.request
        body = json.dumps({**(request.post_data_json or {}), "points": POINTS})
        route.continue_(post_data=body if request.method == "POST" else None)

    context.route("**/api/matches", wish)


def test_two_browsers_play_a_match_to_its_end(site: Lab, visitor: Visitor) -> None:
    hosts = visitor()
    shorten(hosts)
    host = hosts.new_page()
    guest = visitor(PHONE, has_touch=True, is_mobile=True, device_scale_factor=2).new_page()
    player, friend = KeyboardPlayer(host), KeyboardPlayer(guest)

    host.goto("/")
    picture(host, "landing")
    guest.goto("/")
    picture(guest, "landing-phone")
    host.get_by_role("button", name="Invite a friend").click()
    link = host.get_by_label("Link to this match")
    expect(link).to_be_visible()
    guest.goto(link.input_value())
    expect(link).not_to_be_visible()  # the friend is here

    player.play(friend, until="hit", within_s=60)  # whoever is served to; the friend stands still afterwards
    picture(host, "match")
    picture(guest, "match-phone")
    player.play(until="end", within_s=120)

    expect(host.locator("#end")).to_be_visible()
    expect(guest.locator("#end")).to_be_visible()
    picture(host, "end")
    picture(guest, "end-phone")

    end = player.events[-1]
    assert (end["k"], end["reason"], end["winner"]) == ("end", "score", player.side)
    assert max(end["score"]) == POINTS
    shown = [host.locator(f"[data-end-score='{side}']").inner_text() for side in (0, 1)]
    assert shown == [str(points) for points in end["score"]]

    match_id = match_of(host)
    stored = stored_match(site, match_id)
    assert stored["score"] == end["score"]
    assert (stored["winner"], stored["end_reason"]) == (player.side, "score")
    timeline = json.loads(gzip.decompress(base64.b64decode(stored["events_gzip"])))
    assert timeline == player.events, "the stored timeline is not what the player saw"


def match_of(page: Page) -> str:
    return page.url.rstrip("/").rsplit("/", 1)[-1]


def heard_in_lobby(page: Page, kind: str) -> list[dict[str, Any]]:
    """The messages of a kind that the lobby will have told the page."""
    heard: list[dict[str, Any]] = []

    def listen(payload: str | bytes) -> None:
        message = json.loads(payload)
        if message["t"] == kind:
            heard.append(message)

    page.on("websocket", lambda socket: socket.url.endswith("/ws/lobby") and socket.on("framereceived", listen))
    return heard


def play_the_machine(page: Page, *, meet: bool = False) -> None:
    page.goto("/")
    page.get_by_label("Meet a player").set_checked(meet)
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page).to_have_url(re.compile("/m/"))


def test_two_strangers_press_play_and_meet(site: Lab, visitor: Visitor) -> None:
    """Each plays the machine, they meet, and play a point; the machines' matches leave no result."""
    ada = visitor().new_page()
    bob = visitor(PHONE, has_touch=True, is_mobile=True, device_scale_factor=2).new_page()
    players = KeyboardPlayer(ada), KeyboardPlayer(bob)
    told = [heard_in_lobby(page, "met") for page in (ada, bob)]

    play_the_machine(ada, meet=True)
    expect(ada.locator("#meeting")).to_contain_text(re.compile("Looking for a player: 0:0[1-9]"))
    players[0].play(until="serve", within_s=30)
    play_the_machine(bob, meet=True)
    machines = [page.url for page in (ada, bob)]
    ids = [match_of(page) for page in (ada, bob)]
    for page, machine in zip((ada, bob), machines, strict=True):
        while page.url == machine:  # three seconds, which a picture may take on a busy machine
            if page is ada and page.locator("#met").is_visible():
                picture(page, "meeting")
            page.wait_for_timeout(100)
    assert ada.url == bob.url
    assert {message["match"] for messages in told for message in messages} == {match_of(ada)}

    players[0].play(players[1], until="hit", within_s=60)
    assert {player.side for player in players} == {0, 1}
    players[0].play(until="point", within_s=90)
    assert site.query(f"select to_json(count(*)) from matches_match where public_id in ('{ids[0]}', '{ids[1]}')") == 0


def test_who_invites_chooses_the_points_and_can_call_it_off(visitor: Visitor) -> None:
    page = visitor().new_page()
    page.goto("/")
    page.get_by_role("button", name="Invite a friend").click()
    link = page.get_by_label("Link to this match")
    first = link.input_value()
    expect(page.get_by_alt_text("QR code of the link")).to_be_visible()
    expect(page.get_by_label("7", exact=True)).to_be_checked()
    page.locator("#invite-points label", has_text="3").click()
    expect(link).not_to_have_value(first)
    expect(page.get_by_label("3", exact=True)).to_be_checked()
    picture(page, "invitation")
    page.get_by_role("button", name="Cancel").click()
    expect(page).to_have_url(re.compile("/$"))


def test_who_stops_looking_stays_with_the_machine(visitor: Visitor) -> None:
    page = visitor().new_page()
    play_the_machine(page, meet=True)
    page.get_by_role("button", name="Stop looking").click()
    expect(page.locator("#meeting")).to_be_hidden()
    alone = page.url
    page.reload()
    expect(page.locator("#meeting")).to_be_hidden()
    assert page.url == alone


def test_guest_plays_the_machine_without_an_account(visitor: Visitor) -> None:
    page = visitor().new_page()
    player = KeyboardPlayer(page)
    play_the_machine(page)
    player.play(until="hit", within_s=60)


def test_player_comes_back_within_the_grace(visitor: Visitor) -> None:
    context = visitor()
    page = context.new_page()
    player = KeyboardPlayer(page)
    play_the_machine(page)
    player.play(until="serve", within_s=30)
    seen = len(player.events)
    page.reload()
    player.play(until="hit", within_s=60)
    assert len(player.events) > seen
