"""What is audited: a deployed site, its hosts over SSH, its secrets, and the tools that look at it."""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.infra.conftest import Site, connect, site_read
from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/audit"
TOOLS = CACHE / "venv/bin"  # of the dependency group `audit`, apart from what the site is made of
PACKAGES = CACHE / "packages"  # of Debian, unpacked and not installed

Verdict = Literal["passed", "failed", "skipped"]


class NoSecrets(Exception):
    """Why the secrets cannot be looked for."""


@dataclass(frozen=True)
class Row:
    """A line of the table. What was skipped says why, what failed says what, by name."""

    check: str
    verdict: Verdict
    detail: str


def judged(check: str, faults: list[str], detail: str) -> Row:
    """Passed when there are no faults; else failed, and the faults are what is told."""
    return Row(check, "failed" if faults else "passed", "; ".join(faults) if faults else detail)


@dataclass(frozen=True)
class Target:
    """A site by its inventory."""

    inventory: str
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "site", site_read(self.inventory))
        CACHE.mkdir(parents=True, exist_ok=True)

    def hosts(self, group: str = "") -> dict[str, dict[str, Any]]:
        """Name -> what the wiring says about the host, of all or those in a group."""
        return {name: facts for name, facts in self.site.hosts.items() if not group or group in facts["group_names"]}

    def host(self, name: str) -> Any:
        """A host over SSH, as root, as testinfra has it."""
        return connect(self.inventory, name)

    def feed(self, name: str, command: str, stdin: Any, *, timeout_s: float = 600, text: bool = True) -> Any:
        """What a command says as root on a host, with `stdin` on its input: where nothing may stand in an argument.

        Raises AssertionError with the end of its errors when it fails.
        """
        facts = self.site.hosts[name]
        user = f"{facts['ansible_user']}@" if facts["ansible_user"] else ""
        key = facts["ansible_ssh_private_key_file"]
        words = [
            "ssh", "-o", "ControlMaster=no", "-o", "ControlPath=none",
            *shlex.split(facts["ansible_ssh_common_args"] or ""),
            *(["-i", key] if key else []), "-p", str(facts["ansible_port"] or 22), f"{user}{facts['ansible_host']}",
            f"sudo -n sh -c {shlex.quote(command)}",
        ]  # fmt: skip
        done = run(words, stdin=stdin, timeout_s=timeout_s, text=text)
        said = done.stderr if text else done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"{name}: exit code {done.returncode}: {said[-1500:]}"
        return done.stdout

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Name -> value of everything secret; of keys a line from their middle. Raises NoSecrets."""
        (path,) = {facts["secrets_file"] for facts in self.site.hosts.values()}
        file = Path(path)
        if not file.exists():
            raise NoSecrets(f"{path} is not on this machine")
        text = file.read_text()
        if text.startswith("$ANSIBLE_VAULT;"):
            shown = run([Path(sys.executable).with_name("ansible-vault"), "view", file], cwd=ROOT)
            if shown.returncode:
                raise NoSecrets(f"{path} is encrypted: name the password's file in ANSIBLE_VAULT_PASSWORD_FILE")
            text = shown.stdout
        content = yaml.safe_load(text)
        found = {
            **content["current"],
            **{f"{name} (other)": value for name, value in (content.get("other") or {}).items()},
        }
        found |= dict(keys_in(content.get("authority"), "authority"))
        return {name: middle(value) for name, value in found.items()}

    @property
    def patterns(self) -> dict[str, str]:
        """What to look for -> name of the secret: each as it is, and inside of base64 at any of its three offsets."""
        found = {}
        for name, value in self.secrets.items():
            found[value] = name
            for shift in range(3):
                coded = base64.b64encode(b"\0" * shift + value.encode())
                found[coded[4 if shift else 0 : len(coded) // 4 * 4 - 4].decode()] = f"{name} in base64"
        return found


def keys_in(content: Any, name: str) -> list[tuple[str, str]]:
    """The private keys anywhere in what was read: (where, text)."""
    if isinstance(content, dict):
        return [pair for key, value in content.items() for pair in keys_in(value, f"{name} {key}")]
    return [(name, content)] if isinstance(content, str) and "PRIVATE KEY" in content else []


def middle(value: str) -> str:
    """A value itself, or the line of a key that is not the same in every key of its kind."""
    lines = [line for line in value.splitlines() if line and not line.startswith("-----")]
    return max(lines[1:] or lines, key=len) if len(lines) > 1 or "-----" in value else value


def said_by(words: list[Any], *, timeout_s: float = 600, **options: Any) -> Any:
    """Runs a tool here, without a proxy: (exit code, output, errors) as subprocess has them."""
    environment = os.environ | options.pop("env", {})
    return run(words, timeout_s=timeout_s, cwd=options.pop("cwd", ROOT), env=environment, **options)


def as_json(text: str, tool: str) -> Any:
    """What a tool said. Raises AssertionError with the beginning of what was no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        raise AssertionError(f"{tool} said no JSON: {text[:500]!r}") from None
