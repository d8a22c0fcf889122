"""How long a deploy takes: of one host, against the bare `apt-get install` of the same packages on an identical host;
and of a cluster, against that of the one host.

`make bench-deploy` boots fresh lab hosts one after the other, so that every figure comes from the same minutes of the
same machine; what else it does in these minutes stands beside each figure as the load. Packages come from the lab's
cache for all of them: an unmeasured first deploy fills it, and tells which packages the floor is made of. The release
is built anew for the measured one. The hosts of the cluster share the processors that the one host has to itself.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "matchpoint-bench"
STATE = ROOT / ".lab" / NAME
RELEASES = ROOT / ".cache/releases"
FIRST_LIMIT = 2.0  # a first deploy may take this many times the floor
AGAIN_LIMIT_S = 10.0  # a deploy without a change
AGAIN_TIMES = 3
CLUSTER_LIMIT = 2.0  # the first deploy of a cluster may take this many times that of one host
TIMEOUT_S = 3600
TASKS = re.compile(r"^(.+?) -+ (\d+\.\d+)s$", re.MULTILINE)  # as ansible.posix.profile_tasks tells the longest


@dataclass(frozen=True)
class Run:
    """One command: seconds of the clock, of processors of this side, and the machine's load when it ended."""

    seconds: float
    cpu_s: float
    load: float
    output: str

    def longest(self) -> str:
        """The tasks that took longest, a line each, and what of the time went into no task of theirs."""
        tasks = [(name.strip(), float(seconds)) for name, seconds in TASKS.findall(self.output)]
        rest = self.seconds - sum(seconds for _, seconds in tasks)
        return "".join(f"    {seconds:6.1f} s  {name}\n" for name, seconds in [*tasks, ("all else", rest)])


def run(*command: str) -> Run:
    """Runs a command; its output only when it fails."""
    started, before = time.monotonic(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    seconds, after = time.monotonic() - started, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(seconds, cpu_s, os.getloadavg()[0], done.stdout)


def make(*arguments: str) -> Run:
    return run("make", "-C", str(ROOT), *arguments, f"LAB={NAME}", "PUBLISH=0")


def on_host(command: str) -> Run:
    return run("ssh", "-F", str(STATE / "ssh_config"), "mp1", f"sudo {command}")


@contextmanager
def booted(topology: str = "single") -> Iterator[None]:
    """Bare hosts, removed afterwards."""
    make("down")
    make("lab", f"TOPOLOGY={topology}")
    try:
        yield
    finally:
        make("down")


@contextmanager
def no_releases() -> Iterator[None]:
    """None was built before; those that were are back afterwards."""
    aside = RELEASES.with_name("releases.aside")
    if RELEASES.exists():
        RELEASES.rename(aside)
    try:
        yield
    finally:
        if aside.exists():
            shutil.rmtree(RELEASES, ignore_errors=True)  # there is none when the deploy failed before it
            aside.rename(RELEASES)


def packages() -> set[str]:
    return set(on_host("apt-mark showmanual").output.split())


def line(name: str, took: Run, ratio: str, limit: str = "") -> str:
    beside = f"control machine {took.cpu_s:5.1f} s of CPU, load {took.load:.1f}"
    return f"{name:8s} {took.seconds:6.1f} s  {ratio:32s} {limit:12s} {beside}"


def main() -> None:
    with booted():
        bare = packages()
        make("deploy")
        wanted = sorted(packages() - bare)
    with booted():
        install = f"apt-get install -y -q --no-install-recommends {' '.join(wanted)}"
        floor = on_host(f"sh -c 'apt-get update -q && DEBIAN_FRONTEND=noninteractive {install}'")
    with booted():
        with no_releases():
            first = make("deploy")
            agains = [make("deploy") for _ in range(AGAIN_TIMES)]
        again = sorted(agains, key=lambda each: each.seconds)[AGAIN_TIMES // 2]
    with booted("cluster"):
        cluster = make("deploy")
        cluster_again = make("deploy")
    print(line("floor", floor, f"apt-get install of {len(wanted)} packages"))
    print(line("first", first, f"x{first.seconds / floor.seconds:5.2f} of the floor", f"limit x{FIRST_LIMIT:.2f}"))
    print(line("again", again, f"nothing to change, median of {AGAIN_TIMES}", f"limit {AGAIN_LIMIT_S:.0f} s"))
    print(
        line(
            "cluster",
            cluster,
            f"x{cluster.seconds / first.seconds:5.2f} of one host's first",
            f"limit x{CLUSTER_LIMIT:.2f}",
        )
    )
    print(line("again", cluster_again, f"x{cluster_again.seconds / again.seconds:5.2f} of one host's"))
    missed = [
        (name, took)
        for name, took, is_missed in (
            ("first", first, first.seconds > FIRST_LIMIT * floor.seconds),
            ("again", again, again.seconds > AGAIN_LIMIT_S),
            ("cluster", cluster, cluster.seconds > CLUSTER_LIMIT * first.seconds),
        )
        if is_missed
    ]
    for name, took in missed:
        print(f"\nThe limit of `{name}` is missed; its time went to\n{took.longest()}", end="")
    if missed and max(took.load for _, took in missed) > (os.cpu_count() or 1):
        print("\nThe machine had other work: only figures of a quiet one count.")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
