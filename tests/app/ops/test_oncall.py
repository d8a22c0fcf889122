"""The page of on-call says what fires and what is silenced, and silences through Alertmanager's API."""

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from audit.models import Entry
from ops.alertmanager import Alertmanager, Matcher, Unavailable

from .conftest import SILENCE, FakeAlertmanager, alert, silence

FORM = "/ops/oncall/silence/?alertname=PostgresDown&severity=page&component=postgres&host=mp1"

pytestmark = pytest.mark.django_db


def text(client: Client, path: str = "/ops/oncall/", status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


def test_alerts_come_in_the_order_of_their_urgency(oncall: Client, manager: FakeAlertmanager) -> None:
    manager.has["alerts"] = [
        alert("Quiet", "silenced"),
        alert("Ticket", severity="ticket"),
        alert("Held", "inhibited"),
        alert("PostgresDown"),
        alert("Watchdog", severity="none"),
    ]
    context = oncall.get("/ops/oncall/").context
    assert [row.alert.name for row in context["firing"]] == ["PostgresDown", "Ticket"]
    assert [row.alert.name for row in context["quiet"]] == ["Quiet", "Held"]


def test_an_alert_says_all_that_somebody_needs(oncall: Client, manager: FakeAlertmanager) -> None:
    manager.has["alerts"] = [alert("PostgresDown"), alert("Watchdog", severity="none")]
    page = text(oncall)
    assert "PostgresDown &lt;b&gt;happened&lt;/b&gt;" in page
    assert "Nobody can sign in." in page
    assert 'href="/ops/runbooks/PostgresDown"' in page
    assert 'href="https://pong.example.com/ops/grafana/d/matchpoint-overview/overview"' in page
    assert "alertname=PostgresDown&amp;severity=page&amp;component=postgres&amp;host=mp1" in page
    assert "heartbeat is missing" not in page


def test_a_link_that_is_none_is_left_out(oncall: Client, manager: FakeAlertmanager) -> None:
    bad = alert("Odd")
    bad["annotations"]["dashboard_url"] = bad["generatorURL"] = "javascript:alert(1)"
    manager.has["alerts"] = [bad]
    assert "javascript:" not in text(oncall)


def test_a_missing_heartbeat_is_said_aloud(oncall: Client, manager: FakeAlertmanager) -> None:
    assert "heartbeat is missing" in text(oncall)


def test_without_an_alertmanager_the_page_does_not_look_calm(oncall: Client, settings: Any) -> None:
    settings.ALERTMANAGER_URLS = ["http://127.0.0.1:9", "http://127.0.0.1:19"]
    page = text(oncall, status=503)
    assert "No Alertmanager answers" in page
    assert "127.0.0.1:9:" in page
    assert "127.0.0.1:19:" in page
    assert "Nothing." not in page
    assert "Alertmanager does not answer" in text(oncall, "/ops/")


def test_the_index_counts_what_fires(oncall: Client, manager: FakeAlertmanager) -> None:
    manager.has["alerts"] = [alert("A"), alert("B"), alert("C", severity="ticket"), alert("D", "silenced")]
    assert oncall.get("/ops/").context["firing"] == {"page": 2, "ticket": 1}


def test_silences_show_who_why_and_until_when(oncall: Client, manager: FakeAlertmanager) -> None:
    manager.has["silences"] = [silence("an <i>old</i> one"), silence(state="expired")]
    page = text(oncall)
    assert "an &lt;i&gt;old&lt;/i&gt; one" in page
    assert "host!~&quot;db.*&quot;" in page
    assert page.count(f"/ops/oncall/silence/{SILENCE}/expire/") == 1


def test_a_silence_is_narrow_unless_somebody_widens_it(oncall: Client, manager: FakeAlertmanager) -> None:
    form = oncall.get(FORM).context["form"]
    assert form["narrow"].initial == ["host"]
    assert [name for name, _ in form.fields["narrow"].choices] == ["component", "host", "severity"]


def test_a_silence_has_an_author_a_reason_and_an_end(
    oncall: Client, manager: FakeAlertmanager, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ops.oncall_views"):
        answer = oncall.post(FORM, {"narrow": ["host"], "duration": "2h", "comment": "moving 'the' <data>"})
    assert answer.headers["Location"] == "/ops/oncall/"
    ((kind, told),) = manager.told
    assert kind == "create"
    assert told["matchers"] == [
        {"name": "alertname", "value": "PostgresDown", "isRegex": False, "isEqual": True},
        {"name": "host", "value": "mp1", "isRegex": False, "isEqual": True},
    ]
    assert (told["createdBy"], told["comment"]) == ("grace", "moving 'the' <data>")
    length = datetime.fromisoformat(told["endsAt"]) - datetime.fromisoformat(told["startsAt"])
    assert length == timedelta(hours=2)
    (line,) = [record for record in caplog.records if record.message == "silence created"]
    assert (vars(line)["user"], vars(line)["silence"]) == ("grace", SILENCE)
    assert vars(line)["matchers"] == 'alertname="PostgresDown" host="mp1"'
    kept = Entry.objects.get(kind="silence")
    assert (kept.name, kept.what) == (
        "grace",
        f"""created {SILENCE} for alertname="PostgresDown" host="mp1": moving 'the' <data>""",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"duration": "9000h"},
        {"duration": ""},
        {"comment": "x"},
        {"comment": ""},
        {"narrow": ["mountpoint"]},
    ],
)
def test_a_silence_without_bounds_is_refused(oncall: Client, manager: FakeAlertmanager, wrong: dict[str, Any]) -> None:
    answer = oncall.post(FORM, {"narrow": ["host"], "duration": "1h", "comment": "a good reason"} | wrong)
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert manager.told == []


@pytest.mark.parametrize("query", ["", "host=mp1", "alertname=A&bad-name=x", "alertname=A&host=" + "x" * 300])
def test_an_address_without_an_alert_opens_no_form(oncall: Client, manager: FakeAlertmanager, query: str) -> None:
    assert oncall.get(f"/ops/oncall/silence/?{query}").headers["Location"] == "/ops/oncall/"


def test_the_heartbeat_is_never_silenced(oncall: Client, manager: FakeAlertmanager) -> None:
    address = "/ops/oncall/silence/?alertname=Watchdog&severity=none"
    for ask in (oncall.get, lambda path: oncall.post(path, {"duration": "1h", "comment": "a good reason"})):
        assert ask(address).headers["Location"] == "/ops/oncall/"
        assert "Watchdog is the heartbeat of alerting: it is never silenced." in text(oncall)
    assert manager.told == []
    assert "/ops/oncall/silence/" not in text(oncall, "/ops/runbooks/Watchdog")


def test_what_alertmanager_says_against_it_is_shown(oncall: Client, manager: FakeAlertmanager) -> None:
    answer = oncall.post(FORM, {"duration": "1h", "comment": "please refuse"})
    assert answer.status_code == 422
    assert "no such thing" in answer.content.decode()


def test_a_silence_that_could_not_be_made_is_not_claimed(oncall: Client, settings: Any) -> None:
    settings.ALERTMANAGER_URLS = []
    answer = oncall.post(FORM, {"duration": "1h", "comment": "a good reason"})
    assert answer.status_code == 503
    assert "Nothing is silenced" in answer.content.decode()


def test_a_silence_can_be_ended(oncall: Client, manager: FakeAlertmanager, caplog: pytest.LogCaptureFixture) -> None:
    path = f"/ops/oncall/silence/{SILENCE}/expire/"
    assert oncall.get(path).status_code == 405
    with caplog.at_level(logging.INFO, "ops.oncall_views"):
        assert oncall.post(path).headers["Location"] == "/ops/oncall/"
    assert manager.told == [("expire", SILENCE)]
    assert "silence expired" in caplog.messages


def test_strange_sites_cannot_silence(oncall: Client, manager: FakeAlertmanager) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies.update(oncall.cookies)
    assert strict.post(FORM, {"duration": "1h", "comment": "a good reason"}).status_code == 403
    assert strict.post(f"/ops/oncall/silence/{SILENCE}/expire/").status_code == 403
    assert manager.told == []


def test_every_alertmanager_is_tried_and_each_failure_named() -> None:
    with pytest.raises(Unavailable) as error:
        Alertmanager(["http://127.0.0.1:9", "http://127.0.0.1:19"]).alerts()
    assert [reason.partition(": ")[0] for reason in error.value.reasons] == ["127.0.0.1:9", "127.0.0.1:19"]


def test_matchers_read_as_alertmanager_writes_them() -> None:
    kinds = [(False, True), (False, False), (True, True), (True, False)]
    written = [str(Matcher("a", 'b"c', is_regex, is_equal)) for is_regex, is_equal in kinds]
    assert written == ['a="b\\"c"', 'a!="b\\"c"', 'a=~"b\\"c"', 'a!~"b\\"c"']


def test_who_may_only_look_silences_nothing(oncall: Client, staff: User, manager: FakeAlertmanager) -> None:
    User.objects.filter(pk=staff.pk).update(is_superuser=False)
    for path in ("/ops/oncall/", "/ops/runbooks/PostgresDown"):
        assert "/ops/oncall/silence/" not in text(oncall, path)
    assert oncall.get(FORM).status_code == 403
    for path in (FORM, f"/ops/oncall/silence/{SILENCE}/expire/"):
        assert oncall.post(path, {"narrow": ["host"], "duration": "1h", "comment": "a good reason"}).status_code == 403
    assert manager.told == []
