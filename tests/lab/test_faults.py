"""What breaks is told, what is mended is told too, and a reboot is no event."""

import json
import time
from datetime import datetime

import pytest

from tests.conftest import Lab, left, poll, recap


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


def test_valkey_keeps_what_was_written_in_transactions_over_a_restart(site: Lab) -> None:
    password = site.secret("valkey_app")
    cli = f"valkey-cli --no-auth-warning --user app --pass {password}"
    keys = "test:alone test:string test:hash"
    lines = "SET test:alone 1\nMULTI\nSET test:string 1\nHSET test:hash field 1\nEXEC\n"
    try:
        assert site.run("mp1", cli, stdin=lines).split() == ["OK", "OK", "QUEUED", "QUEUED", "OK", "1"]
        site.run("mp1", "systemctl restart valkey-server")
        poll(lambda: site.run("mp1", f"{cli} ping").strip() == "PONG", within_s=20, what="Valkey to answer")
        assert site.run("mp1", f"{cli} exists {keys}").strip() == "3"
    finally:
        site.run("mp1", f"{cli} del {keys}")


def test_valkey_takes_other_users_without_a_restart(site: Lab) -> None:
    """As secrets are changed, while people play."""
    ask = "valkey-cli --no-auth-warning --user visitor --pass any ping 2>&1 || true"
    pid = "systemctl show --property MainPID --value valkey-server"
    before = site.run("mp1", pid)
    site.run("mp1", "cp -p /etc/valkey/users.acl /root/users.acl")
    try:
        site.run("mp1", "echo 'user visitor on nopass -@all +ping' >> /etc/valkey/users.acl")
        site.run("mp1", "systemctl reload valkey-server")
        assert site.run("mp1", ask) == "PONG"
    finally:
        site.run("mp1", "mv /root/users.acl /etc/valkey/users.acl && systemctl reload valkey-server")
    assert "WRONGPASS" in site.run("mp1", ask)
    assert site.run("mp1", pid) == before


def test_a_restart_that_a_killed_run_had_no_time_for_is_made_up_for(site: Lab) -> None:
    """A run that dies between writing a file and its handler leaves the file new and what was started with old."""
    units = ("valkey-server", "prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
    main_pids = f"systemctl show --property MainPID --value {' '.join(units)}"
    before = site.run("mp1", main_pids).split()
    for unit in units:
        site.run("mp1", f"echo older > /etc/systemd/system/{unit}.service.d/started-with")
    site.make("deploy", "TAGS=valkey,monitoring")
    after = site.run("mp1", main_pids).split()
    assert len(after) == len(units)
    assert not set(before) & set(after)
    assert recap(site.make("deploy", "TAGS=valkey,monitoring"))["changed"] == 0


def test_a_lost_database_is_not_replaced_by_an_empty_one_without_consent(site: Lab) -> None:
    folder = "/var/lib/postgresql/17"
    site.run("mp1", f"systemctl stop postgresql@17-main && mv {folder}/main {folder}/lost")
    try:
        with pytest.raises(AssertionError) as refused:
            site.make("preflight")
    finally:
        site.run("mp1", f"mv {folder}/lost {folder}/main && systemctl start postgresql@17-main")
    told = " ".join(str(refused.value).split())
    for part in ("mp1 has an empty cluster", "mp1 has run the game", "NEW_DATABASE=1", "make restore"):
        assert part in told


def test_silence_is_made_shown_and_ended(site: Lab) -> None:
    with pytest.raises(AssertionError, match=r"DURATION is\s+9h"):
        site.make("silence", "ALERT=HostDown", "HOST=mp1", "DURATION=9h", "WHY=a new disk")
    made = site.make("silence", "ALERT=HostDown", "HOST=mp1", "DURATION=30m", 'WHY=a new disk, of 2 "TB"')
    active = "amtool silence query --output=json alertname=HostDown"
    (silence,) = json.loads(site.run("mp1", active))
    assert silence["comment"] == 'a new disk, of 2 "TB"'
    assert {(each["name"], each["value"]) for each in silence["matchers"]} == {
        ("alertname", "HostDown"),
        ("host", "mp1"),
    }
    lasts = datetime.fromisoformat(silence["endsAt"]) - datetime.fromisoformat(silence["startsAt"])
    assert lasts.total_seconds() == pytest.approx(1800, abs=5)
    assert silence["id"] in made
    assert silence["id"] in site.make("silences")
    assert silence["id"] not in site.make("silence", f"EXPIRE={silence['id']}")
    assert json.loads(site.run("mp1", active)) == []


def test_host_comes_back_from_a_reboot_by_itself(site: Lab) -> None:
    """What ran runs again, what listened listens, the firewall is closed as before, and the game is played."""
    state = {
        "units": "systemctl list-units --state=active --type=service,timer,socket,mount --plain --no-legend"
        " | awk '{print $1}' | grep -Ev '^(user|session|systemd-|run-|apt-|dpkg|init|ldconfig|postgresql.s)' | sort",
        "listeners": "ss -Hltun | awk '$5 !~ /:(3|4|5|6)[0-9]{4}$/ {print $1, $5}' | sort -u",
        "firewall": "nft --stateless list ruleset | grep -v 127.0.0.11",  # but for the container's own name service
        "failed": "systemctl --failed --plain --no-legend",
    }
    before = {what: site.run("mp1", command) for what, command in state.items()}
    assert before["failed"] == ""
    site.reboot("mp1")

    def lost() -> dict[str, set[str]]:
        now = {what: site.run("mp1", command) for what, command in state.items()}
        return {what: set(before[what].splitlines()) ^ set(now[what].splitlines()) for what in state}

    differs = left(lambda: [f"{what}: {lines}" for what, lines in lost().items() if lines], within_s=90, every_s=2)
    assert not differs
    site.make("gate")
