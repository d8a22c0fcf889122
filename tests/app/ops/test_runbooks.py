"""Runbooks are pages: every file of the checkout, with commands that can be copied and links that lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from ops.runbooks import runbook_get, runbook_names, runbook_search

FILES = sorted(Path(django_settings.RUNBOOKS_DIR).glob("*.md"))

pytestmark = pytest.mark.django_db


@pytest.fixture
def book(settings: Any, tmp_path: Path) -> Path:
    """A folder with runbooks of the test."""
    settings.RUNBOOKS_DIR = tmp_path
    (tmp_path / "OtherAlert.md").write_text("---\nalert: OtherAlert\n---\n\n# OtherAlert\n\nNothing.\n")
    path = tmp_path / "SomeAlert.md"
    path.write_text(
        "---\nalert: SomeAlert\nseverity: page\ncomponent: web\ndashboard: matchpoint-http\npanel: Errors\n---\n\n"
        "# SomeAlert\n\n## What players see\n\nPages `break`.\n\n## Is it real?\n\n"
        "```sh check\ncat /proc/loadavg | grep '<x>'\n```\n\n```sh fix\nsudo reboot\n```\n\n"
        "See OtherAlert, not SomeAlert. <script>alert(1)</script> [bad](javascript:alert(1))\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    return path


def test_there_are_runbooks() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_runbook_is_a_page_with_all_its_commands(oncall: Client, file: Path) -> None:
    answer = oncall.get(f"/ops/runbooks/{file.stem}")
    assert answer.status_code == 200
    page = answer.content.decode()
    commands = re.findall(r"^```sh.*?\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL)
    assert page.count('<figure class="command') == len(re.findall(r"^```\w", file.read_text(), re.MULTILINE))
    assert commands == [] or "<pre" in page
    for link in set(re.findall(r'href="(/ops/runbooks/\w+)"', page)):
        assert oncall.get(link).status_code == 200


def test_a_page_shows_what_the_file_says_and_links_where_it_must(oncall: Client, book: Path) -> None:
    page = oncall.get("/ops/runbooks/SomeAlert").content.decode()
    assert "cat /proc/loadavg | grep &#x27;&lt;x&gt;&#x27;" in page
    assert re.search(r'class="command command-check"><figcaption[^>]*>Check', page)
    assert re.search(r'class="command command-fix"><figcaption[^>]*>Fix', page)
    assert page.count('<a href="/ops/runbooks/OtherAlert">OtherAlert</a>') == 1
    assert '<a href="/ops/runbooks/SomeAlert">' not in page
    assert 'href="/ops/grafana/d/matchpoint-http"' in page
    assert 'href="/ops/oncall/silence/?alertname=SomeAlert"' in page
    assert "<td>1</td>" in page


def test_a_runbook_cannot_bring_script(oncall: Client, book: Path) -> None:
    page = oncall.get("/ops/runbooks/SomeAlert").content.decode()
    assert "<script>alert" not in page
    assert 'href="javascript:' not in page


@pytest.mark.parametrize("name", ["Nothing", "..%2Fbase", "../../settings", "some-alert", "README", "..", "%2e%2e"])
def test_only_runbooks_are_served(oncall: Client, book: Path, name: str) -> None:
    assert oncall.get(f"/ops/runbooks/{name}").status_code == 404
    assert runbook_get(name) is None


def test_the_index_lists_them_by_component(oncall: Client, book: Path) -> None:
    page = oncall.get("/ops/runbooks/")
    assert [(component, [each.name for each in books]) for component, books in page.context["groups"]] == [
        ("", ["OtherAlert"]),
        ("web", ["SomeAlert"]),
    ]
    assert "Pages break." in page.content.decode()


def test_the_index_finds_words_in_text_and_name(oncall: Client, book: Path) -> None:
    assert [each.name for each in runbook_search("LOADAVG page")] == ["SomeAlert"]
    assert [each.name for each in runbook_search("other")] == ["OtherAlert", "SomeAlert"]
    assert "None has these words" in oncall.get("/ops/runbooks/", {"q": "<nothing>"}).content.decode()


def test_a_severity_may_be_a_sentence(book: Path) -> None:
    some = runbook_get("SomeAlert")
    assert some
    assert some.severities == ["page"]
    book.write_text(book.read_text().replace("severity: page", "severity: ticket below 10 %, page below 5 %"))
    some = runbook_get("SomeAlert")
    assert some
    assert some.severities == ["page", "ticket"]


def test_names_are_those_of_files() -> None:
    assert runbook_names() == [file.stem for file in FILES if file.stem != "README"]
