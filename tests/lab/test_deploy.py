"""One playbook makes a bare host the whole service, does nothing when nothing is to do, and survives bad releases."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT, Lab, poll, recap
from tests.processes import started

LOCK = "/run/matchpoint/deploy.lock"
SPOILT = "/opt/matchpoint/releases/spoilt"
STAMPS = (
    "for pid in $(systemctl show --property=MainPID --value 'matchpoint-web@*' 'matchpoint-live@*'); do"
    " tr '\\0' '\\n' < /proc/$pid/environ | sed -n 's/^MATCHPOINT_DEPLOYED=//p'; done 2>/dev/null || true"
)
# The readiness of a release that can never be ready
BROKEN = """

class BrokenCheck:
    async def __call__(self) -> Results:
        return {"broken": "a broken release"}


probe.check_add("broken", BrokenCheck())
"""


def app_copy(folder: Path, name: str, text: str) -> Path:
    """Another release: a copy of the app with some text at the end of one of its files."""
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    with (folder / "app" / name).open("a") as file:
        file.write(text)
    return folder / "app"


def running(site: Lab) -> list[str]:
    """The release that each worker runs."""
    return [stamp.rpartition("-")[0] for stamp in site.run("mp1", STAMPS).split()]


def link(site: Lab, name: str) -> str:
    return site.run("mp1", f"basename $(readlink /opt/matchpoint/{name} || echo none)")


def is_locked(site: Lab) -> bool:
    return site.run("mp1", f"test -e {LOCK} && echo locked || true") == "locked"


def refused(site: Lab, *arguments: str) -> str:
    """What `make` says when it refuses."""
    with pytest.raises(AssertionError) as failure:
        site.make(*arguments)
    return str(failure.value)


# What a host is: packages, users, units, open ports, and every file of its configuration and programs
INVENTORY = (
    "dpkg-query -W; getent passwd; systemctl list-unit-files --no-legend | grep -v transient; ss -Hltn; "
    "find /etc /opt /usr/local /var/lib/systemd -xdev -type f -exec sha256sum {} + | sort -k2"
)


@dataclass(frozen=True)
class Check:
    """A run of check mode: what it said, and what the host was before and after it; what a preflight said before it."""

    preflight: str
    output: str
    before: str
    after: str


def beside_a_shop(lab: Lab) -> str:
    """What a preflight says to a host that serves already; the shop goes out of business afterwards."""
    lab.run("mp1", "mkdir -p /etc/nginx/sites-enabled && touch /etc/nginx/sites-enabled/shop")
    lab.run("mp1", "systemd-run --unit=shop python3 -m http.server 8088")
    try:
        return lab.make("preflight")
    except AssertionError as refused:
        return str(refused)
    finally:
        lab.run("mp1", "systemctl stop shop; rm -r /etc/nginx")


@pytest.fixture(scope="module")
def virgin_check(lab: Lab) -> Check:
    """A preflight beside somebody else's site, and check mode without it, before anything was deployed.

    The host has a locale that was never generated, as images have that name the locale of whoever made them.
    """
    lab.run("mp1", "echo LANG=en_US.UTF-8 > /etc/default/locale && systemctl set-environment LANG=en_US.UTF-8")
    preflight = beside_a_shop(lab) if lab.run("mp1", "test -e /etc/nginx || echo bare") else ""
    before = lab.run("mp1", INVENTORY)
    output = lab.make("deploy", "CHECK=1")
    return Check(preflight, output, before, lab.run("mp1", INVENTORY))


@pytest.fixture(scope="module")
def site(lab: Lab, virgin_check: Check) -> Lab:
    """The lab, deployed once, after check mode has seen it bare."""
    lab.make("deploy")
    return lab


def test_preflight_names_what_is_somebody_elses(virgin_check: Check) -> None:
    if not virgin_check.preflight:
        pytest.skip("the lab was kept from another run: its host is no bare one")
    told = " ".join(virgin_check.preflight.split())
    for part in ("/etc/nginx/sites-enabled/shop", "tcp 8088 of python3 (shop.service)", "TAKE_OVER=1"):
        assert part in told


def test_check_mode_works_on_a_bare_host(virgin_check: Check) -> None:
    assert recap(virgin_check.output)["failed"] == 0


def test_check_mode_leaves_the_bare_host_alone(virgin_check: Check) -> None:
    assert virgin_check.after == virgin_check.before


def test_a_locale_that_was_never_generated_is_no_matter(site: Lab) -> None:
    assert "en_US" not in site.run("mp1", "locale -a")
    assert "LANG=en_US.UTF-8" in site.run("mp1", "systemctl show-environment")
    cluster = "select json_build_array(pg_encoding_to_char(encoding), datcollate, current_setting('data_checksums'))"
    assert site.query(f"{cluster} from pg_database where datname = 'matchpoint'") == ["UTF8", "C.UTF-8", "on"]


def test_second_deploy_changes_nothing(site: Lab) -> None:
    again = recap(site.make("deploy"))
    assert (again["changed"], again["failed"]) == (0, 0)


def test_check_mode_on_the_deployed_host_reports_no_change(site: Lab) -> None:
    check = recap(site.make("deploy", "CHECK=1"))
    assert (check["changed"], check["failed"]) == (0, 0)


def test_no_target_changes_anything_in_check_mode(site: Lab) -> None:
    """Those that refuse CHECK=1 are tested without a host (tests/roles/test_operate.py)."""
    before = site.run("mp1", INVENTORY)
    for target in ("add-host HOST=mp1", "preflight", "releases", "silences"):
        output = site.make(*target.split(), "CHECK=1")
        assert recap(output)["changed"] == 0, target
        assert site.run("mp1", INVENTORY) == before, target


def test_plain_ansible_agrees(site: Lab) -> None:
    plain = recap(site.make("deploy", "STRATEGY=linear"))
    assert (plain["changed"], plain["failed"]) == (0, 0)


@pytest.fixture(scope="module")
def releases(site: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two releases, the lab's first one and the current one.

    The deploy of the second was killed in the middle, the next one failed, and the third went well.
    """
    first = link(site, "current")
    tree = app_copy(tmp_path_factory.mktemp("second"), "manage.py", "# another release\n")
    command = ["make", "-C", str(ROOT), "deploy", "TAGS=app", f"MATCHPOINT_APP={tree}", f"LAB={site.name}", "PUBLISH=0"]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, grace_s=0):
        poll(lambda: len(set(running(site))) == 2, within_s=300, what="some of the workers to be moved")
    assert link(site, "current") == first
    assert is_locked(site), "a playbook that is killed cannot give its lock back"
    output = site.make("deploy", "TAGS=base,firewall")
    assert "taking the lock over from a playbook that was killed" in output
    assert not is_locked(site)
    assert len(set(running(site))) == 2
    # Of the same size: a release with a file that is missing or cut off would be unpacked anew
    start = f"/opt/matchpoint/releases/{link(site, 'next')}/app/matchpoint/asgi.py"
    site.run("mp1", f"cp -p {start} /root/asgi.py && printf '!' | dd of={start} conv=notrunc status=none")
    try:
        refused(site, "deploy", "TAGS=app", f"MATCHPOINT_APP={tree}", "ARGS=-e app_ready_seconds=8")
    finally:
        site.run("mp1", f"mv /root/asgi.py {start}")
    assert set(running(site)) == {first}, "what the killed run had moved goes back as well"
    site.make("deploy", "TAGS=app", f"MATCHPOINT_APP={tree}")
    return first, link(site, "current")


def test_killed_deploy_is_finished_by_the_next(site: Lab, releases: tuple[str, str]) -> None:
    first, second = releases
    assert first != second
    assert link(site, "previous") == first
    assert set(running(site)) == {second}
    assert not is_locked(site)


def test_releases_are_listed(site: Lab, releases: tuple[str, str]) -> None:
    first, second = releases
    # As earlier versions left one when the disk was full; the next deploy removes it, see below
    site.run("mp1", f"mkdir {SPOILT} && touch {SPOILT}/manifest.json")
    lines = [line.split() for line in site.make("releases").splitlines()]
    assert any(line[:3] == ["spoilt", "damaged:", "manifest.json"] for line in lines)
    assert any(line[:1] == [first] and line[-1] == "previous" for line in lines)
    assert any(line[:1] == [second] and line[-1] == "current" for line in lines)
    assert [second, "runs", "on", "live@8101,", "live@8102,", "live@8103,", "web@8001,", "web@8002"] in lines


def test_broken_readiness_leaves_the_old_release_serving(site: Lab, releases: tuple[str, str], tmp_path: Path) -> None:
    _, second = releases
    tree = app_copy(tmp_path, "ops/health.py", BROKEN)
    told = refused(site, "deploy", "TAGS=app", f"MATCHPOINT_APP={tree}", "ARGS=-e app_ready_seconds=30")
    assert "a broken release" in told
    assert "serves again" in told
    assert site.run("mp1", f"ls -d {SPOILT} 2>/dev/null || true") == ""
    assert (link(site, "current"), set(running(site))) == (second, {second})
    for port in (8001, 8002, 8101, 8102, 8103):
        assert '"ready": true' in site.run("mp1", f"curl -sS --fail http://127.0.0.1:{port}/readyz")
    assert not is_locked(site)


def test_lock_of_somebody_else_stops_a_playbook(site: Lab, releases: tuple[str, str]) -> None:
    _, second = releases
    lock = {
        "token": "another", "who": "ada@laptop", "since": "2026-01-02 03:04:05 UTC", "why": "a change of the night",
        "process": {"boot": "another machine", "namespace": 1, "pid": 1, "began": 1},
    }  # fmt: skip
    site.run("mp1", f"cat > {LOCK}", stdin=json.dumps(lock))
    told = refused(site, "rollback")
    for part in (lock["who"], lock["since"], lock["why"], "UNLOCK=1"):
        assert part in told
    assert is_locked(site)
    assert link(site, "current") == second
    site.make("rollback", f"RELEASE={second}", "UNLOCK=1")
    assert not is_locked(site)


def test_rollback_to_what_no_host_has_is_refused(site: Lab, releases: tuple[str, str]) -> None:
    _, second = releases
    told = refused(site, "rollback", "RELEASE=000000000000")
    assert "Not every host has the release 000000000000" in told
    assert "make releases" in told
    assert set(running(site)) == {second}


def test_rollback_returns_every_worker_to_the_previous_release(site: Lab, releases: tuple[str, str]) -> None:
    first, second = releases
    site.make("rollback")
    assert (link(site, "current"), link(site, "previous")) == (first, second)
    assert set(running(site)) == {first}
    assert not is_locked(site)
