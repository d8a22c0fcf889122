"""What is asked of Prometheus, and what the answers mean. monitoring/rules/status.yml records most of it."""

import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from status.model import DAY_S, DAYS, LATENCIES, PARTS, QUANTILE, Day, History, Incident, LatencyDay, Now, State
from status.prometheus import Prometheus, Series

RECORDED: Final = '{__name__=~"part:.+_available:ratio"}'
BEST_LATELY: Final = f"max by (part) (max_over_time({RECORDED}[2m]))"
# 0 when one of several edges or workers failed for a whole minute
WAYS: Final = 'min by (probe) (max_over_time(probe_success{job="probe",probe=~"https_home|wss"}[1m]))'
# Of one in ten that fails nobody can tell a share: three in five minutes are told
ERRORS: Final = (
    'max by (sloth_slo) (slo:sli_error:ratio_rate5m{sloth_service="matchpoint"}'
    ' and on (sloth_slo) slo:sli_error_events:rate5m{sloth_service="matchpoint"} >= 0.01)'
)
RESULTS_WAITING: Final = 'sum(min_over_time(matchpoint_results_spooled{job="live"}[2m]))'

# One probe of a minute may be lost without a word
GOOD_ENOUGH: Final = 0.75
# A single canary may fail for reasons of its own: down is said after the second
NEEDS_TWO: Final = frozenset({"matches"})
WAY_OF: Final = {"https_home": "site", "wss": "connections"}
# The part of the site that an objective is about, and the share of failures that players notice
OBJECTIVES: Final = {
    "page-availability": ("site", 0.05),
    "page-latency": ("site", 0.25),
    "match-availability": ("matches", 0.05),
    "input-latency": ("matches", 0.25),
    "socket-connect": ("connections", 0.05),
}
# What suffers when an alert about a component pages; other components concern all or nothing in particular
COMPONENTS: Final[dict[str, tuple[str, ...]]] = {
    "site": ("site",),
    "nginx": ("site",),
    "tls": ("site",),
    "http": ("site",),
    "app": ("site",),
    "live": ("matches", "connections"),
    "game": ("matches",),
    "canary": ("matches",),
    "valkey": ("matches",),
    "postgres": ("accounts",),
}
# Where the component does not say what players miss
ALERTS: Final[dict[str, tuple[str, ...]]] = {"CanaryFailing": ("matches",)}
# Labels whose values are nobody's business
PRIVATE: Final = ("host", "instance", "target", "edge", "worker", "server", "device", "mountpoint", "name", "release")
ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+|([0-9a-f]{1,4}:){2}|::|://|localhost|:\d{4,5}\b", re.IGNORECASE)
# Words of those who run the site; players are told in theirs
INSIDE: Final = re.compile(
    r"\b(postgres\w*|valkey|nginx|prometheus|alertmanager|grafana|dns|edges?|workers?|hosts?)\b", re.IGNORECASE
)

PER_DAY: Final = 1_440  # samples that the rules record
AVAILABLE: Final = f"avg by (part) (avg_over_time({RECORDED}[%ds]))"
COUNT: Final = f"sum by (part) (count_over_time({RECORDED}[%ds]))"
BUCKETS: Final = {
    "pages": 'le_location:nginx_log_request_seconds_bucket:increase5m{location="page"}',
    "moves": "le:matchpoint_input_broadcast_seconds_bucket:increase5m",
}
LATENCY: Final = {
    kind: f"histogram_quantile({QUANTILE}, sum by (le) (sum_over_time({buckets}[%ds])))"
    for kind, buckets in BUCKETS.items()
}


def measure_now(prometheus: Prometheus, *, at: float) -> Now:
    """How it is. Unavailable."""
    ratios = _values(prometheus.now(RECORDED), "part")
    best = _values(prometheus.now(BEST_LATELY), "part")
    troubled = {WAY_OF.get(way, "") for way, value in _values(prometheus.now(WAYS), "probe").items() if value == 0}
    for objective, errors in _values(prometheus.now(ERRORS), "sloth_slo").items():
        part, limit = OBJECTIVES.get(objective, ("", 1.0))
        if errors > limit:
            troubled.add(part)
    if any(point.value for series in prometheus.now(RESULTS_WAITING) for point in series.points):
        troubled.add("accounts")  # they appear in the history late
    incidents = incidents_of(prometheus.alerts())
    for incident in incidents:
        troubled.update(incident.parts)
    parts = {part: _state(part, ratios.get(part), best.get(part), is_troubled=part in troubled) for part in PARTS}
    if parts["matches"] == "down" and parts["accounts"] == "down" and parts["connections"] != "down":
        parts["matches"] = "degraded"  # the canary's match is played, but waits in vain for its result to be stored
    return Now(at, parts, incidents)


def _state(part: str, ratio: float | None, best: float | None, *, is_troubled: bool) -> State:
    if ratio is None:
        return "degraded" if is_troubled else "unknown"
    if ratio == 0 and not (part in NEEDS_TWO and best):
        return "down"
    return "degraded" if is_troubled or ratio < GOOD_ENOUGH else "operational"


def incidents_of(alerts: list[dict[str, Any]]) -> tuple[Incident, ...]:
    """What players are told of the alerts that page: one incident for what suffers together, the oldest first."""
    found: dict[tuple[str, ...], list[tuple[float, str]]] = defaultdict(list)
    for alert in alerts:
        labels, annotations = alert.get("labels") or {}, alert.get("annotations") or {}
        impact = str(annotations.get("impact", "")).strip()
        if alert.get("state") != "firing" or labels.get("severity") != "page" or impact.startswith("None"):
            continue
        parts = ALERTS.get(labels.get("alertname", "")) or COMPONENTS.get(labels.get("component", ""), ())
        found[parts].append((_instant(alert.get("activeAt")), public(impact, labels)))
    incidents = [
        Incident(parts, min(since for since, _ in told), tuple(dict.fromkeys(text for _, text in sorted(told))))
        for parts, told in found.items()
    ]
    return tuple(sorted(incidents, key=lambda incident: incident.since))


def public(impact: str, labels: dict[str, str]) -> str:
    """The text as it is, or "" when it names a host, an address or anything else of the inside."""
    private = [labels[label] for label in PRIVATE if labels.get(label)]
    names = private + [value.rpartition(":")[0] or value for value in private]
    if (
        ADDRESS.search(impact)
        or INSIDE.search(impact)
        or any(re.search(rf"\b{re.escape(name)}\b", impact, re.IGNORECASE) for name in names)
    ):
        return ""
    return impact


def _instant(text: object) -> float:
    """Seconds since 1970; Prometheus writes nanoseconds, which Python cuts."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text))).timestamp()
    except ValueError:
        return datetime.now(UTC).timestamp()


def measure_history(prometheus: Prometheus, *, at: float) -> History:
    """The last 90 days, each from midnight to midnight in UTC. Unavailable."""
    today = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    dates = [(today - timedelta(days=ago)).date().isoformat() for ago in range(DAYS - 1, -1, -1)]
    # An average over the day that ends at an instant belongs to the day before it
    start, midnight = (today - timedelta(days=DAYS - 2)).timestamp(), today.timestamp()
    so_far = max(60, int(at - midnight))

    def by_day(query: str, label: str) -> dict[str, dict[str, float]]:
        values: dict[str, dict[str, float]] = defaultdict(dict)
        for labels, points in prometheus.over(query % DAY_S, start=start, end=midnight, step=DAY_S):
            for point in points:
                if point.value is not None:
                    date = datetime.fromtimestamp(point.at - DAY_S, UTC).date().isoformat()
                    values[labels.get(label, "")][date] = point.value
        for key, value in _values(prometheus.now(query % so_far), label).items():
            values[key][dates[-1]] = value
        return values

    available, count = by_day(AVAILABLE, "part"), by_day(COUNT, "part")
    expected = dict.fromkeys(dates, float(PER_DAY)) | {dates[-1]: so_far / 60}
    return History(
        at,
        {
            part: tuple(
                Day(date, available[part].get(date), min(1.0, count[part].get(date, 0.0) / expected[date]))
                for date in dates
            )
            for part in PARTS
        },
        {
            kind: tuple(LatencyDay(date, seconds.get(date)) for date in dates)
            for kind, seconds in ((kind, by_day(LATENCY[kind], "")[""]) for kind in LATENCIES)
        },
    )


def _values(series: list[Series], label: str) -> dict[str, float]:
    return {
        labels.get(label, ""): point.value for labels, points in series for point in points if point.value is not None
    }
