"""What must not go wrong: a renewal nginx misses, a restart that visitors see, a host that will not do."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.conftest import Lab, poll
from tests.edges import on_disk, renew, served, status

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / ".cache/releases"


def test_renewal_reloads_nginx(site: Lab) -> None:
    before = served(site, "mp1")
    renew(site)
    newest = on_disk(site, "mp1")
    assert newest != before
    poll(lambda: served(site, "mp1") == newest, within_s=10, what="nginx to serve the new certificate")


@contextmanager
def visitors(site: Lab, seen: Counter) -> Iterator[None]:
    """Reads pages and sends forms through the edge until the block ends.

    Counts the answers by method and status; what got no answer counts with the name of the error. Workers refuse a form
    without a token.
    """
    leave = threading.Event()

    def visit(method: str) -> None:
        while not leave.wait(0.1):  # under the limit for one address
            try:
                seen[method, status(site, "mp1", method, "/")] += 1
            except (OSError, HTTPException) as error:
                seen[method, type(error).__name__] += 1

    threads = [threading.Thread(target=visit, args=(method,)) for method in ("GET", "POST") * 2]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leave.set()
        for thread in threads:
            thread.join()


def test_visitors_do_not_notice_that_web_workers_restart_one_by_one(site: Lab) -> None:
    seen: Counter = Counter()
    with visitors(site, seen):
        for port in (8001, 8002) * 3:
            site.run("mp1", f"systemctl restart matchpoint-web@{port}")
            ready = f"curl -sS -o /dev/null -w '%{{http_code}}' 127.0.0.1:{port}/readyz || true"
            poll(
                lambda ready=ready: site.run("mp1", ready) == "200",
                within_s=60, every_s=0.2, what=f"the worker on port {port} to be ready",
            )  # fmt: skip
    assert set(seen) == {("GET", 200), ("POST", 403)}, seen
    assert min(seen.values()) > 20, seen


def test_preflight_tells_all_that_is_wrong_with_a_host_at_once(site: Lab) -> None:
    wrong = {
        "matchpoint_domain": "world.nowhere.invalid",
        "preflight_disks": [{"path": "/var/lib/postgresql", "mb": 99999999}],
        "preflight_release": "99",
        "preflight_units": ["nobody"],
    }
    with pytest.raises(AssertionError) as failure:
        site.make("preflight", f"ARGS=-e '{json.dumps(wrong)}'")
    output = re.sub(r"\s+", " ", str(failure.value))  # Ansible wraps long lines
    for told in (
        "which does not resolve on the host",
        "/ has .* MiB free: it needs 99999999, for /var/lib/postgresql",
        "the system is Debian 13.*: Matchpoint needs Debian 99",
        "port 443 is taken by nginx .nginx.service.: stop it",
        "changed=0",
    ):
        assert re.search(told, output), output
