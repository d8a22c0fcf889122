"""Would the tests notice? One fault at a time is put into a copy of the live servers, and its tests have to fail.

``python -m tests.mutants`` tries all, or those of the files whose paths contain a word that it is given. Exit status 1:
some live that `lives` does not give a reason for, or fewer than 95 in a hundred were noticed.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from tests import processes

ROOT: Final = Path(__file__).parents[2]
LIST: Final = Path(__file__).with_name("live.yml")
PARTS: Final = ("app", "tests", "pyproject.toml")
SECONDS: Final = 300  # of one fault's tests: a match that never ends was noticed as well
GOAL: Final = 0.95


@dataclass(frozen=True)
class Mutant:
    """`text` of `file`, which stands there once, becomes `to`. `lives`: why no test can notice, "" as a rule."""

    file: str
    text: str
    to: str
    tests: tuple[str, ...]
    lives: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.text!r} -> {self.to!r}"

    def change(self, source: str) -> str:
        """The source with the fault in it. ValueError when it is not what the list takes it for."""
        if source.count(self.text) != 1:
            raise ValueError(f"{self.file} has {self.text!r} {source.count(self.text)} times: mend {LIST.name}")
        return source.replace(self.text, self.to)


def mutants() -> list[Mutant]:
    return [
        Mutant(group["file"], change["text"], change["to"], tuple(group["tests"]), change.get("lives", ""))
        for group in yaml.safe_load(LIST.read_text())
        for change in group["changes"]
    ]


def living(chosen: Sequence[Mutant]) -> Iterator[Mutant]:
    """Try them one after the other; answers with those that no test notices."""
    with TemporaryDirectory(prefix="mutants") as scratch:
        copy = Path(scratch)
        ignore = shutil.ignore_patterns("__pycache__", "node_modules")
        for part in PARTS:
            source = ROOT / part
            shutil.copytree(source, copy / part, ignore=ignore) if source.is_dir() else shutil.copy(source, copy)
        if not _passes(copy, sorted({test for mutant in chosen for test in mutant.tests})):
            raise SystemExit("The tests fail as the tree is; mend that first: make test SUITE=tests/app/live")
        for mutant in chosen:
            path = copy / mutant.file
            source = path.read_text()
            path.write_text(mutant.change(source))
            is_noticed = not _passes(copy, mutant.tests)
            path.write_text(source)
            print("noticed" if is_noticed else "LIVES  ", mutant, flush=True)
            if not is_noticed:
                yield mutant


def _passes(copy: Path, tests: Sequence[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = processes.run(command, cwd=copy, timeout_s=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1, 2):  # the list names tests that are not there
        raise SystemExit(done.stdout + done.stderr)
    return done.returncode == 0


def main(words: Sequence[str]) -> int:
    chosen = [mutant for mutant in mutants() if not words or any(word in mutant.file for word in words)]
    if not chosen:
        print(f"no fault is put into {' or '.join(words)}; see {LIST}", file=sys.stderr)
        return 2
    left = list(living(chosen))
    noticed = len(chosen) - len(left)
    print(f"{noticed} of {len(chosen)} faults were noticed ({noticed / len(chosen):.0%}); those that live:")
    for mutant in left:
        print(f"  {mutant}: {mutant.lives or 'WITHOUT A REASON'}")
    return int(any(not mutant.lives for mutant in left) or noticed < GOAL * len(chosen))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
