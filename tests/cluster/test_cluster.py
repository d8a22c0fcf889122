"""What a cluster promises, proven on one that is deployed from nothing: `make test-cluster`.

The tests stand in an order that saves waiting, on one cluster, and from the first drill on under one load: 40 matches
of bots at a time, and steady page views, through both edges. Each leaves the cluster whole. What players noticed of a
drill is judged when its matches are over: in `test_players.py`, after all of them.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.conftest import Cluster, Tell
from tests.cluster.drills import Playbook, Releases, current, refused, running
from tests.cluster.judge import Resumed, percentile, resumed
from tests.cluster.load import MATCHES, Load, primary, stored, takes_writes
from tests.conftest import Lab, poll, recap
from tests.processes import run

TAKEOVER_S = 8.0
WRITES_S = 60.0
ROLLBACK_S = 60.0
KILLS = 10
CUT_S = 600
SERVED_S = 10


def releases_of(lab: Lab) -> set[str]:
    """What all workers of all hosts run; every host must have all of its workers."""
    found = running(lab)
    by_host = Counter(worker.split(" ")[0] for worker in found)
    assert set(by_host) == set(lab.hosts("app"))
    assert len(set(by_host.values())) == 1, found
    assert all(found.values()), found
    return set(found.values())


# From nothing


def test_a_cluster_converges_from_nothing(cluster: Cluster) -> None:
    done = recap(cluster.output)
    assert (done["failed"], done["unreachable"]) == (0, 0)
    assert len(cluster.lab.hosts()) >= 5


def test_second_deploy_changes_nothing(lab: Lab, releases: Releases) -> None:
    again = recap(lab.make("deploy", releases.working("first")))
    assert (again["changed"], again["failed"], again["unreachable"]) == (0, 0, 0)


def test_verify_passes(lab: Lab) -> None:
    lab.make("verify")


# Players notice nothing


def test_players_do_not_notice_the_deploy_of_a_release(lab: Lab, releases: Releases, load: Load) -> None:
    before = releases_of(lab)
    with load.window("deploy of a new release"):
        lab.make("deploy", releases.working("second"))
    assert not releases_of(lab) & before


def test_players_do_not_notice_the_reboot_of_an_app_host(lab: Lab, load: Load) -> None:
    booted_at = lab.run("app2", "stat -c %Y /proc/1")
    before = running(lab, "app2")
    with load.window("reboot of app2"):
        lab.make("reboot", "HOST=app2")
    assert lab.run("app2", "stat -c %Y /proc/1") != booted_at
    assert running(lab, "app2") == before


def test_matches_of_a_killed_worker_go_on_elsewhere(lab: Lab, load: Load, tell: Tell) -> None:
    before = running(lab)
    time.sleep(SERVED_S)  # the ball is in play after the hand-overs of the reboot, whose pauses the kills would prolong
    with load.window("kill -9 of live workers"):
        outcomes = [kill_busiest(lab, load) for _ in range(KILLS)]
        poll(lambda: running(lab) == before, within_s=30, what="the last killed worker to be back")
    tell("how matches of killed workers went on", [line for _, line in outcomes])
    for found, line in outcomes:
        assert len(found) >= MATCHES // 10, f"{line}: it had hardly a match"
        assert all(one.s <= TAKEOVER_S for one in found), line


def kill_busiest(lab: Lab, load: Load) -> tuple[list[Resumed], str]:
    """Kill the worker with most matches, wait until they go on, and tell how."""
    poll(lambda: len(load.matches_now()) >= MATCHES, within_s=60, what="enough matches")
    run = load.run
    now = time.time()
    worker, _ = Counter(run.worker_at(match, now) for match in run.playing_at(now)).most_common(1)[0]
    host, _, port = worker.rpartition("-")
    died_at = float(lab.run(host, f"date +%s.%N; systemctl kill --signal=KILL matchpoint-live@{port}"))
    deadline = time.monotonic() + 3 * TAKEOVER_S
    while True:
        found = resumed(load.run, worker, died_at)
        if all(one.s < math.inf for one in found) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    waits = [one.s for one in found]
    line = f"{worker}: {len(found)} matches, p50 {percentile(waits, 0.5):.1f} s, max {max(waits, default=0):.1f} s"
    return found, f"{line}, on {', '.join(sorted({one.worker for one in found}))}"


# Releases that fail, and playbooks that do


def test_a_release_that_is_never_ready_leaves_the_old_one_serving_and_the_next_deploy_heals(
    lab: Lab, releases: Releases, load: Load
) -> None:
    before = releases_of(lab)
    with load.window("a release that is never ready"):
        said = refused(lab, "deploy", releases.unready("unready"), "TAGS=app", "ARGS=-e app_ready_seconds=8")
    assert "is not ready after 8 s" in said
    assert "serves again" in said
    assert releases_of(lab) == before == set(current(lab).values())
    with load.window("the deploy after it"):
        lab.make("deploy", releases.working("third"), "TAGS=app")
    assert not releases_of(lab) & before


def test_a_rollback_loses_nothing_and_leaves_all_hosts_on_one_release(lab: Lab, load: Load, tell: Tell) -> None:
    before = releases_of(lab)
    app = "/opt/matchpoint/previous/app"
    lab.run("app2", f"mv {app}/matchpoint {app}/lost")
    try:
        with load.window("a rollback that fails on app2"):
            said = refused(lab, "rollback", "ARGS=-e app_ready_seconds=8")
    finally:
        lab.run("app2", f"mv {app}/lost {app}/matchpoint")
    assert "app1, which had gone back, serves what it served before" in said
    assert releases_of(lab) == before == set(current(lab).values())
    with load.window("rollback"):
        began = time.monotonic()
        lab.make("rollback")
        took_s = time.monotonic() - began
    tell("rollback", [f"{took_s:.0f} s with all hosts at a time, so that pauses are longer than in a deploy"])
    assert not releases_of(lab) & before
    assert took_s <= ROLLBACK_S


def test_a_killed_playbook_is_finished_by_the_next(lab: Lab, releases: Releases, load: Load) -> None:
    before = releases_of(lab)
    with load.window("playbook killed in mid-roll, and the next run"):
        with Playbook(lab, "deploy", releases.working("fourth"), "TAGS=app") as playbook:
            middle_of_roll(lab, playbook, before)
            playbook.kill()
        assert before <= set(running(lab).values()), "the roll was over before the playbook died"
        lab.make("deploy", releases.working("fourth"), "TAGS=app")
    assert not releases_of(lab) & before


def test_a_host_that_is_lost_in_mid_roll_stops_it_and_harms_nobody(lab: Lab, releases: Releases, load: Load) -> None:
    before = releases_of(lab)
    with load.window("app host unreachable in mid-roll, and the next run"):
        with Playbook(lab, "deploy", releases.working("fifth"), "TAGS=app") as playbook:
            first = middle_of_roll(lab, playbook, before)
            (second,) = set(lab.hosts("app")) - {first}
            with without_ssh(lab, second, but_from=first):
                assert playbook.wait() != 0
        assert f"{second} cannot be reached" in playbook.output, playbook.output[-4000:]
        assert set(running(lab, second).values()) == before
        lab.make("deploy", releases.working("fifth"), "TAGS=app")
    assert not releases_of(lab) & before


def middle_of_roll(lab: Lab, playbook: Playbook, before: set[str]) -> str:
    """Wait until a worker runs what none ran before; the host of it."""

    def moved() -> str:
        assert playbook.is_running, f"the deploy ended before it had moved a worker: {playbook.output[-3000:]}"
        return next((worker.split(" ")[0] for worker, name in running(lab).items() if name and name not in before), "")

    return poll(moved, within_s=300, what="the first worker on the new release")


@contextmanager
def without_ssh(lab: Lab, host: str, *, but_from: str) -> Iterator[None]:
    """A host whose SSH port answers nobody but one other host; everything else on it goes on."""
    refuse = f"ip saddr != {lab.address(but_from)} tcp dport 22 reject with tcp reset"
    rules = f"table inet drill {{ chain input {{ type filter hook input priority -10; {refuse}; }}; }}"
    cut = f"echo '{rules}' | nft -f - && sleep {CUT_S}; nft delete table inet drill"  # it ends by itself as well
    lab.run(host, f'systemd-run --quiet --collect --unit=drill --on-active=0.2 sh -c "{cut}"')

    def answers() -> bool:
        try:
            return lab.run(host, "echo yes", timeout_s=5) == "yes"
        except Exception:
            return False

    poll(lambda: not answers(), within_s=10, what=f"{host} to be out of reach")
    try:
        yield
    finally:
        ssh, *words = lab.ssh(host, "systemctl stop drill.timer drill.service; nft delete table inet drill")
        run([ssh, "-J", but_from, *words], timeout_s=30, check=True)
        poll(answers, within_s=10, what=f"{host} to be back")


def test_a_release_that_no_host_has_is_refused(lab: Lab) -> None:
    before = releases_of(lab)
    said = refused(lab, "rollback", "RELEASE=0123456789ab")
    assert "Not every host has the release 0123456789ab. Hosts that have it: none" in said
    assert releases_of(lab) == before


# The database


def test_promote_refuses_while_the_primary_serves(lab: Lab) -> None:
    before = primary(lab)
    said = refused(lab, "promote")
    assert before in said
    assert "Nothing was changed." in said
    assert primary(lab) == before


def test_a_dead_primary_is_replaced_without_the_loss_of_an_acknowledged_result(
    lab: Lab, load: Load, tell: Tell
) -> None:
    old = primary(lab)
    (new,) = set(lab.hosts("db")) - {old}
    with load.window("primary killed, standby promoted") as began:
        poll(lambda: acknowledged(load, began), within_s=60, what="results to lose")
        killed_at = time.time()
        lab.kill(old)
        told_until = lab.query("select to_json(extract(epoch from pg_last_xact_replay_timestamp()))", host=new)
        commanded_at = time.time()
        lab.make("promote", f"CONFIRM={old}")
        resumed_at = poll(lambda: min(acknowledged(load, commanded_at).values(), default=0), within_s=90, what="writes")
    promised = {match: t for match, t in acknowledged(load, 0).items() if t <= min(told_until, killed_at)}
    kept = stored(lab, promised)
    lines = [
        f"writes came back {resumed_at - commanded_at:.1f} s after the command, {resumed_at - killed_at:.1f} s after"
        " the power cut",
        f"{len(promised)} results were acknowledged before the last replicated commit, {len(kept)} of them are there",
    ]
    tell("the database", lines)
    assert primary(lab) == new
    assert promised
    assert set(promised) == set(kept)
    assert resumed_at - commanded_at <= WRITES_S


def acknowledged(load: Load, since: float) -> dict[str, float]:
    """When the site answered with the result of a match."""
    matches = load.run.matches.values()
    return {match.id: match.stored["t"] for match in matches if match.stored and match.stored["t"] >= since}


def test_the_old_primary_rejoins_as_standby(lab: Lab) -> None:
    new = primary(lab)
    (old,) = set(lab.hosts("db")) - {new}
    lab.start(old)
    assert not takes_writes(lab, old), f"{old} came back as a second primary"
    lab.make("rejoin", f"HOST={old}")
    (standby,) = lab.query("select json_agg(state) from pg_stat_replication", host=new)
    assert standby == "streaming"
    assert lab.query("select to_json(pg_is_in_recovery())", host=old)
    assert primary(lab) == new


# Hosts that stop


def test_players_and_on_call_go_on_without_an_edge_and_a_monitoring_host(lab: Lab, load: Load, tell: Tell) -> None:
    load.settle()
    with load.window("edge2 stopped", dead_edges=["edge2"]) as began:
        lab.stop("edge2")
        page = poll(lambda: lab.pages("EdgeDown", "firing", began), within_s=240, what="the page about edge2")
    with load.window("app2 stopped, and with it one of two monitoring hosts", dead_edges=["edge2"]):
        lab.stop("app2")
        started_at = time.time()
        lab.start("edge2")
        poll(lambda: lab.pages("EdgeDown", "resolved", started_at), within_s=240, what="the page that edge2 is back")
    lab.start("app2")
    tell("on-call", [f"the page about edge2 came {page[0]['at'] - began:.0f} s after it began to stop"])


def test_nobody_was_notified_twice(lab: Lab) -> None:
    events = lab.events("pager", 0)
    assert events
    assert not repeated(events)
    assert not Counter((mail["subject"], mail["body"]) for mail in lab.events("mail", 0)).most_common(1)[0][1] > 1


def repeated(events: list[dict[str, Any]]) -> list[str]:
    """Notifications of a group of alerts that say what the one before it said, much sooner than a reminder is due."""
    found, last = [], {}
    for event in events:
        body = event["body"]
        says = sorted((one["fingerprint"], one["status"], one["startsAt"]) for one in body["alerts"])
        if last.get(body["groupKey"]) == says:
            found.append(f"{body['groupKey']} at {event['at']}: {says}")
        last[body["groupKey"]] = says
    return found
