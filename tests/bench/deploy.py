"""How long a deploy takes: of one host, against the bare `apt-get install` of the same packages on an identical host;
and of a cluster, against that of the one host.

`make bench-deploy` boots fresh lab hosts one after the other, so that every figure comes from the same minutes of the
same machine. Packages come from the lab's cache for all of them: an unmeasured first deploy fills it, and tells which
packages the floor is made of. The hosts of the cluster share the processors that the one host has to itself.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "matchpoint-bench"
STATE = ROOT / ".lab" / NAME
FLOOR_LIMIT = 3.0  # a first deploy may take this many times the floor
AGAIN_LIMIT_S = 20.0
CLUSTER_LIMIT = 2.0  # the first deploy of a cluster may take this many times that of one host


def make(*arguments: str) -> float:
    """Seconds that `make ARGUMENTS` takes; its output only when it fails."""
    started = time.monotonic()
    command = ["make", "-C", str(ROOT), *arguments, f"LAB={NAME}", "PUBLISH=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return time.monotonic() - started


def on_host(command: str) -> str:
    ssh = ["ssh", "-F", str(STATE / "ssh_config"), "mp1", f"sudo {command}"]
    return subprocess.run(ssh, capture_output=True, text=True, check=True).stdout


@contextmanager
def booted(topology: str = "single") -> Iterator[None]:
    """Bare hosts, removed afterwards."""
    make("down")
    make("lab", f"TOPOLOGY={topology}")
    try:
        yield
    finally:
        make("down")


def packages() -> set[str]:
    return set(on_host("apt-mark showmanual").split())


def main() -> None:
    with booted():
        bare = packages()
        make("deploy")
        wanted = sorted(packages() - bare)
    with booted():
        started = time.monotonic()
        on_host("apt-get update -q")
        on_host(f"env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends {' '.join(wanted)}")
        floor_s = time.monotonic() - started
    with booted():
        first_s = make("deploy")
        again_s = make("deploy")
    with booted("cluster"):
        cluster_s = make("deploy")
        cluster_again_s = make("deploy")
    print(f"floor    {floor_s:6.1f} s          apt-get install of {len(wanted)} packages")
    print(f"first    {first_s:6.1f} s  x{first_s / floor_s:5.2f}   (limit x{FLOOR_LIMIT:.2f})")
    print(f"second   {again_s:6.1f} s  x{again_s / floor_s:5.2f}   nothing to change (limit {AGAIN_LIMIT_S:.0f} s)")
    print(
        f"cluster  {cluster_s:6.1f} s  x{cluster_s / first_s:5.2f}   of one host's first (limit x{CLUSTER_LIMIT:.2f})"
    )
    print(f"second   {cluster_again_s:6.1f} s  x{cluster_again_s / again_s:5.2f}   of one host's second")
    is_slow = first_s > FLOOR_LIMIT * floor_s or again_s > AGAIN_LIMIT_S or cluster_s > CLUSTER_LIMIT * first_s
    sys.exit(1 if is_slow else 0)


if __name__ == "__main__":
    main()
