"""A newcomer types what the pages say, in a clone of this tree, for one bare host: `make test-newcomer`.

The container of a lab plays the host, and `world` the internet; no command knows of the lab. Tests go on from one
another, in this order.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import ROOT, TEST_LAB, Lab, booted, recap
from tests.newcomer.bare import differences, look
from tests.newcomer.pages import Page
from tests.processes import run

DOMAIN = "matchpoint.localhost"
BOX = "mp1"  # as the lab calls it; the newcomer says `pong`
PAGES = {path.stem: Page(path) for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
FIRST = PAGES["deploy"].block("The first deploy")
HOOK = {"type": "webhook", "url": "http://world:8080/pager", "for": ["ticket"]}
URLS = "ls /etc/prometheus/*/*-url /etc/prometheus/*-url 2>/dev/null || true"
# What this run's own `make` and its lab said
OURS = re.compile(
    r"ANSIBLE_|MATCHPOINT_|MAKE|UV_|(INVENTORY|STRATEGY|LAB|TOPOLOGY|PUBLISH|ARGS|SUITE|VIRTUAL_ENV|DOCKER_HOST)$"
)
pytestmark = pytest.mark.timeout(1800)


class Newcomer:
    """Somebody with a clone, an editor and an SSH key, and with this lab for a host and an internet."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self._origin, self._checkout = lab, folder / "origin", folder / "checkout"
        self.known_hosts = folder / "known_hosts"
        self._environment = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        self._environment |= {
            "PATH": f"{self._ssh(folder)}:{os.environ['PATH']}",
            "EDITOR": f"{sys.executable} {ROOT}/tests/newcomer/editor.py",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        self.sets()
        self._clone()

    def _ssh(self, folder: Path) -> Path:
        """What else `~/.ssh` has: the key, and hosts that are known."""
        (folder / "bin").mkdir()
        (folder / "ssh_config").write_text(
            f"Host *\n  IdentityFile {self.lab.state}/ssh_key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
        )
        program = folder / "bin/ssh"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
        program.chmod(0o755)
        return program.parent

    def _clone(self) -> None:
        listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self._origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._origin / name)
        run(["git", "init", "-q", "-b", "main", self._origin], check=True)
        self.publish("The version that is deployed first")
        run(["git", "clone", "-q", self._origin, self._checkout], check=True)
        (self._checkout / ".cache").mkdir()
        for shared in (".tools", ".cache/uv"):  # what was fetched once
            (self._checkout / shared).symlink_to(ROOT / shared)

    def publish(self, message: str) -> None:
        """A commit upstream of everything there."""
        author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        for words in (("add", "--all", "--force"), (*author, "commit", "-q", "-m", message)):
            run(["git", "-C", self._origin, *words], env=self._environment, check=True)

    def release(self) -> None:
        """A new version upstream."""
        with (self._origin / "app/matchpoint/asgi.py").open("a") as file:
            file.write("\n# another release\n")
        self.publish("The version that is upgraded to")

    def sets(self, **more: object) -> None:
        """What goes into the inventory: for the examples of inventories/single, and as this internet is not the one."""
        state = self.lab.state
        instead = {
            "matchpoint_domain": DOMAIN,
            "matchpoint_admin_email": f"ops@{DOMAIN}",
            "matchpoint_smtp_url": "smtp://world:25",
            "matchpoint_pager_url": "http://world:8080/pager",
            "matchpoint_deadman_url": "http://world:8080/deadman",
            "matchpoint_backup_url": "sftp://backup-store@world/store",
            "matchpoint_backup_host_keys": (state / "backup_host_keys").read_text(),
            "matchpoint_acme_directory": "https://world:14000/dir",
        }
        beside = {
            "matchpoint_acme_ca": f"{state}/acme-api-ca.pem",
            "matchpoint_public_ca": f"{state}/root-ca.pem",
            "matchpoint_public_address": self.lab.address(BOX),
            "grafana_source": (state / "grafana_source").read_text().strip(),
            "valkey_maxmemory_mb": 256,
            "app_ready_seconds": 120,
        }
        host = {"ansible_host": self.lab.address(BOX), "ansible_user": "ops"}
        values = {
            "all.yml": {"instead": instead, "beside": beside | more},
            "hosts.yml": {"instead": host, "beside": {}},
        }
        self._environment["NEWCOMER_VALUES"] = json.dumps(values)

    def types(self, command: str, *, exits: int = 0, timeout_s: float = 1200) -> str:
        """What a command of a page says, its names replaced by the newcomer's own."""
        command = command.replace("pong.example.com", DOMAIN)
        done = run(["bash", "-c", command], cwd=self._checkout, env=self._environment, timeout_s=timeout_s)
        said = done.stdout + done.stderr
        assert bool(done.returncode) == bool(exits), f"{command} exited {done.returncode}:\n{said[-20_000:]}"
        return said

    def means(self, sentence: str) -> None:
        """Does what `export INVENTORY=...` does for all commands that come."""
        name, _, value = sentence.removeprefix("export ").partition("=")
        self._environment[name] = value

    def on_host(self, command: str) -> str:
        return self.lab.run(BOX, command, timeout_s=180)

    def accounts(self) -> list[str]:
        return self.lab.query("select coalesce(json_agg(username), '[]') from accounts_user where is_staff", host=BOX)


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    with booted(Lab(f"{TEST_LAB}-newcomer")) as lab:
        yield Newcomer(lab, tmp_path_factory.mktemp("newcomer"))


@pytest.fixture(scope="module")
def bare(ada: Newcomer) -> set[str]:
    return look(ada.lab, BOX)


def first(word: str) -> str:
    """The command of the first deploy's block with a word."""
    return next(line for line in FIRST if word in line)


def test_settings_are_copied_edited_and_looked_at(ada: Newcomer, bare: set[str]) -> None:
    for line in PAGES["README"].block("On a real host"):
        assert " ".join(line.split()) in {" ".join(one.split()) for one in FIRST}, "README says something else"
    ada.types(first("cp -r"))
    assert "an example of the documents" in re.sub(r"\s+", " ", ada.types(first("make preflight"), exits=2))
    ada.sets(matchpoint_receivers=[HOOK])
    ada.types(first("$EDITOR"))
    ada.means(re.findall(r"`(export INVENTORY=[^`]+)`", PAGES["deploy"].section("Afterwards"))[0])
    unknown = "unrecognized or mismatching host key"
    assert unknown in re.sub(r"\s+", " ", ada.types("make preflight", exits=2))
    trouble = PAGES["troubleshooting"]
    way = trouble.row("Before anything was changed", f"`{unknown}`, `Host key verification failed`")[0]
    ada.types(way.replace("ADDRESS", ada.lab.address(BOX)).replace("~/.ssh/known_hosts", f"{ada.known_hosts}"))
    assert "Nothing is wrong" in ada.types(first("make doctor"))
    ada.types(first("make preflight"))
    ada.types(first("CHECK=1"))
    assert not differences(bare, look(ada.lab, BOX), data_kept=False), "until now nothing was changed"


def test_first_deploy_stops_until_the_store_lets_its_key_in_and_then_serves(ada: Newcomer) -> None:
    deploy = FIRST[FIRST.index(first("CHECK=1")) + 1]
    said = ada.types(deploy, exits=2)
    key = re.findall(r"^ssh-\S+ \S+.*$", ada.types("make backup-key"), re.MULTILINE)
    told = re.search(r"ssh-ed25519 AAAA[\w+/=]+", said)
    assert told, said[-3000:]
    ada.lab.run("world", "cat >> ~backup-store/.ssh/authorized_keys", stdin=f"{told[0]}\n")
    assert not key or told[0] in key[0]
    assert DOMAIN in ada.types(deploy)
    assert recap(ada.types(deploy))["changed"] == 0
    ada.types(first("make verify"))
    ada.types(first("make staff"))
    assert ada.accounts() == ["ada"]
    ada.types(first("make test-alert"))


def test_what_is_lost_comes_back_from_a_backup(ada: Newcomer) -> None:
    ada.types(PAGES["backup"].block("Look, and back up now")[0])
    tells, _, does = PAGES["backup"].block("Go back: `make restore`")
    assert "CONFIRM" in ada.types(tells, exits=2)
    moment = datetime.now(UTC)
    ada.on_host("sudo -u postgres psql -d matchpoint -qc \"update accounts_user set username = 'bob' where is_staff\"")
    assert ada.accounts() == ["bob"]
    ada.types(re.sub(r"TIME='[^']+'", f"TIME='{moment:%Y-%m-%d %H:%M:%S.%f}+00'", does))
    assert ada.accounts() == ["ada"]


def test_an_upgrade_and_the_way_back(ada: Newcomer) -> None:
    def serving() -> str:
        return ada.on_host("basename $(readlink /opt/matchpoint/current)")

    before = serving()
    ada.release()
    for command in [each for each in PAGES["deploy"].row("Afterwards", "upgrade") if "upgrades.md" not in each]:
        ada.types(command)
    after = serving()
    assert after != before
    back, listing = PAGES["deploy"].row("Afterwards", "go back")[:2]
    ada.types(back)
    assert serving() == before
    said = ada.types(listing)
    assert before in said
    assert after in said


def test_what_is_turned_off_goes_and_nothing_else(ada: Newcomer) -> None:
    before = set(ada.on_host(URLS).split())
    ada.sets(matchpoint_receivers=[])
    ada.types(first("$EDITOR"))
    said = ada.types("make deploy")
    gone = before - set(ada.on_host(URLS).split())
    assert len(gone) == 1
    assert f"removed    {gone.pop()}" in said, "and nothing else"


def test_what_came_with_the_site_goes_with_it_and_its_data_are_kept(ada: Newcomer, bare: set[str]) -> None:
    shows, keeps, _ = PAGES["uninstall"].block("The site")
    assert recap(ada.types(shows))["failed"] == 0
    assert "postgresql@17-main" in ada.on_host("systemctl list-units --state=active --plain --no-legend")
    said = re.sub(r"\s+", " ", ada.types(keeps))
    left = differences(bare, look(ada.lab, BOX), data_kept=True)
    assert not left, left
    assert ada.on_host("ls -d /var/lib/matchpoint-kept/var/lib/postgresql/17/main/base")
    assert "the user postgres, whose data were kept" in said


def test_a_lost_host_is_made_anew_and_leaves_with_all_its_data(ada: Newcomer, bare: set[str]) -> None:
    for command in PAGES["backup"].block("Go back: `make restore`", with_word="NEW_DATABASE"):
        ada.types(command)
    assert ada.accounts() == ["ada"]
    *_, deletes = PAGES["uninstall"].block("The site")
    # What the first life kept, with its users, was there before the second
    ada.types(deletes)
    left = differences(bare, look(ada.lab, BOX), data_kept=True)
    assert not left, left
