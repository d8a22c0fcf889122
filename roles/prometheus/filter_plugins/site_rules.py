"""The rules of this site: those that come with it, what the inventory changes in them, and the site's own."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any

DOCUMENTATION = """
name: site_rules
short_description: rule groups as a site wants them
description:
  - C(site_rules) changes alerts as C(prometheus_alerts) says and adds the site's own files.
  - What cannot be done is told in sentences, all of them at once, and nothing is raised.
"""

Rule = dict[str, Any]
Group = dict[str, Any]

CHANGES = ("enabled", "for", "limit", "severity")
SEVERITIES = ("page", "ticket")
DURATION = re.compile(r"(?=\d)(\d+h)?(\d+m)?(\d+s)?")  # what people wait for; Prometheus knows days as well
LIMIT = re.compile(r"(?:(?<=[<>] )|(?<=[<>]= ))(-?\d[\d.]*(?:e[+-]?\d+)?)(?![\w.])(?!\s*[*/])")
SAID = re.compile(r"\s*\(a (?:page|ticket) is due\b[^()]*\)")
HEARTBEAT = "Watchdog"


def site_rules(shipped: list[Group], changes: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`{groups, faults}`: groups as a file of rules has them, and why they are not to be used.

    shipped  groups of the product
    changes  alert (`NAME`, or `NAME/severity` of one that is both) -> {enabled, for, limit, severity}
    own      file -> its content, with groups of the site
    """
    groups = json.loads(json.dumps(shipped))  # deepcopy takes Ansible's templating along, for minutes
    faults: list[str] = []
    for name, change in changes.items():
        faults += _apply(groups, str(name), change)
    for path, content in own.items():
        faults += _add(groups, path, content)
    return {"groups": [group for group in groups if group["rules"]], "faults": faults}


def limits(expr: str) -> list[str]:
    """The numbers but 0 that an expression compares with, as they stand there."""
    return [found for found in LIMIT.findall(expr) if float(found) != 0]


def _alerts(groups: list[Group]) -> Iterator[tuple[Group, Rule]]:
    for group in groups:
        for rule in group["rules"]:
            if "alert" in rule:
                yield group, rule


def _apply(groups: list[Group], key: str, change: Any) -> list[str]:
    name, _, severity = key.partition("/")
    known = {rule["alert"] for _, rule in _alerts(groups)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        return [f"there is no alert {name}{f'; the nearest is {near[0]}' if near else ''}"]
    if name == HEARTBEAT:
        return [f"{name} is the heartbeat of the dead man's switch and stays as it is"]
    wrong = _wrong(key, change)
    if wrong:
        return wrong
    chosen = [
        (group, rule)
        for group, rule in _alerts(groups)
        if rule["alert"] == name and severity in ("", rule["labels"]["severity"])
    ]
    if not chosen:
        return [f"{name} is no {severity}"]
    if len(chosen) > 1 and change.keys() - {"enabled"}:
        kinds = " and ".join(f"{name}/{rule['labels']['severity']}" for _, rule in chosen)
        return [f"{name} comes as {kinds}: say of which"]
    faults = []
    for group, rule in chosen:
        if change.get("enabled", True) is False:
            group["rules"].remove(rule)
        else:
            faults += _change(rule, change)
    return faults


def _wrong(key: str, change: Any) -> list[str]:
    if not isinstance(change, dict) or not change:
        return [f"{key} must have some of {', '.join(CHANGES)}"]
    faults = [
        f"{key} has {word}, and may have {', '.join(CHANGES)}" for word in sorted(change.keys() - set(CHANGES), key=str)
    ]
    if not isinstance(change.get("enabled", True), bool):
        faults.append(f"{key}: enabled is {change['enabled']!r}, and must be true or false")
    if isinstance(limit := change.get("limit", 1), bool) or not isinstance(limit, int | float):
        faults.append(f"{key}: limit is {limit!r}, and must be a number")
    if "for" in change and not DURATION.fullmatch(str(change["for"])):
        faults.append(f"{key}: for is {change['for']!r}, and must be a time such as 90s, 10m or 1h30m")
    if change.get("severity", SEVERITIES[0]) not in SEVERITIES:
        faults.append(f"{key}: severity is {change['severity']!r}, and must be {' or '.join(SEVERITIES)}")
    return faults


def _change(rule: Rule, change: dict[str, Any]) -> list[str]:
    words = []
    if "limit" in change:
        found = limits(rule["expr"])
        if len(found) != 1:
            has = f"{len(found)} of them ({', '.join(found)})" if found else "none"
            return [f"{rule['alert']}: limit can be set where an alert has one, and this has {has}"]
        rule["expr"] = LIMIT.sub(lambda one: f"{change['limit']}" if one[1] == found[0] else one[1], rule["expr"])
        words.append(f"limit {change['limit']}")
    if "for" in change:
        rule["for"] = str(change["for"])
        words.append(f"for {change['for']}")
    if "severity" in change:
        rule["labels"]["severity"] = change["severity"]
    if words:  # what the description says of the limit and the time is about those that were shipped
        told = SAID.sub("", rule["annotations"]["description"])
        rule["annotations"]["description"] = f"{told} This site has its own {' and '.join(words)}."
    return []


def _add(groups: list[Group], path: str, content: Any) -> list[str]:
    if not isinstance(content, dict) or not isinstance(content.get("groups"), list):
        return [f"{path} has no list `groups`, as a file of rules has"]
    known = {rule["alert"] for _, rule in _alerts(groups)}
    taken = {group["name"] for group in groups}
    faults = []
    for group in content["groups"]:
        if not _is_group(group):
            faults.append(f"{path}: a group must have `name` and a list `rules`, with pairs as labels and annotations")
            continue
        if group["name"] in taken:
            faults.append(f"{path}: a group {group['name']} is there already")
        for _, rule in _alerts([group]):
            if rule["alert"] in known:
                faults.append(f"{path}: an alert {rule['alert']} is there already; change it with prometheus_alerts")
            if (rule.get("labels") or {}).get("severity") not in SEVERITIES:
                faults.append(
                    f"{path}: {rule['alert']} needs a label severity, {' or '.join(SEVERITIES)}, or nobody hears"
                )
            if not (rule.get("annotations") or {}).get("summary"):
                faults.append(f"{path}: {rule['alert']} needs an annotation summary: it is what people read first")
        groups.append(group)
    return faults


def _is_group(group: Any) -> bool:
    if not isinstance(group, dict) or not group.get("name") or not isinstance(group.get("rules"), list):
        return False
    pairs = ("labels", "annotations")
    return all(
        isinstance(rule, dict) and all(isinstance(rule.get(part) or {}, dict) for part in pairs)
        for rule in group["rules"]
    )


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"site_rules": site_rules}
