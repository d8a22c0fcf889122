"""PromQL of dashboards, read as trees: what a query asks for, and inside of which functions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

# What Grafana puts in; everything is chosen
VALUES = {"$__rate_interval": "1m", "$__range": "3h", "$host": ".+", "$slo": ".+"}

OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}


@dataclass(frozen=True)
class Selector:
    """A selector of series, the functions and aggregations around it (outermost first), and its range in seconds."""

    name: str
    matchers: dict[str, str]
    inside: tuple[str, ...]
    seconds: float | None = None

    def __str__(self) -> str:
        labels = ",".join(f"{label}{condition}" for label, condition in self.matchers.items())
        return f"{self.name}{{{labels}}}"


def fill_in(expr: str) -> str:
    """A dashboard's query as Prometheus would get it."""
    for variable, value in VALUES.items():
        expr = expr.replace(variable, value)
    return expr


def tree(expr: str) -> Any:
    """The query's tree. Raises ValueError with the place of the mistake."""
    return promql.parse(fill_in(expr))


def children(node: Any) -> list[Any]:
    match node:
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.Call():
            return list(node.args)
        case promql.AggregateExpr():
            return [node.expr] + ([node.param] if node.param is not None else [])
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
        case promql.MatrixSelector():
            return [node.vector_selector]
    return []


def nodes(expr: str) -> Iterator[Any]:
    waiting = [tree(expr)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += children(node)


def selectors(expr: str) -> list[Selector]:
    """Everything that a query reads."""
    found = []
    waiting: list[tuple[Any, tuple[str, ...], float | None]] = [(tree(expr), (), None)]
    while waiting:
        node, inside, seconds = waiting.pop()
        if isinstance(node, promql.VectorSelector):
            matchers = {one.name: f'{OPERATORS[str(one.op)]}"{one.value}"' for one in node.matchers.matchers}
            found.append(Selector(node.name or "", matchers, inside, seconds))
        if isinstance(node, promql.Call):
            inside = (*inside, node.func.name)
        if isinstance(node, promql.AggregateExpr):
            inside = (*inside, str(node.op))
        if isinstance(node, promql.MatrixSelector):
            seconds = node.range.total_seconds()
        waiting += [(child, inside, seconds) for child in children(node)]
    return found


def quantiles(expr: str) -> Iterator[Any]:
    """What is inside of each histogram_quantile of a query."""
    for node in nodes(expr):
        if isinstance(node, promql.Call) and node.func.name == "histogram_quantile":
            yield node.args[1]


def groups(node: Any) -> set[str] | None:
    """The labels that an aggregation leaves; None when it is no aggregation ``by``."""
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    if not isinstance(node, promql.AggregateExpr) or str(node.op) in {"topk", "bottomk"}:
        return None
    if node.modifier is None:
        return set()
    return set(node.modifier.labels) if node.modifier.type == promql.AggModifierType.By else None
