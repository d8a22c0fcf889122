"""What panels ask Prometheus, and the sums that most of it is."""

from dataclasses import dataclass

RATE = "$__rate_interval"  # Grafana's: as long as a point of the panel, and never shorter than four scrapes


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of its series in Grafana's ``{{label}}`` form."""

    expr: str
    legend: str = ""


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"


def totals(labels: str, *metrics: tuple[str, str], by: str = "") -> list[Query]:
    """The sum of each of ``metrics`` (name, legend), over all that ``labels`` choose or for each value of ``by``."""
    return [Query(f"{_sum(by)}({name}{{{labels}}})", legend) for name, legend in metrics]


def rates(labels: str, *metrics: tuple[str, str], by: str = "", over: str = RATE) -> list[Query]:
    """How much each of ``metrics`` grows in a second; the rest as in `totals`."""
    return [Query(f"{_sum(by)}(rate({name}{{{labels}}}[{over}]))", legend) for name, legend in metrics]


def increases(labels: str, *metrics: tuple[str, str], over: str, by: str = "") -> list[Query]:
    """How much each of ``metrics`` grows in a time like ``5m``; the rest as in `totals`."""
    return [Query(f"{_sum(by)}(increase({name}{{{labels}}}[{over}]))", legend) for name, legend in metrics]
