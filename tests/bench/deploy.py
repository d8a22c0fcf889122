"""How long a deploy takes, against the floor: the bare `apt-get install` of the same packages on an identical host.

`make bench-deploy` boots fresh lab hosts one after the other, so that every figure comes from the same minutes of the
same machine. Packages come from the lab's cache for all of them: an unmeasured first deploy fills it, and tells which
packages the floor is made of.
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
def host() -> Iterator[None]:
    """A bare host, removed afterwards."""
    make("down")
    make("lab")
    try:
        yield
    finally:
        make("down")


def packages() -> set[str]:
    return set(on_host("apt-mark showmanual").split())


def main() -> None:
    with host():
        bare = packages()
        make("deploy")
        wanted = sorted(packages() - bare)
    with host():
        started = time.monotonic()
        on_host("apt-get update -q")
        on_host(f"env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends {' '.join(wanted)}")
        floor_s = time.monotonic() - started
    with host():
        first_s = make("deploy")
        again_s = make("deploy")
    print(f"floor    {floor_s:6.1f} s          apt-get install of {len(wanted)} packages")
    print(f"first    {first_s:6.1f} s  x{first_s / floor_s:5.2f}   (limit x{FLOOR_LIMIT:.2f})")
    print(f"second   {again_s:6.1f} s  x{again_s / floor_s:5.2f}   nothing to change (limit {AGAIN_LIMIT_S:.0f} s)")
    over = first_s > FLOOR_LIMIT * floor_s or again_s > AGAIN_LIMIT_S
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
