"""`make audit`: what an auditor asks of a deployed site, in one table. Exit code 0 when nothing failed.

Each check is one function that gives lines of the table. What it read is kept in ``.cache/audit``. A check that cannot
run says why; one that breaks has failed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Callable

from tests.audit import canaries, code, hosts, outside
from tests.audit.target import CACHE, Row, Target

Check = Callable[[Target], list[Row]]
# In this order: the deploy comes first, so that the searches after it see what it has left
CHECKS: dict[str, Check] = {
    "output": canaries.on_this_machine,
    "promises": hosts.promises,
    "headers": outside.headers,
    "deploy-settings": hosts.settings_of_production,
    "ports": outside.ports,
    "tls": outside.tls,
    "nginx": code.nginx,
    "bandit": code.bandit,
    "advisories": code.advisories,
    "lynis": hosts.lynis,
    "api": outside.api,
    "secrets": canaries.on_hosts,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__.splitlines()[0])
    parser.add_argument("--inventory", required=True)
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="these checks alone")
    args = parser.parse_args()
    target = Target(args.inventory)
    rows: list[Row] = []
    for name in args.only:
        began = time.monotonic()
        rows += attempted(name, CHECKS[name], target)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    shown = table(rows)
    (CACHE / "table.txt").write_text(shown)
    print(shown, end="")
    return int(any(row.verdict == "failed" for row in rows))


def attempted(name: str, check: Check, target: Target) -> list[Row]:
    """The lines of a check; a check that breaks is a line that failed, and the others go on."""
    try:
        return check(target)
    except Exception as error:
        return [Row(name, "failed", f"the check itself broke: {type(error).__name__}: {str(error)[-500:]}")]


def table(rows: list[Row]) -> str:
    width = max((len(row.check) for row in rows), default=0)
    lines = []
    for row in rows:
        first, *more = textwrap.wrap(row.detail, 100) or [""]
        lines.append(f"{row.verdict:8} {row.check:{width}}  {first}")
        lines += [f"{'':8} {'':{width}}  {line}" for line in more]
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("passed", "failed", "skipped")}
    failed = ", ".join(row.check for row in rows if row.verdict == "failed")
    lines.append(
        ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + (f": {failed}" if failed else "")
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
