"""What visitors and programs get at /status and /status.json."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from django.test import Client

from status.board import Board
from status.measure import AVAILABLE
from status.model import DAY_S, PARTS
from status.present import ceiling, duration, percent
from tests.app.status.conftest import Clock, FakePrometheus
from tests.app.status.test_measure import alert
from tests.conftest import ROOT

PageOf = Callable[..., Board]

SCHEMA = json.loads((ROOT / "docs/status.schema.json").read_text())


def page(**headers: str) -> str:
    response = Client().get("/status", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def machine() -> dict[str, Any]:
    response = Client().get("/status.json")
    assert response.status_code == 200
    data: dict[str, Any] = json.loads(response.content)
    jsonschema.validate(data, SCHEMA)
    return data


def verdict(text: str) -> str:
    found = re.search(r'status-(\w+) when-fresh">.*?<h1>(.*?)</h1>', text, re.DOTALL)
    assert found
    return found[1]


def test_a_good_day_is_told_with_ninety_bars_a_part(page_of: PageOf, prometheus: FakePrometheus) -> None:
    page_of(prometheus.url)
    text = page()
    assert verdict(text) == "operational"
    assert "There are no incidents." in text
    charts = [ElementTree.fromstring(chart) for chart in re.findall(r"<svg[^>]*role=\"img\".*?</svg>", text, re.DOTALL)]
    assert len(charts) == len(PARTS) + 2
    for chart in charts:
        bars = chart.findall("rect")
        assert len(bars) == 90
        assert [bar.get("class") for bar in bars] == ["bar-none"] * 86 + ["bar-good"] * 4
        assert all(float(bar.get("height", "0")) > 0 and float(bar.get("y", "-1")) >= 0 for bar in bars)
        assert chart.get("aria-labelledby") in re.findall(r' id="([^"]+)"', text)
    assert "2026-03-09: 100\xa0%" in text
    assert "2026-01-09: not measured" in text


def test_every_day_stands_in_a_table_as_well(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.history({part: {"2026-03-08": "0.98765"} for part in PARTS}, minutes="720")
    page_of(prometheus.url)
    rows = re.findall(r'<tr><th scope="row">.*?</tr>', page(), re.DOTALL)
    assert len(rows) == 90
    assert 'datetime="2026-03-10"' in rows[0]
    cells = re.findall(r"<td>(.*?)</td>", rows[2])
    assert cells[:4] == ["98.76\xa0%, in the 50\xa0% of the day that were measured"] * 4
    assert cells[4:] == ["18\xa0ms", "18\xa0ms"]
    assert re.findall(r"<td>(.*?)</td>", rows[-1]) == ["not measured"] * 6


def test_a_fault_is_told_in_players_words(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.ratios(site="1", matches="1", connections="1", accounts="0")
    prometheus.alerts = [alert()]
    page_of(prometheus.url)
    text = page()
    assert verdict(text) == "degraded"
    assert "Nobody can sign in." in text
    assert '<time datetime="2026-03-10T11:40:00Z">March 10, 2026, 11:40 UTC</time>' in text
    data = machine()
    assert data["state"] == "degraded"
    assert {one["id"]: one["state"] for one in data["components"]}["accounts"] == "down"
    assert data["incidents"] == [
        {"components": ["accounts"], "since": "2026-03-10T11:40:00Z", "impacts": ["Nobody can sign in."]}
    ]


def test_without_a_game_the_game_is_down(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.ratios(site="1", matches="0", connections="0", accounts="1")
    page_of(prometheus.url)
    assert verdict(page()) == "down"
    assert machine()["state"] == "down"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_annotations_are_text_and_never_markup(page_of: PageOf, prometheus: FakePrometheus) -> None:
    page_of(prometheus.url)
    plain = Tags(page()).tags
    evil = '<script>alert(1)</script><img src=x onerror="x"> {{ 7 }} "quoted\' </p>'
    prometheus.alerts = [alert(annotations={"impact": evil}, labels={"component": "<b>"})]
    page_of(prometheus.url)
    text = page()
    tags = Tags(text).tags
    assert "&lt;script&gt;alert(1)" in text
    assert len([tag for tag, _ in tags if tag == "script"]) == len([tag for tag, _ in plain if tag == "script"])
    assert not [tag for tag, _ in tags if tag == "img"]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert machine()["incidents"][0]["impacts"] == [evil]


def test_nothing_of_the_inside_is_told(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.alerts = [alert(annotations={"impact": "Players on db1 wait.", "summary": "db1 10.0.0.7 is down"})]
    prometheus.refused.add(AVAILABLE % DAY_S)
    page_of(prometheus.url)
    for text in (page(), json.dumps(machine())):
        assert "Signing in, profiles and past matches may not work." in text
        for secret in ("db1", "10.0.0.7", "PostgresDown", "/ops/", "127.0.0.1", "rometheus", "ostgre", "Release"):
            assert secret not in text, secret


@pytest.mark.parametrize(
    ("prepare", "said", "measurements"),
    [
        ("never", "Measurements are not available at the moment, and none are remembered.", "unavailable"),
        ("later", "Everything here is what was last known.", "last-known"),
        ("unset", "No measurements are set up here.", "not-configured"),
    ],
)
def test_it_says_when_it_does_not_know(
    page_of: PageOf, prometheus: FakePrometheus, clock: Clock, prepare: str, said: str, measurements: str
) -> None:
    page_of(*([] if prepare == "unset" else [prometheus.url]))
    if prepare == "later":
        assert verdict(page()) == "operational"
        clock.now += 3600
    prometheus.stop()
    text = page()
    assert verdict(text) == "unknown"
    assert said in text
    data = machine()
    assert (data["measurements"], data["state"]) == (measurements, "unknown")
    assert {one["state"] for one in data["components"]} == {"unknown"}
    if prepare == "later":
        assert '<time datetime="2026-03-10T12:00:00Z">March 10, 2026, 12:00 UTC</time>' in text
        assert "Last known: Works" in text
        assert {one["last_known_state"] for one in data["components"]} == {"operational"}


def test_it_does_not_say_that_all_works_when_some_is_not_known(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.ratios(site="1", matches="1", connections="1")
    page_of(prometheus.url)
    text = page()
    assert verdict(text) == "unknown"
    assert "What is measured works. The rest is not known." in text
    assert "There are no incidents." not in text
    assert "Was gemessen wird, funktioniert." in page(**{"accept-language": "de"})
    assert machine()["state"] == "unknown"


def test_nothing_works_as_it_should_above_an_incident(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.alerts = [alert("HostFilesystemReadOnly", labels={"component": "host"})]
    page_of(prometheus.url)
    text = page()
    assert verdict(text) == "degraded"
    assert "Everything works." not in text
    assert "Nobody can sign in." in text
    assert machine()["state"] == "degraded"


def test_a_history_that_cannot_be_read_is_missed_in_words(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.refused.add(AVAILABLE % DAY_S)
    page_of(prometheus.url)
    text = page()
    assert verdict(text) == "operational"
    assert "The history is not available at the moment." in text
    assert "<table" not in text
    assert machine()["components"][0]["days"] == []


def test_numbers_that_are_none_are_not_measured(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.history({part: {"2026-03-09": "NaN"} for part in PARTS})
    prometheus.today(DAY_S // 2, available="NaN", minutes="NaN", latency="+Inf")
    page_of(prometheus.url)
    text = page()
    assert "not measured yet" in text
    assert "nan" not in text.lower().replace("finance", "")
    assert machine()["components"][0]["availability"] is None


def test_the_json_is_as_documented(page_of: PageOf, prometheus: FakePrometheus) -> None:
    page_of(prometheus.url)
    data = machine()
    assert data["copy"] == "fresh"
    assert [one["id"] for one in data["components"]] == list(PARTS)
    assert data["components"][0]["availability"] == 1
    assert data["components"][0]["measured_days"] == 4
    assert [one["id"] for one in data["latency"]] == ["pages", "moves"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | {"state": "fine"}, SCHEMA)


def test_both_may_be_kept_for_a_moment_by_language(page_of: PageOf, prometheus: FakePrometheus) -> None:
    page_of(prometheus.url)
    response = Client().get("/status")
    assert response.headers["Cache-Control"] == "public, max-age=15"
    assert response.headers["Vary"] == "Accept-Language, Cookie"
    assert not response.cookies
    assert Client().get("/status.json").headers["Cache-Control"] == "public, max-age=15"
    assert Client().post("/status").status_code == 405


def test_it_speaks_german(page_of: PageOf, prometheus: FakePrometheus) -> None:
    prometheus.history({part: {"2026-03-08": "0.98765"} for part in PARTS})
    prometheus.alerts = [alert(annotations={"impact": "A sentence that nobody has translated."})]
    page_of(prometheus.url)
    text = page(**{"accept-language": "de"})
    assert '<html lang="de"' in text
    assert "98,76\xa0%" in text
    assert "10. März 2026, 11:40 UTC" in text
    assert '<p lang="en">A sentence that nobody has translated.</p>' in text
    assert "Konten und Verlauf" in text
    untranslated = ("What the numbers mean", "Every day", "measured", "today", "Live connections", "works", "or more")
    assert not [words for words in untranslated if words in text]
    assert page(**{"accept-language": "en"}) != text
    client = Client()
    client.cookies["django_language"] = "de"
    assert '<html lang="de"' in client.get("/status").content.decode()


def test_pages_have_no_inline_code_and_need_no_script(page_of: PageOf, prometheus: FakePrometheus) -> None:
    page_of(prometheus.url)
    text = page()
    assert not [words for words in (" style=", " onclick=", "<style", "http-equiv") if words in text]
    assert all("src" in attributes for tag, attributes in Tags(text).tags if tag == "script")


def test_the_edge_can_tell_an_old_copy(page_of: PageOf, prometheus: FakePrometheus) -> None:
    """nginx replaces these, each exactly once, when it has only an old copy."""
    page_of(prometheus.url)
    text = page()
    assert text.count('data-copy="fresh"') == 1
    assert "The site does not answer." in text
    assert Client().get("/status.json").content.decode().count('"copy": "fresh"') == 1
    template = (ROOT / "roles/nginx/templates/etc/nginx/nginx.conf.j2").read_text()
    assert """sub_filter 'data-copy="fresh"'""" in template
    assert """sub_filter '"copy": "fresh"'""" in template


def test_every_page_leads_there(client: Client, db: None) -> None:
    for path in ("/", "/accounts/login/", "/nothing/"):
        assert 'href="/status"' in client.get(path).content.decode()


def test_a_visitor_with_a_session_costs_no_look_up(
    page_of: PageOf, prometheus: FakePrometheus, django_assert_num_queries: Callable[..., Any], db: None
) -> None:
    page_of(prometheus.url)
    client = Client()
    client.cookies["sessionid"] = "whoever"
    client.cookies["mp_guest"] = "whoever"
    with django_assert_num_queries(0):
        response = client.get("/status")
    assert response.status_code == 200
    assert "sessionid" not in response.cookies


def test_numbers_are_never_better_than_they_were() -> None:
    assert percent(1.0) == "100\xa0%"
    assert percent(0.999999) == "99.99\xa0%"
    assert percent(0.95) == "95.00\xa0%"
    assert percent(0.29) == "29.00\xa0%"
    assert percent(0.0) == "0.00\xa0%"
    assert [duration(value) for value in (0.0004, 0.0184, 0.9996, 2.34)] == [
        "0.4\xa0ms", "18\xa0ms", "1.0\xa0s", "2.3\xa0s",
    ]  # fmt: skip
    assert [ceiling(value) for value in (0.0, 0.0004, 0.0184, 0.2, 3.0)] == pytest.approx([0.001, 0.001, 0.02, 0.2, 5])
