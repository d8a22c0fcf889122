"""What on-call hears, and what the monitoring thinks."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from threading import Lock, Semaphore
from typing import Any, ClassVar, Final

from tests.conftest import Lab
from tests.drills.model import Kind, noise

FRESH_S: Final = 2.0  # looks at the hosts are as old as this at most
# A mail's title and one alert of its text, as monitoring/templates/matchpoint.tmpl begins them
_SEVERITY: Final = re.compile(r"^\[(?:RESOLVED )?(PAGE|TICKET)\] ")
_ALERT: Final = re.compile(r"^(RESOLVED )?([A-Z][A-Za-z0-9]+)(?: on (\S+))?\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Notice:
    """An alert of a notification that arrived."""

    kind: Kind
    is_resolved: bool
    at: float  # unix seconds
    host: str
    way: str = "pager"  # or mail
    labels: dict[str, str] = field(default_factory=dict, compare=False)  # all of them, if it came by the pager

    @property
    def counts(self) -> bool:
        """Whether it came the way that is measured."""
        return self.way == ("pager" if self.kind.severity == "page" else "mail")


def from_pager(event: dict[str, Any]) -> list[Notice]:
    """What a page says."""
    return [
        Notice(
            Kind(one["labels"]["alertname"], one["labels"].get("severity", "page")),
            one["status"] == "resolved",
            event["at"],
            one["labels"].get("host", ""),
            labels=one["labels"],
        )
        for one in event["body"]["alerts"]
    ]


def from_mail(event: dict[str, Any]) -> list[Notice]:
    """What a mail says: its title names the severity of all its alerts. Empty for a mail that is not about alerts."""
    title = _SEVERITY.match(event["subject"])
    if not title:
        return []
    return [
        Notice(Kind(name, title[1].lower()), bool(over), event["at"], host, "mail")
        for over, name, host in _ALERT.findall(event["body"])
    ]


class DrillLab(Lab):
    """A lab to which many speak at a time, over one connection a host: sshd lets only some begin at once."""

    # Sessions of one connection, by lab; sshd allows ten
    _speaking: ClassVar = defaultdict[str, Semaphore](lambda: Semaphore(6))

    def ssh(self, host: str, command: str) -> list[str]:
        words = super().ssh(host, command)
        shared = f"ControlPath={self.state / 'drills' / '%n'}"
        return [words[0], "-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", shared, *words[1:]]

    def run(self, host: str, command: str, *, stdin: str = "", timeout_s: float = 120) -> str:
        with self._speaking[self.name]:
            return super().run(host, command, stdin=stdin, timeout_s=timeout_s)


class Board:
    """The pager and the mails of a lab, and the alerts of its monitoring hosts. Many may look at a time."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._monitor = lab.hosts("monitor")
        self._looks: dict[tuple[str, ...], tuple[float, set[Kind]]] = {}
        self._looking = Lock()

    def _look(self, what: tuple[str, ...], look: Callable[[], set[Kind]]) -> set[Kind]:
        """What somebody else saw a moment ago, or a look."""
        with self._looking:
            at, seen = self._looks.get(what, (0.0, set()))
            if time.monotonic() - at > FRESH_S:
                seen = look()
                self._looks[what] = (time.monotonic(), seen)
            return set(seen)

    def heard(self, since: float) -> list[Notice]:
        """All that arrived since a time, the oldest first."""
        pages = [notice for event in self._lab.events("pager", since) for notice in from_pager(event)]
        tickets = [notice for event in self._lab.events("mail", since) for notice in from_mail(event)]
        return sorted(pages + tickets, key=lambda notice: notice.at)

    def beats(self, since: float) -> list[float]:
        """When the dead man's switch was called."""
        return [event["at"] for event in self._lab.events("deadman", since)]

    def alerts(self, *states: str) -> set[Kind]:
        """What Prometheus says is `firing` or `pending`."""
        return self._look(states, lambda: self._alerts(states))

    def held(self) -> set[Kind]:
        """What Alertmanager has not seen the end of, held back or not."""
        return self._look((), self._held)

    def _alerts(self, states: tuple[str, ...]) -> set[Kind]:
        said: set[Kind] = set()
        for host in self._monitor:
            text = self._lab.run(host, f"matchpoint-query 'ALERTS{{alertstate=~\"{'|'.join(states)}\"}}'")
            for line in text.splitlines():
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                said.add(Kind(labels["alertname"], labels.get("severity", "")))
        return {kind for kind in said if kind.severity in ("page", "ticket")}

    def _held(self) -> set[Kind]:
        said: set[Kind] = set()
        for host in self._monitor:
            for alert in json.loads(
                self._lab.run(host, "amtool alert query --inhibited --active --silenced -o json || true") or "[]"
            ):
                said.add(Kind(alert["labels"]["alertname"], alert["labels"].get("severity", "")))
        return {kind for kind in said if kind.severity in ("page", "ticket")}

    def clear(self, of: Iterable[Kind] | None = None, *, but: Collection[Kind] = (), within_s: float) -> set[Kind]:
        """Waits until nothing fires and no page is about to, at all or of these; returns what still is on the board."""
        wanted = None if of is None else set(of)
        deadline = time.monotonic() + within_s
        while True:
            left = self.alerts("firing") | self.held()
            left |= {kind for kind in self.alerts("pending") if kind.severity == "page"}
            quiet = {kind for kind in left if str(kind) not in noise()}
            left = (quiet if wanted is None else left & wanted) - set(but)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(3)
