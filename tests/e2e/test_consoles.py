"""Somebody on call at three in the morning: in with two factors, sees what fires, silences it, reads a runbook."""

import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT, Lab
from tests.e2e.conftest import PHONE, Visitor
from tests.staff import Account, code_to_make, code_to_remove

PICTURES = ROOT / os.environ.get("SCREENSHOTS", ".cache/screenshots")

# Pages glide into each other, which a browser calls an error when it is too busy for it
CALM: dict[str, Any] = {"reduced_motion": "reduce"}


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def manage(lab: Lab, code: str) -> None:
    lab.run(lab.hosts("app")[0], 'matchpoint-manage shell -c "$(cat)"', stdin=code)


def raise_alert(lab: Lab, name: str, *, until: datetime) -> None:
    """Tell Alertmanager of an alert, as Prometheus would; it is over when `until` is past."""
    alert = {
        "labels": {"alertname": name, "severity": "ticket", "component": "test", "host": "mp1"},
        "annotations": {
            "summary": 'The disk "/var" of mp1 has < 9 % left',
            "impact": "None yet. When it is full, results wait.",
        },
        "startsAt": (datetime.now(UTC) - timedelta(minutes=3)).isoformat(),
        "endsAt": until.isoformat(),
        "generatorURL": "https://matchpoint.localhost/ops/prometheus/graph?g0.expr=up&g0.tab=1",
    }
    lab.run(
        lab.hosts("monitor")[0],
        "curl -sSf -H 'Content-Type: application/json' -d @- http://127.0.0.1:9093/api/v2/alerts",
        stdin=json.dumps([alert]),
    )


def silences(lab: Lab, author: Account) -> list[dict]:
    """What Alertmanager itself says of somebody's silences."""
    told = lab.run(lab.hosts("monitor")[0], "curl -sSf http://127.0.0.1:9093/api/v2/silences")
    return [each for each in json.loads(told) if each["createdBy"] == author.name]


@pytest.fixture
def on_call(site: Lab) -> Iterator[Account]:
    account = Account.on_call()
    manage(site, code_to_make(account))
    yield account
    manage(site, code_to_remove(account))


@pytest.fixture
def firing(site: Lab, on_call: Account) -> Iterator[str]:
    """The name of an alert that fires, and never did before."""
    name = f"TestOfTheOnCallPage{secrets.randbelow(10**6)}"
    raise_alert(site, name, until=datetime.now(UTC) + timedelta(minutes=30))
    yield name
    raise_alert(site, name, until=datetime.now(UTC) - timedelta(seconds=1))
    for left in silences(site, on_call):
        if left["status"]["state"] != "expired":
            site.run(site.hosts("monitor")[0], f"curl -sSf -X DELETE http://127.0.0.1:9093/api/v2/silence/{left['id']}")


def log_in(page: Page, account: Account) -> None:
    page.get_by_label("Login").fill(account.name)
    page.locator("input[name=password]").fill(account.password)
    page.locator("main form button[type=submit]").first.click()
    page.locator("input[name=code]").fill(account.code)
    page.locator("main form button[type=submit]").first.click()


def test_on_call_reads_silences_and_finds_the_runbook(
    site: Lab, visitor: Visitor, on_call: Account, firing: str
) -> None:
    page = visitor(PHONE, java_script_enabled=False, has_touch=True, is_mobile=True, **CALM).new_page()
    page.goto("/ops/oncall/")
    log_in(page, on_call)
    expect(page).to_have_url("https://matchpoint.localhost/ops/oncall/")

    card = page.locator("article", has_text='The disk "/var" of mp1 has < 9 % left')
    expect(card).to_contain_text("mp1")
    expect(card).to_contain_text("None yet. When it is full, results wait.")
    page.reload()
    picture(page, "oncall-phone")
    card.get_by_role("link", name=f"Silence {firing} on mp1").click()
    page.get_by_text("30 minutes").click()
    page.get_by_label("Why, and who is on it").fill("a test, <b>which</b> ends this")
    picture(page, "oncall-silence-phone")
    page.get_by_role("button", name="Silence").click()

    expect(page.get_by_role("status")).to_contain_text("is silent until")
    expect(page.locator("article", has_text='The disk "/var" of mp1 has < 9 % left')).to_contain_text("silenced")
    (made,) = silences(site, on_call)
    assert made["comment"] == "a test, <b>which</b> ends this"
    assert {(one["name"], one["value"]) for one in made["matchers"]} == {("alertname", firing), ("host", "mp1")}
    length = datetime.fromisoformat(made["endsAt"]) - datetime.fromisoformat(made["startsAt"])
    assert length <= timedelta(minutes=30)

    page.locator(f"#silence-{made['id']}").get_by_role("button", name="End it now").click()
    expect(page.get_by_role("status")).to_contain_text("The silence is over")
    assert [each["status"]["state"] for each in silences(site, on_call)] == ["expired"]

    page.get_by_role("link", name="Runbooks").click()
    page.get_by_label("Words in a runbook").fill("postgres pg_lsclusters")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="PostgresDown").click()
    expect(page.locator("main")).to_contain_text("pg_lsclusters")
    log = site.run(site.hosts("app")[0], "journalctl -u 'matchpoint-web@*' --since=-10min --no-pager -o cat")
    assert f'message="silence created" user={on_call.name} silence={made["id"]}' in log
    assert f'message="silence expired" user={on_call.name} silence={made["id"]}' in log


def test_consoles_work_in_a_browser_and_close_with_the_login(site: Lab, visitor: Visitor, on_call: Account) -> None:
    context = visitor(**CALM)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)

    page.goto("/ops/prometheus/graph?g0.expr=count(up)&g0.tab=1")
    log_in(page, on_call)
    expect(page).to_have_url("https://matchpoint.localhost/ops/prometheus/graph?g0.expr=count(up)&g0.tab=1")
    expect(page.locator(".console tbody, .console_results, table.table").first).to_contain_text("{}")
    picture(page, "console-prometheus")
    page.goto("/ops/prometheus/alerts")
    page.get_by_text("PostgresDown (0 active)").click()
    expect(page.get_by_text("alert: PostgresDown")).to_be_visible()

    page.goto("/ops/runbooks/PostgresDown")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0] == "pg_lsclusters"
    picture(page, "runbook")
    page.goto("/ops/")
    picture(page, "consoles")
    assert said == []

    other = context.new_page()
    other.goto("/ops/oncall/")
    page.get_by_role("link", name="Log out").first.click()
    page.locator("main form button[type=submit]").first.click()
    for path in ("/ops/oncall/", "/ops/prometheus/graph"):
        other.goto(path)
        expect(other).to_have_url(f"https://matchpoint.localhost/accounts/login/?next={path.replace('/', '%2F')}")


def test_runbooks_stay_open_while_the_database_is_down(site: Lab, visitor: Visitor, on_call: Account) -> None:
    page = visitor(**CALM).new_page()
    page.goto("/ops/oncall/")
    log_in(page, on_call)
    expect(page.get_by_role("heading", name="On call")).to_be_visible()
    database = site.hosts("db")[0]
    site.run(database, "systemctl stop postgresql@17-main")
    try:
        for path, said in [
            ("/ops/runbooks/PostgresDown", "pg_lsclusters"),
            ("/ops/oncall/", "Silences"),
            ("/ops/prometheus/alerts", "PostgresDown"),
        ]:
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 200, path
            expect(page.locator("body")).to_contain_text(said)
        stranger = visitor(**CALM).new_page()
        answer = stranger.goto("/ops/runbooks/PostgresDown")
        assert answer is not None
        assert "pg_lsclusters" not in stranger.content()
    finally:
        site.run(database, "systemctl start postgresql@17-main")
