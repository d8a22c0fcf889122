"""A host that the first version has deployed becomes this tree, while that version's players play: `make test-upgrade`.

Tests go on from one another, in this order.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.drills import current, refused
from tests.cluster.load import Load, nothing_lost
from tests.conftest import ENVIRONMENT, ROOT, TEST_LAB, Lab, booted, poll, recap
from tests.processes import run

FIRST = "0.1.0"
MATCHES = 8
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the first version, which shares what was fetched, and the labs."""
    tree = tmp_path_factory.mktemp("first")
    commit = yaml.safe_load((ROOT / "versions.yml").read_text())[FIRST]
    run(["git", "-C", ROOT, "archive", "--output", tree / "tree.tar", commit], check=True)
    run(["tar", "-C", tree, "-xf", tree / "tree.tar"], check=True)
    (tree / ".cache").mkdir()
    for shared in (".cache/uv", ".lab"):
        (tree / shared).symlink_to(ROOT / shared)
    return tree


@pytest.fixture(scope="module")
def lab(first: Path) -> Iterator[Lab]:
    with booted(Lab(f"{TEST_LAB}-upgrade")) as lab:
        secrets_of_before(lab)
        for target in (
            "ops-tools",
            "deploy",
        ):  # in a fresh clone of that version the first target does not find Mitogen
            command = ["make", "-C", first, target, f"LAB={lab.name}", "PUBLISH=0"]
            done = run(command, env=ENVIRONMENT, timeout_s=1200)
            assert done.returncode == 0, (done.stdout + done.stderr)[-20_000:]
        yield lab


def secrets_of_before(lab: Lab) -> None:
    """The key of the backup store, which the lab's driver has made, where that version looks for it."""
    made, folder = lab.state / "secrets.yml", lab.state / "secrets"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        key = folder / "backup_key"
        key.touch(mode=0o600)
        key.write_text(yaml.safe_load(made.read_text())["current"]["backup_key"])
        key.with_suffix(".pub").write_text(run(["ssh-keygen", "-y", "-f", key], check=True).stdout)
        made.unlink()


def test_breaking_changes_that_nobody_has_read_stop_the_upgrade(lab: Lab) -> None:
    before = current(lab)
    told = refused(lab, "deploy")
    assert "Breaking changes in between, which nobody has read yet" in told
    changes = (ROOT / "CHANGELOG.md").read_text().partition("### Breaking\n")[2].partition("\n###")[0]
    sentences = [" ".join(each.split()) for each in re.split(r"^- ", changes, flags=re.MULTILINE)[1:]]
    assert sentences
    assert [each for each in sentences if each[:60] not in told] == []
    assert current(lab) == before
    assert recap(told)["changed"] == 0


def test_no_match_is_lost_by_the_upgrade(lab: Lab, first: Path, record_property) -> None:
    before = current(lab)
    with Load(lab, record_property, matches=MATCHES, tree=first) as load:
        with load.window("upgrade"):
            lab.make("deploy", "BREAKING=1")
        told = load.judge("upgrade")
    nothing_lost(told)
    assert told.moves, "no match was handed over: the upgrade has drained nothing"
    assert current(lab) != before
    assert recap(lab.make("deploy"))["changed"] == 0, "and nobody is asked again"


def test_the_way_back_sends_mail_when_the_page_is_followed(lab: Lab) -> None:
    """docs/upgrades.md, "Back to 0.1.0"."""
    page = (ROOT / "docs/upgrades.md").read_text()
    said = re.search(r"set\s+`(\w+): (\w+)` and `make (\w+ \S+)` first", page)
    assert said, "docs/upgrades.md no longer says what comes before a rollback to 0.1.0"
    lab.make(*said[3].split(), f"ARGS=-e '{{\"{said[1]}\": {said[2]}}}'")
    lab.make("rollback")
    began = time.time()
    lab.run("mp1", "matchpoint-manage sendtestemail ada@matchpoint.localhost")
    poll(lambda: lab.events("mail", began), within_s=30, what="the mail of the first version")
