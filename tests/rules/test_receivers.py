"""What arrives by mail, Slack, PagerDuty, Telegram, ntfy and a webhook: everything, whatever signs are in it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rules.alertmanager import (
    Alertmanager,
    Received,
    deployed,
    ntfy,
    recording,
    running,
    telegram,
    wait_for,
)
from tests.rules.model import role_value

SUMMARY = 'Disk of <db1> & "more" äöü \N{TABLE TENNIS PADDLE AND BALL} is full'
IMPACT = "Nobody can <b>sign in</b> & it's *bad*"
DESCRIPTION = "5 < 6 && x > 1, since `now`"
RUNBOOK = "https://pong.example.com/ops/runbooks/HostDiskAlmostFull"
DASHBOARD = "https://pong.example.com/ops/grafana/d/matchpoint-hosts/hosts?var-host=db1&from=now-3h"
ONCALL = "https://pong.example.com/ops/oncall/"
SILENCE = "make silence ALERT=HostDiskAlmostFull HOST=db1 DURATION=1h WHY='...'"
KEY = "0123456789abcdef0123456789abcdef"


def alert(name: str = "HostDiskAlmostFull", severity: str = "page", *, ended: bool = False, **labels: str) -> dict:
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": name, "severity": severity, "component": "host", "host": "db1", **labels},
        "annotations": {
            "summary": SUMMARY, "impact": IMPACT, "description": DESCRIPTION, "runbook_url": RUNBOOK,
            "dashboard_url": DASHBOARD,
        },
        "startsAt": "2026-01-02T03:04:05Z",
        "endsAt": (now - timedelta(seconds=1) if ended else now + timedelta(hours=1)).isoformat(),
    }  # fmt: skip


def settings(received: Received) -> dict:
    base = f"http://127.0.0.1:{received.port}"
    return {
        "alertmanager_smtp_url": f"smtp://127.0.0.1:{received.mail_port}",
        "alertmanager_deadman_url": f"{base}/deadman",
        "alertmanager_receivers": [
            {"type": "email", "to": "ops@example.com"},
            {"type": "slack", "url": f"{base}/slack", "channel": "#ops"},
            {"type": "pagerduty", "key": KEY, "api": f"{base}/pagerduty", "for": ["page"]},
            {"type": "telegram", "token": "123:secret", "chat": -100, "api": base},
            {"type": "ntfy", "url": f"{base}/topic", "token": "tk_secret"},
            {"type": "webhook", "url": f"{base}/hook", "for": ["page"]},
        ],
    }


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    with recording() as record:
        yield record


@pytest.fixture(scope="module")
def manager(received: Received, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    folder = tmp_path_factory.mktemp("alertmanager")
    with running(deployed(folder, **settings(received)), folder) as one:
        yield one


@pytest.fixture(scope="module")
def told(manager: Alertmanager, received: Received) -> Received:
    """A page that fired and ended, a ticket that fired, and a heartbeat."""
    manager.send(alert(), alert("Watchdog", "none", component="monitoring"))
    everywhere = ("/slack", "/pagerduty", "/bot", "/topic", "/hook", "/deadman")
    wait_for(lambda: all(map(received.at, everywhere)) and received.mails, f"a page; refused: {received.refused}")
    manager.send(alert(ended=True))
    wait_for(lambda: all(len(received.at(path)) > 1 for path in everywhere[:-1]) and len(received.mails) > 1, "its end")
    manager.send(alert("HostClockWrong", "ticket"))
    wait_for(lambda: len(received.mails) > 2 and len(received.at("/topic")) > 2, "a ticket")
    assert not received.refused
    return received


def complete(text: str) -> None:
    for part in (SUMMARY, IMPACT, RUNBOOK, DASHBOARD, ONCALL, SILENCE, "2026-01-02 03:04:05 UTC"):
        assert part in text, text


def mail_text(mail: Any) -> str:
    return mail.get_body(preferencelist=("plain",)).get_content()


def test_mail_says_everything_as_it_is(told: Received) -> None:
    fired, ended, ticket = told.mails[:3]
    assert fired["Subject"] == f"[PAGE] {SUMMARY}"
    assert fired["To"] == "ops@example.com"
    text = mail_text(fired)
    complete(text)
    assert DESCRIPTION in text
    assert "less '+/^# HostDiskAlmostFull'" in text
    assert ended["Subject"] == f"[RESOLVED PAGE] {SUMMARY}"
    assert re.search(r"until 20\d\d-", mail_text(ended))
    assert ticket["Subject"] == f"[TICKET] {SUMMARY}"


def unescaped(text: str) -> str:
    """As Slack shows it: links by their text, three entities."""
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    assert not re.search(r"<(?!https://)", text), "what is in < > and no link, Slack swallows"
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_slack_shows_signs_as_they_are_and_links(told: Received) -> None:
    fired, ended = (body["attachments"][0] for body in told.at("/slack")[:2])
    assert unescaped(fired["title"]) == f"[PAGE] {SUMMARY}"
    assert fired["title_link"] == ONCALL
    assert fired["color"] == "danger"
    for part in (SUMMARY, IMPACT, DESCRIPTION, SILENCE, f"<{RUNBOOK}|Runbook>", f"<{DASHBOARD}|Dashboard>", ONCALL):
        assert part in unescaped(fired["text"]), fired["text"]
    assert told.at("/slack")[0]["channel"] == "#ops"
    assert unescaped(ended["title"]) == f"[RESOLVED PAGE] {SUMMARY}"
    assert ended["color"] == "good"


def test_pagerduty_opens_an_incident_and_closes_the_same(told: Received) -> None:
    fired, ended = told.at("/pagerduty")[:2]
    assert (fired["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert fired["dedup_key"] == ended["dedup_key"]
    assert fired["routing_key"] == KEY
    payload = fired["payload"]
    assert payload["summary"] == f"[PAGE] {SUMMARY}"
    assert (payload["severity"], payload["class"]) == ("critical", "HostDiskAlmostFull")
    assert payload["component"] == "host"
    assert payload["source"] == "pong.example.com"
    complete(payload["custom_details"]["text"])
    assert [link["href"] for link in fired["links"]] == [RUNBOOK, DASHBOARD, ONCALL]
    assert len(told.at("/pagerduty")) == 2, "tickets do not go there"


def test_telegram_takes_the_message_and_shows_it_as_it_is(told: Received) -> None:
    fired, ended = told.at("/bot")[:2]
    assert next(path for path, *_ in told.http if path.startswith("/bot")) == "/bot123:secret/sendMessage"
    assert str(fired["chat_id"]) == "-100"
    assert fired["parse_mode"] == "HTML"
    shown = telegram(fired["text"])
    for part in (f"[PAGE] {SUMMARY}", IMPACT, DESCRIPTION, SILENCE):
        assert part in shown.text, shown.text
    assert shown.links == [RUNBOOK, DASHBOARD, ONCALL]
    assert f"[RESOLVED PAGE] {SUMMARY}" in telegram(ended["text"]).text


def test_ntfy_shows_title_and_text(told: Received) -> None:
    (path, headers, fired), (_, _, ended), (ticket_path, _, ticket) = [
        one for one in told.http if one[0].startswith("/topic")
    ][:3]
    assert headers["Authorization"] == "Bearer tk_secret"
    shown = ntfy(path, fired)
    assert shown["title"] == f"[PAGE] {SUMMARY}"
    complete(shown["message"])
    assert len(shown["message"].encode()) < 4096, "ntfy makes a file of more"
    assert (shown["priority"], shown["click"]) == ("5", ONCALL)
    assert ntfy(path, ended)["title"] == f"[RESOLVED PAGE] {SUMMARY}"
    assert ntfy(ticket_path, ticket)["title"] == f"[TICKET] {SUMMARY}"
    assert ntfy(ticket_path, ticket)["priority"] == "3"


def test_a_webhook_gets_the_alert_itself(told: Received) -> None:
    fired, ended = told.at("/hook")[:2]
    assert (fired["status"], ended["status"]) == ("firing", "resolved")
    assert fired["alerts"][0]["annotations"] == alert()["annotations"]
    assert len(told.at("/hook")) == 2, "tickets do not go there"


def test_the_heartbeat_goes_to_the_dead_man_alone(told: Received) -> None:
    assert {one["labels"]["alertname"] for body in told.at("/deadman") for one in body["alerts"]} == {"Watchdog"}
    others = [body for path, _, body in told.http if not path.startswith("/deadman")]
    assert "Watchdog" not in str(others)


def test_many_alerts_are_one_message_that_every_way_takes(manager: Alertmanager, told: Received) -> None:
    seen = {path: len(told.at(path)) for path in ("/slack", "/bot", "/topic", "/pagerduty")}
    manager.send(*(alert("HostDown", host=f"app{number}", extra="x" * 200) for number in range(40)))

    def shortened() -> bool:  # the first ones may go out before the last alerts are in
        bot, topic = (told.at(path)[seen[path] :] for path in ("/bot", "/topic"))
        return any("... and 37 more" in telegram(message["text"]).text for message in bot) and any(
            "(and 39 more)" in message["embeds"][0]["title"] for message in topic
        )

    wait_for(lambda: shortened() or told.refused, "messages that tell of all")
    wait_for(lambda: all(len(told.at(path)) > count for path, count in seen.items()), "one each")
    assert not told.refused


def test_a_way_that_does_not_work_is_told_of_by_the_others(manager: Alertmanager, told: Received) -> None:
    for integration, broken, others in (
        ("slack", "/slack", ("/bot", "/hook")),
        ("telegram", "/bot", ("/slack", "/hook")),
    ):
        before = {path: len(told.at(path)) for path in (broken, *others)}
        manager.send(
            alert("AlertDeliveryFailing", "page", integration=integration, receiver_name="page", component="monitoring")
        )
        wait_for(
            lambda before=before, others=others: all(len(told.at(path)) > before[path] for path in others), integration
        )
        assert not [body for body in told.at(broken)[before[broken] :] if f'"{integration}"' in str(body)]
        assert len(told.at(broken)) == before[broken], f"{integration} told of its own failure"


def test_configuration_holds_no_secret(tmp_path: Path) -> None:
    with recording() as record:
        text = str(deployed(tmp_path, **settings(record)))
    for secret in ("123:secret", "tk_secret", KEY, "/topic", "/hook", "127.0.0.1:0/slack"):
        assert secret not in text.replace("/secrets/", "")


@pytest.mark.parametrize(
    ("receivers", "deadman", "wanted"),
    [
        (
            [{"type": "slack"}],
            "none",
            "the slack receiver has no url, for example {type: slack, url: https://hooks.slack.com",
        ),
        ([{"type": "slack", "url": "hooks"}], "none", "the slack receiver's url must be the address of a webhook"),
        ([{"type": "pagerduty", "key": "short"}], "none", "the pagerduty receiver's key must be the integration key"),
        (
            [{"type": "telegram", "token": "1:a", "chat": "me"}],
            "none",
            "the telegram receiver's chat must be the number of a chat",
        ),
        (
            [{"type": "telegram", "token": "a", "chat": 1}],
            "none",
            "the telegram receiver's token must be the token that BotFather gave",
        ),
        (
            [{"type": "ntfy", "url": "https://n.example.com/a?b=c"}],
            "none",
            "the ntfy receiver's url must be the address of a topic",
        ),
        ([{"type": "email", "to": "ops"}], "none", "the email receiver's to must be a mail address"),
        (
            [{"type": "webhook", "url": "https://x", "token": "y"}],
            "none",
            "the webhook receiver has token, which it does not know",
        ),
        (
            [{"type": "pigeon"}],
            "none",
            "there is no type pigeon; there are email, slack, pagerduty, telegram, ntfy, webhook",
        ),
        (
            [{"type": "email", "to": "a@b", "for": "page"}],
            "none",
            "the email receiver's for is page: it must be [page]",
        ),
        ([{"type": "email", "to": "a@b", "for": ["page"]}], "none", "nobody is told of tickets"),
        (
            [{"type": "email", "to": "a@b"}],
            "",
            "matchpoint_deadman_url (or alertmanager_deadman_url) must be the address of a webhook",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_do(receivers: list, deadman: str, wanted: str) -> None:
    chosen = {"alertmanager_receivers": receivers, "alertmanager_deadman_url": deadman}
    faults = role_value("alertmanager", "__alertmanager_faults", **chosen)
    assert any(wanted in fault for fault in faults), faults


def test_right_settings_are_let_pass(received: Received) -> None:
    assert role_value("alertmanager", "__alertmanager_faults", **settings(received)) == []


@pytest.mark.parametrize(
    ("settings", "somebody"),
    [
        ({"matchpoint_pager_url": "https://pager.example.com/hook"}, True),
        ({"matchpoint_receivers": [{"type": "ntfy", "url": "https://ntfy.example.com/a"}]}, True),
        ({"matchpoint_receivers": [{"type": "slack", "url": "https://s.example.com", "for": ["page"]}]}, True),
        ({"matchpoint_receivers": [{"type": "slack", "url": "https://s.example.com", "for": ["ticket"]}]}, False),
        ({"matchpoint_receivers": [{"type": "email", "to": "second@example.com"}]}, False),
        ({}, False),
    ],
)
def test_a_site_has_somebody_who_wakes_up(settings: dict, somebody: bool) -> None:
    faults = role_value("preflight", "__preflight_faults_pager", **settings)
    assert bool(faults) is not somebody
    assert all("nobody would wake up" in fault and "for example" in fault for fault in faults)
