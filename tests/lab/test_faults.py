"""What breaks is told, what is mended is told too, and a reboot is no event."""

import time

from tests.conftest import Lab, poll


def pages(lab: Lab, alert: str, status: str, since: float) -> list[dict]:
    return [
        event
        for event in lab.events("pager", since)
        if event["body"]["status"] == status
        and any(one["labels"]["alertname"] == alert for one in event["body"]["alerts"])
    ]


def test_stopped_postgres_pages_within_two_minutes_and_resolves(site: Lab) -> None:
    stopped_at = time.time()
    site.run("mp1", "systemctl stop postgresql@17-main")
    try:
        poll(lambda: pages(site, "PostgresDown", "firing", stopped_at), within_s=120, what="the page about PostgreSQL")
    finally:
        started_at = time.time()
        site.run("mp1", "systemctl start postgresql@17-main")
    poll(lambda: pages(site, "PostgresDown", "resolved", started_at), within_s=180, what="the page to resolve")
    mails = [mail for mail in site.events("mail", stopped_at) if "PostgresDown" in mail["subject"] + mail["body"]]
    assert mails, "the page did not arrive by mail as well"


def test_host_comes_back_from_a_reboot_by_itself(site: Lab) -> None:
    site.make("lab-reboot", "HOST=mp1")
    site.make("verify")
