"""Soak: simulate seed after seed for a while, and say which fail. `python -m tests.sim --seconds 600`."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

RAM = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of the wall clock (default: %(default)g)")
    parser.add_argument("--first", type=int, default=None, help="the first seed (default: by the time of day)")
    parser.add_argument("--seed", type=int, default=None, help="this one alone, and tell its story")
    parser.add_argument("--stop", action="store_true", help="at the first that fails")
    parser.add_argument("--matches", type=int, default=5, help="at once, in each (default: %(default)d)")
    options = parser.parse_args()
    from tests.sim.world import Broken, simulate

    began, runs, steps, failed = time.monotonic(), 0, 0, []
    first = next(each for each in (options.seed, options.first, int(time.time())) if each is not None)
    seed = first
    with tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as folder:
        while runs == 0 or (options.seed is None and time.monotonic() - began < options.seconds):
            try:
                world = simulate(seed, Path(folder) / str(seed), matches=options.matches)
                steps += world.loop.steps
                if options.seed is not None:
                    print("\n".join(world.story))
                    print(f"trace {world.loop.trace:08x}")
            except Broken as error:
                failed.append(seed)
                print(f"{error}\n", flush=True)
            seed, runs = seed + 1, runs + 1
            if failed and options.stop:
                break
    print(f"seeds {first} to {seed - 1}: {runs} runs, {steps} steps, {len(failed)} failed {failed or ''}".rstrip())
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ["MATCHPOINT_ENV"] = "test"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matchpoint.settings")
    import django

    django.setup()
    sys.exit(main())
