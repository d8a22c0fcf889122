"""A deploy is told to end, when and how a seed chooses: it ends, and gives its lock back or says why not.

``MATCHPOINT_ENDINGS`` says how often (4), ``MATCHPOINT_SEED`` repeats a run. From twenty on, the deploys bring out a
release.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT, Lab
from tests.processes import alive, descendants, started

COUNT = int(os.environ.get("MATCHPOINT_ENDINGS") or 4)
SEED = os.environ.get("MATCHPOINT_SEED") or str(random.randrange(10**6))
IS_RELEASE = COUNT >= 20
WITHIN_S = 30


@pytest.fixture(scope="module")
def ends() -> Iterator[list[float]]:
    """The seconds that each ending took."""
    took: list[float] = []
    yield took
    if took:
        print(f"\nseed {SEED}: {len(took)} endings, the slowest took {max(took):.1f} s")  # noqa: T201 - for who asks with -s


def what(folder: Path, number: int = 0) -> list[str]:
    """What is deployed: two roles, or one of two releases."""
    if not IS_RELEASE:
        return ["TAGS=base,firewall"]
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    (folder / "app" / "manage.py").open("a").write(f"# {number % 2}\n")
    return [f"MATCHPOINT_APP={folder / 'app'}", "TAGS=app"]


@pytest.fixture(scope="module")
def whole_s(site: Lab, tmp_path_factory: pytest.TempPathFactory) -> float:
    """The seconds that a deploy takes which nobody ends."""
    began = time.monotonic()
    site.make("deploy", *what(tmp_path_factory.mktemp("whole")))
    return time.monotonic() - began


@pytest.mark.parametrize("number", range(COUNT), ids=lambda number: f"{SEED}-{number}")
def test_a_deploy_that_is_told_to_end_does(
    site: Lab, whole_s: float, ends: list[float], tmp_path: Path, number: int
) -> None:
    draw = random.Random(f"{SEED}-{number}")
    strategy = ("mitogen", "linear")[number % 2]
    told = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    make_alone = told == signal.SIGTERM and draw.random() < 0.5  # make passes it on, and no other
    after_s = draw.uniform(0.5, whole_s)
    moment = f"{strategy}, {told.name}{' to make alone' if make_alone else ''}, after {after_s:.1f} s"
    options = [f"LAB={site.name}", "PUBLISH=0", f"STRATEGY={strategy}", *what(tmp_path, number)]
    make = ["env", "--default-signal", "make", "-C", str(ROOT), "deploy", *options]
    log = tmp_path / "log"
    before = lock_of(site)  # one that stayed, and that nobody has taken over yet
    with log.open("w") as file, started(
        make, stdout=file, stderr=subprocess.STDOUT, env=ENVIRONMENT, grace_s=WITHIN_S
    ) as deploy:  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            deploy.wait(after_s)
        has_ended = deploy.poll() is not None
        told_at, all_of_it = time.monotonic(), descendants(deploy.pid)
        if not has_ended:
            (os.kill if make_alone else os.killpg)(deploy.pid, told)
        deploy.wait(WITHIN_S + 30)
        took = time.monotonic() - told_at
    said = log.read_text()[-2000:]
    assert has_ended or deploy.returncode != 0, moment
    assert took < WITHIN_S, f"{moment}: {said}"
    stays = "The deploy lock stays on mp1" in said
    locked = lock_of(site) not in ("", before)
    print(f"{moment}: {took:.1f} s{', ended before' if has_ended else ''}{', the lock stays' if locked else ''}")  # noqa: T201 - for who asks with -s
    assert locked == stays, f"{moment}: {said}"
    assert not (left := alive(all_of_it)), f"{moment}: {left}"
    if not has_ended:
        ends.append(took)


def lock_of(site: Lab) -> str:
    return site.run("mp1", "cat /run/matchpoint/deploy.lock 2>/dev/null || true")


def test_the_next_deploy_finds_nothing_in_its_way(site: Lab) -> None:
    output = site.make("deploy")
    assert "failed=0" in output
