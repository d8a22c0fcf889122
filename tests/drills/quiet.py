"""What is no event: load, a deploy, a reboot, a renewal and a backup page nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tests.cluster.drills import Releases
from tests.conftest import Lab
from tests.drills.board import Board, Notice
from tests.drills.drill import swarm

MATCHES: Final = 4
PAGES: Final = 5.0
# After each step, for what it caused to be heard: scrape, evaluation, patience and Alertmanager of a service that stops
SETTLE_S: Final = 100.0
RENEWAL: Final = (
    "REQUESTS_CA_BUNDLE=/etc/matchpoint/tls/acme-ca.pem"
    " certbot renew --force-renewal --no-random-sleep-on-renew --quiet"
)


@dataclass(frozen=True)
class Step:
    what: str
    seconds: float
    notices: list[Notice]

    def told(self, severity: str) -> str:
        return (
            ", ".join(sorted({notice.kind.alert for notice in self.notices if notice.kind.severity == severity}))
            or "none"
        )


def run(lab: Lab, board: Board, say: Callable[[str], None]) -> list[Step]:
    """Goes through an ordinary day under load; what was heard is in the steps."""
    releases = Releases(lab)
    host = lab.hosts("edge")[0]
    day: list[tuple[str, Callable[[], Any]]] = [
        (f"{MATCHES} matches at a time and {PAGES:.0f} pages a second", lambda: time.sleep(SETTLE_S)),
        ("a deploy of a new release", lambda: lab.make("deploy", releases.working("quiet"))),
        ("a renewal of the certificate", lambda: lab.run(host, RENEWAL)),
        ("a backup", lambda: lab.make("backup")),
        ("a reboot of the host (`make reboot`)", lambda: lab.make("reboot", f"HOST={host}", "DOWNTIME=1")),
    ]
    steps = []
    with swarm(lab, matches=MATCHES, pages=PAGES):
        for what, act in day:
            say(f"quiet: {what}")
            began = time.time()
            act()
            took = time.time() - began
            time.sleep(SETTLE_S)
            heard = [notice for notice in board.heard(began) if not notice.is_resolved]
            steps.append(Step(what, took, heard))
            say(f"quiet: {took:.0f} s, pages: {steps[-1].told('page')}, tickets: {steps[-1].told('ticket')}")
    return steps


def result(steps: list[Step]) -> dict[str, Any]:
    return {
        "on": datetime.now(UTC).strftime("%Y-%m-%d"),
        "steps": [
            {
                "what": step.what,
                "seconds": round(step.seconds),
                "pages": step.told("page"),
                "tickets": step.told("ticket"),
            }
            for step in steps
        ],
    }
