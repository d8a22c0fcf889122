"""Which version this is, which one hosts have, and that nobody gets a breaking change who has not read of it."""

import json
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from tests.processes import run
from tests.roles.test_full_disk import load
from tests.roles.test_wiring import ansible
from tests.rules.model import ROOT, role_template

versions = load("ansible/versions.py")
lock = load("ansible/plugins/modules/deploy_lock.py")

CHANGELOG = """\
# Changelog

## [Unreleased]

### Breaking

- Newest,
  on two lines.

### Fixed

- No breaking one.

## [0.3.0] - 2026-12-03

### Breaking

- Third.
- And fourth.

## [0.2.0] - 2026-12-02

### Added

- Nothing breaks.

## [0.1.0] - 2026-12-01

### Breaking

- First.
"""


def test_unread_are_the_breaking_changes_since_the_version_of_the_host() -> None:
    def unread(version: str, *read: str) -> list[str]:
        found = versions.unread(CHANGELOG, {"version": version, "read": [versions.digest(each) for each in read]})
        return [sentence for _, sentence in found]

    assert unread("0.1.0") == unread("0.2.0") == ["Newest, on two lines.", "Third.", "And fourth."]
    assert unread("0.3.0-dev", "Third.") == ["Newest, on two lines.", "And fourth."]
    assert unread("0.3.0") == ["Newest, on two lines."]
    assert unread("0.3.0", "Newest, on two lines.") == []


def test_upgrade_stops_on_breaking_changes_until_they_were_read(tmp_path: Path) -> None:
    """The action, with this checkout's own CHANGELOG: hosts of 0.1.0, the consent, and what hosts noted of that."""
    tasks = [
        {"site_version": {"records": {"app1": {"version": "0.1.0"}, "new1": {}}}, "ignore_errors": True},
        {"site_version": {"records": {"app1": {"version": "0.1.0"}}, "consent": True}},
        {"site_version": {"records": {"app1": "{{ answer1.note }}"}}},
        {"site_version": {"records": {"new1": {}}}},
    ]
    tasks = [task | {"register": f"answer{number}"} for number, task in enumerate(tasks)]
    told = {"ansible.builtin.copy": {"dest": str(tmp_path / "told"), "content": "{{ [answer0, answer1] | to_json }}"}}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [*tasks, told]}]))
    done = ansible("ansible-playbook", "-i", "localhost,", "-c", "local", playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    refused, agreed = json.loads((tmp_path / "told").read_text())
    assert refused["failed"]
    assert "app1 runs 0.1.0, and this checkout is" in refused["msg"]
    assert "`preflight_disk_mb` is gone" in refused["msg"]
    assert "Nothing was changed." in refused["msg"]
    assert "make deploy BREAKING=1" in refused["msg"]
    assert agreed["note"]["version"] == versions.checkout()["version"]


def test_hosts_tell_the_version_that_was_noted_or_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOTE", "VERSION"):
        monkeypatch.setattr(lock, name, tmp_path / name)
    monkeypatch.setattr(lock, "TRACES", [tmp_path / "app.env"])
    assert lock.version() == {}, "a bare host"
    (tmp_path / "app.env").touch()
    assert lock.version() == {"version": "0.1.0"}
    lock.write(lock.VERSION, json.dumps({"version": "0.2.0", "read": []}))
    assert lock.version() == {"version": "0.2.0", "read": []}
    lock.VERSION.write_text("{")
    assert lock.version() == {"version": "0.1.0"}, "what cannot be read is read again"


def test_checkout_tells_version_commit_and_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
        run(["git", "-C", tmp_path, *who, *arguments], check=True)

    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    assert versions.checkout(tmp_path) == {"version": "1.2.3", "commit": "", "changes": False}
    git("init")
    git("add", ".")
    git("commit", "--message", "all")
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/own.yml").touch()
    found = versions.checkout(tmp_path)
    assert len(found["commit"]) == 40
    assert not found["changes"], "an inventory of one's own is no change of the version"
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles/new.yml").touch()
    assert versions.words(versions.checkout(tmp_path)) == f"1.2.3 ({found['commit'][:12]}, with changes)"


def test_every_version_has_its_section_and_its_commit() -> None:
    """`versions.yml`, CHANGELOG.md, pyproject.toml and git say the same."""
    known = yaml.safe_load((ROOT / "versions.yml").read_text())
    names = [name for name, _ in versions.sections((ROOT / "CHANGELOG.md").read_text())]
    current = versions.checkout()["version"]
    assert names[0] == "", "first comes what is not released"
    assert set(known) == {name for name in names if name} - {current}
    ordered = [current, *known]
    assert ordered == sorted(ordered, key=Version, reverse=True)
    git = ["git", "-C", ROOT, "merge-base", "--is-ancestor"]
    if run([*git, "HEAD", "HEAD"]).returncode == 0:  # not an archive
        for version, commit in known.items():
            assert run([*git, commit, "HEAD"]).returncode == 0, version


def test_releases_tell_their_version_and_what_beside_it_was_in() -> None:
    about = {"built": "2026-12-01 12:00:00 UTC", "version": "0.2.0", "commit": "a" * 40, "changes": True}
    old = {"built": "2026-11-01 12:00:00 UTC", "version": "", "commit": "", "changes": ""}
    look = {
        "releases": {"new": about, "old": old},
        "damaged": {},
        "running": {},
        "current": "new",
        "previous": "old",
    }
    told = role_template(
        "app", "releases.txt", ansible_play_hosts_all=["app1"], hostvars={"app1": {"__app_look": look}}
    )
    new, previous = told.splitlines()[1:]
    assert new.split("  ")[-2:] == ["0.2.0 (aaaaaaaaaaaa, with changes)", "current"]
    assert previous.split("  ")[-2:] == ["0.1.0 or before", "previous"]
