"""Print how the rules and the machine's levels play, and end with 1 where a goal is missed: `make balance`."""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.balance.table import GOALS, SIGHTS, Cell, figures

HEAD = "| who | won by the first, % | hits a rally: mean, median, longest | minutes | points won by a winner, % | |"


def row(cell: Cell, matches: int, pool: ProcessPoolExecutor) -> tuple[str, bool]:
    """A line of the table, and whether the cell keeps its goals."""
    found = figures(cell, matches, pool)
    misses = found.misses(cell)
    goals = [f"{low:g} to {high:g}" for low, high in (bounds for bounds in (cell.wins, cell.rally) if bounds)]
    verdict = "; ".join(misses) if misses else f"goal {' and '.join(goals)}" if goals else ""
    return (
        f"| {cell.name} | {found.wins:.0f} | {found.rally:.1f}, {found.middle:g}, {found.longest} "
        f"| {found.minutes:.1f} | {found.winners:.0f} | {verdict} |",
        not misses,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make balance", description=__doc__)
    parser.add_argument("--matches", type=int, default=400, help="of each line (the standard error is then 2.5 %%)")
    parser.add_argument("--goals", action="store_true", help="only the lines that have goals")
    chosen = parser.parse_args()
    print(HEAD, "|---|---|---|---|---|---|", sep="\n", flush=True)
    kept = True
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for cell in (*GOALS, *(() if chosen.goals else SIGHTS)):
            line, is_kept = row(cell, chosen.matches, pool)
            print(line, flush=True)
            kept = kept and is_kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
