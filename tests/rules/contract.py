"""The metric contract, read for the tests: monitoring/metrics.yml."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml

from tests.rules.model import MONITORING, rules

TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
NEEDS = {"several hosts", "standby", "monitors", "backup", "deploy", "fault"}
ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
# Labels that targets bring along (roles/prometheus), and those of histograms and summaries
TARGET = {
    "job", "host", "instance", "process", "worker", "edge", "probe", "target", "site", "replica", "le", "quantile",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """A family of the contract, as one scrape job has it."""

    job: str
    name: str
    type: str
    labels: list[str] = field(default_factory=list)
    needs: str = ""

    @property
    def samples(self) -> list[str]:
        """The names of its series."""
        return [f"{self.name}{ending}" for ending in ENDINGS.get(self.type, ("",))]

    def __str__(self) -> str:
        return f"{self.job}: {self.name}"


@cache
def contract() -> list[Series]:
    jobs = yaml.safe_load((MONITORING / "metrics.yml").read_text())
    return [Series(job, name, **fields) for job, families in jobs.items() for name, fields in families.items()]


@cache
def known() -> dict[str, list[Series]]:
    """Name of a series -> the families that it belongs to, one a job."""
    found: dict[str, list[Series]] = {}
    for series in contract():
        for name in series.samples:
            found.setdefault(name, []).append(series)
    return found


def missing_by_right(facts: dict[str, Any]) -> set[str]:
    """The series that a site of this shape does not have. `facts`: what the wiring says of a host."""
    tiers = facts["tiers"]
    has = {
        "several hosts": not facts["is_single_host"],
        "standby": len(tiers["db"]) > 1,
        "monitors": len(tiers["monitor"]) > 1,
        "backup": bool(facts["backup_url"]),
    }
    return {name for series in contract() if not has.get(series.needs, True) for name in series.samples}


def recorded() -> set[str]:
    """What recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def breaches(name: str, matchers: dict[str, str]) -> list[str]:
    """What a selector asks for that the contract does not promise. `matchers`: label -> operator and quoted value."""
    if name in recorded():
        return []
    families = known().get(name, [])
    if not families:
        return [f"{name} is not in the contract"]
    job = re.fullmatch(r'=(~?)"(.*)"', matchers.get("job", ""))
    if job and not {"any", "rules"} & {series.job for series in families}:
        pattern = job[2] if job[1] else re.escape(job[2])
        families = [series for series in families if re.fullmatch(pattern, series.job)]
        if not families:
            return [f"{name} is not in the contract of job {job[2]}"]
    labels = set(matchers) - TARGET - {"__name__"}
    unknown = {label for label in labels for series in families if label not in series.labels}
    return [f"{name} has no label {label} in the contract" for label in sorted(unknown)]
