"""Would the promtool tests notice? Every threshold and every `for` is moved by a tenth, and a test has to fail.

``python -m tests.rules.mutants`` moves all, or those of the alerts and files that it is given. `passes` says what a run
of promtool can tell apart: in one pass each alert has one of its mutants, and is known by its name in what fails.
"""

import math
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import promql_parser as promql
import yaml

from tests.rules.model import MONITORING, RULES, run
from tests.rules.promql import nodes, tree

EVALUATION_S = 15
TENTH = (0.9, 1.1)
ORDER = {">", "<", ">=", "<="}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Mutant:
    """A rule of a file (its place in it), and what is changed in it."""

    path: Path
    group: int
    rule: int
    alert: str
    severity: str
    changed: dict[str, str]
    what: str

    def __str__(self) -> str:
        return f"{self.alert} ({self.severity}): {self.what}"


def _is_threshold(node: Any) -> bool:
    """An order with a number that can be moved: not 0, and not a count, which is whole."""
    if not (isinstance(node, promql.BinaryExpr) and str(node.op) in ORDER):
        return False
    if isinstance(node.lhs, promql.AggregateExpr) and str(node.lhs.op) == "count":
        return False
    right = node.rhs
    while isinstance(right, promql.ParenExpr):
        right = right.expr
    if isinstance(right, promql.NumberLiteral):
        return float(right.val) != 0
    return (
        isinstance(right, promql.BinaryExpr)
        and str(right.op) in {"*", "/"}
        and any(isinstance(side, promql.NumberLiteral) for side in (right.lhs, right.rhs))
    )


def _text(node: Any) -> str:
    """PromQL of a tree. The library forgets that a string escapes its backslashes."""
    return str(node).replace("\\", r"\\")


def thresholds(expr: str) -> Iterator[tuple[str, str]]:
    """(what was moved, the expression with it)."""
    whole = _text(tree(expr))
    for said, number in {_text(node): _text(node.rhs) for node in nodes(expr) if _is_threshold(node)}.items():
        if whole.count(said) != 1 or not said.endswith(number):
            raise ValueError(f"cannot find {said} in {whole}")
        for factor in TENTH:
            moved = f"{said.removesuffix(number)}(({number}) * {factor})"
            yield f"{said[-60:]} * {factor}", whole.replace(said, moved)


def waits(wait: str) -> Iterator[str]:
    """A tenth less and more; as an evaluation is the least that can be told, at least so much."""
    seconds = sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", wait))
    by = max(math.ceil(seconds / 10), EVALUATION_S) if seconds else 0
    if by:
        yield from (f"{seconds - by}s", f"{seconds + by}s")


def mutants(files: Sequence[Path] = RULES) -> list[Mutant]:
    found = []
    for path in files:
        for group, of_group in enumerate(yaml.safe_load(path.read_text())["groups"]):
            for place, rule in enumerate(of_group["rules"]):
                if "alert" not in rule:
                    continue
                about = (path, group, place, rule["alert"], rule["labels"]["severity"])
                found += [Mutant(*about, {"expr": made}, what) for what, made in thresholds(rule["expr"])]
                found += [Mutant(*about, {"for": made}, f"for: {made}") for made in waits(rule.get("for", ""))]
    return found


def passes(of: Sequence[Mutant]) -> list[list[Mutant]]:
    """Few runs for all: no alert has two mutants in one."""
    by_name: dict[str, list[Mutant]] = {}
    for one in of:
        by_name.setdefault(one.alert, []).append(one)
    return [[one for one in together if one] for together in zip_longest(*by_name.values())]


def blamed(output: str) -> set[str]:
    """The alerts that failing tests are about, in what promtool says.

    A test of all alerts is about those that it misses or has too many.
    """
    names = set(re.findall(r"^ *alertname: (\w+), time:", output, re.MULTILINE))
    for expr, wanted, got in re.findall(r'^ *expr: "(.*)", time: .*\n *exp: (.*)\n *got: (.*)$', output, re.MULTILINE):
        said = set(re.findall(r'alertname=\\"(\w+)\\"', expr))
        samples = [set(re.findall(r"\{[^}]*\} \S+", side)) for side in (wanted, got)]
        differing = " ".join(samples[0] ^ samples[1])
        names |= said or set(re.findall(r'alertname="(\w+)"', differing))
    return names


def survivors(together: Sequence[Mutant], root: Path = MONITORING) -> list[Mutant]:
    """Those of one pass that no test of `root`/rule_tests notices. Raises ValueError where promtool reads no rules."""
    with TemporaryDirectory() as scratch:
        for folder in ("rules", "rule_tests"):
            shutil.copytree(root / folder, Path(scratch) / folder)
        touched = {mutant.path for mutant in together}
        for path in touched:
            content = yaml.safe_load(path.read_text())
            for one in together:
                if one.path == path:
                    content["groups"][one.group]["rules"][one.rule] |= one.changed
            (Path(scratch) / "rules" / path.name).write_text(yaml.safe_dump(content, sort_keys=False))
        everyone = sorted((Path(scratch) / "rule_tests").glob("*.yml"))
        tests = [path for path in everyone if any(f"../rules/{one.name}" in path.read_text() for one in touched)]
        done = run("promtool", "test", "rules", *tests, timeout_s=380, GOGC="400")
    output = done.stdout + done.stderr
    killed = blamed(output)
    if done.returncode and not killed:
        raise ValueError(output[:2000])
    return [one for one in together if one.alert not in killed]


def main() -> int:
    # Objectives are made by one function for all (monitoring/slos.py), and take long
    names = set(sys.argv[1:]) or {path.stem for path in RULES if path.stem != "slo"}
    everyone = [one for one in mutants() if {one.alert, one.path.stem} & names]
    alive = []
    for together in passes(everyone):
        new = survivors(together)
        alive += new
        for one in new:
            print(f"{one.path.name}: {one}", flush=True)
    print(f"{len(alive)} of {len(everyone)} moved rules pass the tests")
    return 1 if alive else 0


if __name__ == "__main__":
    raise SystemExit(main())
