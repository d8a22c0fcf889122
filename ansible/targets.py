"""The targets of `make` that work on a site: which playbook each runs, and which settings it knows.

A new target is one entry here, and in the Makefile its name in front of what `make help` says of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = Mapping[str, str | bool]  # of texts and switches, by the names that `make` knows them by

# Consents to what a deploy cannot undo, docs/deploy.md
CONSENTS = {"NEW_DATABASE": "deploy_new_database", "TAKE_OVER": "deploy_take_over"}
# What any target takes: which site, how to get there, and what to say on its hosts
COMMON_TEXTS = {"INVENTORY", "LAB", "TOPOLOGY", "PUBLISH", "STRATEGY", "REASON", "ARGS"}
COMMON_SWITCHES = {"UNLOCK"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What `make NAME` runs. A setting that a target does not know is refused, and nothing is done."""

    playbook: str
    tags: str = ""  # of the playbook
    variables: Mapping[str, Any] = field(default_factory=dict)  # extra variables that are always the same
    texts: Mapping[str, str] = field(default_factory=dict)  # setting: the extra variable that gets its text as it is
    switches: Mapping[str, str] = field(default_factory=dict)  # setting: the extra variable that becomes true
    knows: frozenset[str] = frozenset()  # of CHECK, LIMIT and TAGS
    reads: bool = False  # changes nothing on any machine, so that CHECK=1 asks for what it does anyway
    rounds: Callable[[Settings], Sequence[Mapping[str, Any]]] = lambda settings: [{}]  # extra variables of each run
    environment: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False  # says at its end where the site serves, what changed and what comes next
    program: tuple[str, ...] = ()  # comes before the playbook; gets the inventory, and ARGS instead of the playbook


def certificate_rounds(settings: Settings) -> Sequence[Mapping[str, Any]]:
    """A new CA takes three rounds: everybody trusts it, it issues, nobody trusts the old one any more."""
    before = int(time.time())
    return [
        {"rotate_before": before, "rotate_stage": stage}
        for stage in (("begin", "switch", "end") if settings["CA"] else ("",))
    ]


# Of what deploys this checkout: the consents to other secrets than those of the hosts, and to breaking changes
DEPLOYS = {"NEW_SECRETS": "new_secrets", "BREAKING": "deploy_breaking"}

TARGETS = {
    "deploy": Target(
        playbook="site.yml",
        switches=CONSENTS | DEPLOYS,
        knows=frozenset({"CHECK", "LIMIT", "TAGS"}),
        closes=True,
    ),
    "preflight": Target(
        playbook="site.yml", tags="preflight", switches=CONSENTS | DEPLOYS, reads=True, knows=frozenset({"LIMIT"})
    ),
    "doctor": Target(playbook="doctor.yml", reads=True),
    "test-alert": Target(playbook="test_alert.yml"),
    "gate": Target(playbook="gate.yml"),
    "verify": Target(
        playbook="gate.yml",
        program=(
            "pytest",
            "tests/infra",
            "--numprocesses=2",
            "--dist=loadfile",
            "--no-loadscope-reorder",
            "--inventory",
        ),
    ),
    "silence": Target(
        playbook="silence.yml",
        texts={
            "ALERT": "silence_alert",
            "HOST": "silence_host",
            "DURATION": "silence_duration",
            "WHY": "silence_why",
            "EXPIRE": "silence_expire",
        },
    ),
    "silences": Target(playbook="silence.yml", variables={"silence_list": True}, reads=True),
    "rollback": Target(playbook="rollback.yml", texts={"RELEASE": "rollback_release"}, closes=True),
    "releases": Target(playbook="releases.yml", reads=True, knows=frozenset({"LIMIT"})),
    "reboot": Target(playbook="reboot.yml", texts={"HOST": "reboot_host"}, switches={"DOWNTIME": "reboot_downtime"}),
    "add-host": Target(
        playbook="add_host.yml",
        texts={"HOST": "joining_host"},
        switches=CONSENTS | DEPLOYS,
        knows=frozenset({"CHECK"}),
        closes=True,
    ),
    "remove-host": Target(playbook="remove_host.yml", texts={"HOST": "leaving_host"}, switches=DEPLOYS, closes=True),
    "uninstall": Target(
        playbook="uninstall.yml",
        texts={"HOST": "uninstall_host", "CONFIRM": "uninstall_confirm", "DATA": "uninstall_data"},
        knows=frozenset({"CHECK"}),
    ),
    "staff": Target(playbook="staff.yml", texts={"NAME": "staff_name", "EMAIL": "staff_email"}),
    "promote": Target(
        playbook="promote.yml",
        texts={"CONFIRM": "promote_confirm"},
        switches={"FENCE": "promote_fence"},
        # A dead host must not hold this up: no shared connections that wait for it, and short timeouts
        environment={
            "ANSIBLE_TIMEOUT": "10",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o PreferredAuthentications=publickey -o ServerAliveInterval=3",
        },
    ),
    "rejoin": Target(playbook="rejoin.yml", texts={"HOST": "rejoin_host"}),
    "backup": Target(playbook="backup.yml"),
    "restore": Target(playbook="restore.yml", texts={"CONFIRM": "restore_confirm", "TIME": "restore_time"}),
    "backup-key": Target(playbook="backup_key.yml"),
    "rotate-certificates": Target(
        playbook="site.yml",
        tags="mesh,alertmanager",
        switches={"CA": "", "BREAKING": "deploy_breaking"},  # of the CA the rounds tell
        rounds=certificate_rounds,
    ),
    "rotate-secrets": Target(
        playbook="rotate_secrets.yml",
        tags="postgres,valkey,app,exporters,grafana",
        texts={"NAME": "rotate_names"},
        switches={"BREAKING": "deploy_breaking"},
        # A round that did not come to its end is what the next `begin` repeats
        rounds=lambda settings: [{"rotate_secrets": stage} for stage in ("begin", "switch", "end")],
    ),
}
