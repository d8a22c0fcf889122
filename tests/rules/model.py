"""What `monitoring/` and the monitoring roles say, read for the tests."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests import processes
from tests.rules.promql import fill_in

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
RULE_TESTS = sorted((MONITORING / "rule_tests").glob("*.yml"))
RUNBOOKS = sorted((MONITORING / "runbooks").glob("*.md"))
TEMPLATES = sorted((MONITORING / "templates").glob("*.tmpl"))


@dataclass(frozen=True)
class Alert:
    """One alerting rule; an alert with two severities is two of them."""

    name: str
    expr: str
    wait: str
    labels: dict[str, str]
    annotations: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name}-{self.labels.get('severity')}"


@cache
def rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[Alert]:
    return [
        Alert(rule["alert"], rule["expr"], rule.get("for", ""), rule["labels"], rule["annotations"])
        for rule in rules()
        if "alert" in rule
    ]


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Committed dashboards by uid."""
    boards = [json.loads(path.read_text()) for path in sorted((MONITORING / "dashboards").glob("*.json"))]
    return {board["uid"]: board for board in boards}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> list[str]:
    """Every PromQL of a dashboard, with Grafana's variables replaced by values that mean everything."""
    found = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    found += [annotation["expr"] for annotation in board["annotations"]["list"]]
    return [fill_in(expr) for expr in found]


def code_blocks(markdown: str, kind: str) -> list[str]:
    """The blocks of a runbook that are marked ``sh check`` (they only look) or ``sh fix``."""
    return re.findall(rf"^```sh {kind}\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


def run(*command: str | Path, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    return processes.run(command, timeout_s=timeout_s, env=os.environ | environment)


def role_vars(role: str) -> dict[str, Any]:
    """A role's internal settings, as they are written."""
    return yaml.safe_load((ROOT / "roles" / role / "vars/main.yml").read_text())


def _templar(role: str, settings: dict[str, Any]) -> Any:
    """Ansible's own, with a role's defaults, its internal settings and these settings."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar

    loader = DataLoader()
    variables: dict[str, Any] = {"ansible_managed": "Ansible managed"}
    for source in ("defaults", "vars"):
        path = ROOT / "roles" / role / source / "main.yml"
        variables |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    return Templar(loader=loader, variables=variables | settings)


def role_value(role: str, name: str, **settings: Any) -> Any:
    """What a setting of a role is worth, with these settings."""
    from ansible.template import trust_as_template

    return _templar(role, settings).template(trust_as_template(f"{{{{ {name} }}}}"))


def role_template(role: str, template: str, **settings: Any) -> str:
    """A role's template, rendered by Ansible with the role's defaults and these settings."""
    from ansible.template import trust_as_template

    text = (ROOT / "roles" / role / "templates" / f"{template}.j2").read_text()
    # Ansible's own way to read templates: blocks take their line break along
    templar = _templar(role, settings).copy_with_new_env()
    overrides = {"trim_blocks": True, "keep_trailing_newline": True}
    return str(templar.template(trust_as_template(text), overrides=overrides) or "")
