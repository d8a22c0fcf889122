"""Exporters, workers and rules keep the metric contract on this site: every series is there, with its labels."""

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import left
from tests.infra.promql import ask
from tests.rules.contract import Series, contract, missing_by_right

testinfra_hosts = ["ansible://monitor"]
UNITS = ["prometheus.service"]

SETTLE_SECONDS = 90  # a process that started just now is scraped, and a file that is written once a minute is
# Series that come with the scrapes; nobody says what they are
WITHOUT_TYPE = {"any", "rules"}
OCCASIONAL = {"deploy", "fault"}


def promised(facts: dict[str, Any]) -> list[Series]:
    """What a site of this shape has at any time."""
    absent = missing_by_right(facts)
    return [one for one in contract() if one.needs not in OCCASIONAL and not absent & set(one.samples)]


def selector(series: Series, name: str) -> str:
    matchers = [f'{label}!=""' for label in series.labels]
    if series.job not in WITHOUT_TYPE:
        matchers.append(f'job="{series.job}"')
    return f"{name}{{{','.join(matchers)}}}"


def missing(host: Any, wanted: list[Series]) -> list[str]:
    """What Prometheus does not have at this moment."""
    questions = [(series, name) for series in wanted for name in series.samples]
    paths = [f"query?{urlencode({'query': f'count({selector(series, name)})'})}" for series, name in questions]
    answers = ask(host, *paths)
    return [
        f"{series.job} has no {selector(series, name)}"
        for (series, name), answer in zip(questions, answers, strict=True)
        if not answer["result"]
    ]


def mistyped(host: Any, wanted: list[Series]) -> list[str]:
    """What the latest scrapes declare to be something else."""
    (targets,) = ask(host, "targets/metadata?limit=200000")
    types: dict[tuple[str, str], set[str]] = {}
    for one in targets:
        types.setdefault((one["target"]["job"], one["metric"]), set()).add(one["type"])
    wrong = []
    for series in wanted:
        if series.job in WITHOUT_TYPE:
            continue
        # OpenMetrics names a counter without its ending
        name = series.name if (series.job, series.name) in types else series.name.removesuffix("_total")
        found = types.get((series.job, name), {"missing"})
        if found != {series.type.replace("untyped", "unknown")}:
            wrong.append(f"{series} is {', '.join(sorted(found))}, not {series.type}")
    return wrong


@pytest.mark.parametrize("faults", [missing, mistyped])
def test_every_series_of_the_contract_is_there_with_its_labels_and_type(host, facts, faults) -> None:
    wanted = promised(facts)
    found = left(lambda: faults(host, wanted), within_s=SETTLE_SECONDS, every_s=5)
    assert not found, "\n".join(found)


def test_the_number_of_targets_is_as_expected(host) -> None:
    expected, scraped = ask(
        host,
        *(
            f"query?{urlencode({'query': q})}"
            for q in ("max by (job) (matchpoint_expected_targets)", "count by (job) (up)")
        ),
    )

    def by_job(answer: Any) -> dict[str, str]:
        return {one["metric"]["job"]: one["value"][1] for one in answer["result"]}

    assert by_job(expected) == by_job(scraped)
