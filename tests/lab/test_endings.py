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
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT, Lab, poll
from tests.processes import descendants, started

COUNT = int(os.environ.get("MATCHPOINT_ENDINGS") or 4)
SEED = os.environ.get("MATCHPOINT_SEED") or str(random.randrange(10**6))
WITHIN_S = 30
TASKS = 36  # of a deploy of two roles, a few less than there are
TASKS_OF_A_RELEASE = 75


@pytest.fixture(scope="module")
def ends() -> Iterator[list[float]]:
    """The seconds that each ending took."""
    took: list[float] = []
    yield took
    if took:
        print(f"\nseed {SEED}: {len(took)} endings, the slowest took {max(took):.1f} s")  # noqa: T201


@pytest.mark.parametrize("number", range(COUNT), ids=lambda number: f"{SEED}-{number}")
def test_a_deploy_that_is_told_to_end_does(site: Lab, ends: list[float], tmp_path: Path, number: int) -> None:
    draw = random.Random(f"{SEED}-{number}")
    strategy = ("mitogen", "linear")[number % 2]
    told = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    make_alone = told == signal.SIGTERM and draw.random() < 0.5  # make passes it on, and no other
    what = ["TAGS=base,firewall"]
    if COUNT >= 20:
        shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        (tmp_path / "app" / "manage.py").open("a").write(f"# {number % 2}\n")
        what = [f"MATCHPOINT_APP={tmp_path / 'app'}", "TAGS=app"]
    task = draw.randrange(TASKS_OF_A_RELEASE if COUNT >= 20 else TASKS)
    moment = f"{strategy}, {told.name}{' to make alone' if make_alone else ''}, at task {task}"
    make = ["make", "-C", str(ROOT), "deploy", f"LAB={site.name}", "PUBLISH=0", f"STRATEGY={strategy}", *what]
    log = tmp_path / "log"
    with log.open("w") as file, started(
        ["env", "--default-signal", *make], stdout=file, stderr=subprocess.STDOUT, env=ENVIRONMENT, grace_s=WITHIN_S
    ) as deploy:  # fmt: skip
        poll(
            lambda: log.read_text().count("\nTASK [") >= task or deploy.poll() is not None,
            within_s=400, every_s=0.02, what=f"the task ({moment})",
        )  # fmt: skip
        time.sleep(draw.uniform(0, 1))  # somewhere in the task, or in those behind it
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
    locked = site.run("mp1", "test ! -e /run/matchpoint/deploy.lock || echo locked")
    print(f"{moment}: {took:.1f} s{', ended before' if has_ended else ''}{', the lock stays' if locked else ''}")  # noqa: T201
    assert bool(locked) == stays, f"{moment}: {said}"
    left = [pid for pid, since in all_of_it.items() if began_at(pid) == since]
    assert not left, f"{moment}: {left}"
    if not has_ended:
        ends.append(took)


def began_at(pid: int) -> int:
    """When a process began, 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def test_the_next_deploy_finds_nothing_in_its_way(site: Lab) -> None:
    output = site.make("deploy")
    assert "failed=0" in output
