"""Every query, variable and annotation of the dashboards has an answer from the Prometheus of a deployed site."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.infra.conftest import connect
from tests.infra.promql import ask
from tests.rules.contract import missing_by_right
from tests.rules.model import dashboards, panels
from tests.rules.promql import Selector, fill_in, selectors
from tests.rules.test_dashboards import OVER_TIME

testinfra_hosts = ["ansible://monitor"]
UNITS = ["prometheus.service", "matchpoint-canary.service"]

SHOWN_SECONDS, STEP_SECONDS = 900, 15
DEADLINE_SECONDS = 300  # for what a site that was deployed a moment ago has not said yet: twenty scrapes
NEVER_BAD = "it has not happened"
ONE_HOST = "a site of one host has none"


@dataclass(frozen=True)
class Empty:
    """Why a query may return nothing on a healthy site, and what must exist all the same, if not its own selectors."""

    why: str
    instead: str = ""


EMPTY = {
    # counters with labels have no series before the first event; that they are declared is checked
    ("matchpoint-http", "Exceptions by type", "A"): Empty(NEVER_BAD),
    ("matchpoint-http", "Calls of the database", "B"): Empty(NEVER_BAD),
    ("matchpoint-oncall", "Alerts of 7 days", "A"): Empty("nothing fired", 'ALERTS{alertname="Watchdog"}'),
    ("matchpoint-oncall", "Alerts of 7 days", "B"): Empty("nothing nearly fired", 'ALERTS{alertname="Watchdog"}'),
    ("matchpoint-oncall", "Deploy lock", "A"): Empty("nobody deploys", "matchpoint_deploy_timestamp_seconds"),
    **{("matchpoint-game", "Waiting time", part): Empty("nobody met") for part in "ABC"},
    ("matchpoint-postgres", "Worst standby", "A"): Empty(ONE_HOST),
    ("matchpoint-postgres", "Replication lag", "A"): Empty(ONE_HOST),
}
ANNOTATIONS_EMPTY = {
    "Deploys": Empty("the last one is long over", "matchpoint_deploy_timestamp_seconds"),
    "Pages": Empty("nothing fires", 'ALERTS{alertname="Watchdog"}'),
}


@dataclass(frozen=True)
class Asked:
    """A query of a panel."""

    uid: str
    title: str
    target: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str]:
        return self.uid, self.title, self.target["refId"]

    @property
    def expr(self) -> str:
        return fill_in(self.target["expr"])

    def __str__(self) -> str:
        return f"{self.title} {self.target['refId']}: {self.expr}"

    def path(self) -> str:
        return instant(self.expr) if self.target.get("instant") else over_time(self.expr)


def instant(expr: str) -> str:
    return f"query?{urlencode({'query': expr})}"


def over_time(expr: str, seconds: int = SHOWN_SECONDS) -> str:
    now = int(time.time())
    span = {"query": expr, "start": now - seconds, "end": now, "step": max(STEP_SECONDS, seconds // 1000)}
    return f"query_range?{urlencode(span)}"


def asked(uid: str) -> list[Asked]:
    board = dashboards()[uid]
    return [Asked(uid, panel["title"], target) for panel in panels(board) for target in panel["targets"]]


def says_something(answer: Any) -> bool:
    """Whether there is a series with a sample that is a number."""
    found = [one.get("values") or [one["value"]] for one in answer["result"]]
    return any(math.isfinite(float(value)) for values in found for _, value in values)


def by_right(query: Asked, facts: dict[str, Any]) -> bool:
    """Whether a site of this shape has nothing to say to it."""
    only_of_several = {selector.name for selector in selectors(query.expr)} & missing_by_right(facts)
    lone = query.key in EMPTY and EMPTY[query.key].why == ONE_HOST and len(facts["tiers"]["db"]) == 1
    return bool(only_of_several) or lone


@pytest.fixture(scope="module", autouse=True)
def traffic(public, pytestconfig: pytest.Config) -> None:
    """What there is to see: a match of each app host through the public name, and visitors."""
    inventory = pytestconfig.option.inventory
    for path in ("/", "/accounts/login/", "/api/", "/no-such-page", "/static/no-such-file"):
        assert public.get(path).status < 500, path
    for name, facts in public.hosts.items():
        if "app" in facts["group_names"]:
            played = connect(inventory, name).run("systemctl start matchpoint-canary.service")
            assert played.rc == 0, played.stderr


def answers(host: Any, queries: list[Asked]) -> Iterator[tuple[Asked, Any]]:
    return zip(queries, ask(host, *(query.path() for query in queries)), strict=True)


@pytest.mark.timeout(DEADLINE_SECONDS + 60)  # it has to come to the names of those that stay silent
@pytest.mark.parametrize("uid", dashboards())
def test_every_query_has_an_answer_with_the_labels_of_its_legend(host, facts, uid: str) -> None:
    waiting = [query for query in asked(uid) if not by_right(query, facts)]
    deadline = time.monotonic() + DEADLINE_SECONDS
    labelless = []
    while waiting:
        silent = []
        for query, answer in answers(host, waiting):
            if not says_something(answer):
                if query.key not in EMPTY:
                    silent.append(query)
                continue
            legend = [part.split("}}")[0] for part in query.target["legendFormat"].split("{{")[1:]]
            # some alerts are about the site, and about no host
            about = [
                {"host": "", **one["metric"]} if "alertname" in one["metric"] else one["metric"]
                for one in answer["result"]
            ]
            labelless += [f"{query} has no {label}" for label in legend if not all(label in one for one in about)]
        waiting = silent
        if time.monotonic() > deadline:
            break
        time.sleep(STEP_SECONDS / 5 if waiting else 0)
    assert not waiting, "nothing returned by\n" + "\n".join(map(str, waiting))
    assert not labelless, "\n".join(labelless)


def exists(host: Any, selector: Selector | str) -> bool:
    """Whether there was such a series in the last hour, or a target declares it and has just not had any."""
    ago = int(time.time()) - 3600
    name = str(selector).split("{")[0]
    found = ask(
        host,
        f"series?{urlencode({'match[]': str(selector), 'start': ago, 'limit': 1})}",
        f"metadata?metric={name}",
        f"metadata?metric={name.removesuffix('_total')}",  # how OpenMetrics names a counter
    )
    return any(found)


def test_what_may_be_empty_would_be_seen(host, facts) -> None:
    """Nothing is nothing only while the series that it would come from are there."""
    known = {query.key: query for uid in dashboards() for query in asked(uid)}
    assert set(EMPTY) <= set(known), "a panel that is no more"
    for key, empty in EMPTY.items():
        for selector in [empty.instead] if empty.instead else selectors(known[key].expr):
            assert exists(host, selector), f"{known[key]}: {selector} does not exist"


@pytest.mark.parametrize("uid", dashboards())
def test_every_variable_has_values(host, uid: str) -> None:
    for variable in dashboards()[uid]["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = variable["query"].removeprefix("label_values(").removesuffix(")").split(", ")
            (values,) = ask(host, f"label/{label}/values?{urlencode({'match[]': metric})}")
            assert values, variable["query"]


@pytest.mark.parametrize("uid", dashboards())
def test_annotations_are_answered(host, facts, uid: str) -> None:
    for one in dashboards()[uid]["annotations"]["list"]:
        (answer,) = ask(host, over_time(one["expr"], seconds=86400))
        if not says_something(answer):
            assert exists(host, ANNOTATIONS_EMPTY[one["name"]].instead), one["name"]


def test_counters_are_shown_as_rates_by_their_declared_types(host) -> None:
    """The names do not always tell; the targets do."""
    (declared,) = ask(host, "metadata")
    counters = {name for name, all_of in declared.items() if {one["type"] for one in all_of} == {"counter"}}
    counters |= {f"{name}_total" for name in counters}  # OpenMetrics leaves it out
    assert {"node_cpu_seconds_total", "matchpoint_ws_messages_total", "pg_stat_database_xact_commit"} <= counters
    for uid in dashboards():
        for query in asked(uid):
            for selector in selectors(query.expr):
                if selector.name in counters:
                    assert (OVER_TIME | {"count"}) & set(selector.inside), str(query)
