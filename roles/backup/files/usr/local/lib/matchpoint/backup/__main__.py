"""Backups of PostgreSQL: ``prepare`` is for the playbook, ``run`` and ``test`` for the timers, ``plan``, ``begin`` and
``wait`` for `make restore`, ``list`` for people.
"""

from __future__ import annotations

import argparse
import json
import sys

import backup
import detached
import restore
from common import RefusedError, Settings, listed, megabytes, remember_backups, say, when


def show(settings: Settings) -> None:
    for one in listed(settings)["backup"]:
        ended = when(one["timestamp"]["stop"])
        size, new = megabytes(one["info"]["size"]), megabytes(one["info"]["repository"]["delta"])
        say(f"{ended}  {one['type']:5} {one['label']:34} {size} of data, {new} new in the store")


def main() -> int:
    parser = argparse.ArgumentParser(prog="matchpoint-backup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("prepare", "make the store ready and have the log archived"),
        ("run", "make a backup"),
        ("test", "restore the newest backup beside the data and check it"),
        ("plan", "tell what a restore would do"),
        ("begin", "have a backup put in the place of the data, in the background"),
        ("wait", "wait until it is, and tell"),
        ("restore", "put a backup in the place of the data"),
        ("list", "list the backups"),
        ("look", "make the metrics anew from what the store has"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--time", default="", help="the moment to go back to, 2026-11-28 12:00:00+00")
        command.add_argument("--type", default="", choices=["", "full", "diff"])
    args = parser.parse_args()
    settings = Settings.read()
    try:
        if args.command in ("prepare", "plan", "begin", "wait", "restore"):
            answer = {
                "prepare": lambda: backup.prepare(settings),
                "plan": lambda: restore.plan(settings, args.time),
                "begin": lambda: detached.begin(settings, args.time),
                "wait": lambda: detached.wait(settings),
                "restore": lambda: restore.answered(settings, args.time),
            }[args.command]()
            say(json.dumps(answer))
        elif args.command == "run":
            backup.run(settings, args.type)
        elif args.command == "test":
            restore.test(settings)
        elif args.command == "list":
            show(settings)
        else:
            remember_backups(settings)
    except RefusedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
