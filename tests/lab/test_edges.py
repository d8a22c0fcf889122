"""What must not go wrong: a renewal nginx misses, a restart that visitors see, a broken release, a wrong setting."""

import hashlib
import io
import json
import re
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.conftest import Lab, poll
from tests.edges import on_disk, renew, served, status
from tests.processes import run

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / ".cache/releases"
BROKEN = "app/matchpoint/serve.py"


@pytest.fixture
def broken_release(site: Lab) -> str:
    """The release of the lab, with workers that do not start."""
    name = "broken000000"
    current = site.run("mp1", "basename $(readlink /opt/matchpoint/current)")
    good = run(["zstd", "-dc", RELEASES / f"{current}.tar.zst"], text=False, check=True).stdout
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(good)) as source, tarfile.open(fileobj=out, mode="w") as target:
        for entry in source:
            content = source.extractfile(entry).read() if entry.isfile() else b""
            if entry.name == BROKEN:
                content = b"raise SystemExit('a broken release')\n"
                broken = hashlib.sha256(content).hexdigest(), len(content)
            if entry.name == "manifest.json":  # the last one
                about = json.loads(content)
                about["files"][BROKEN], about["sizes"][BROKEN] = broken
                content = json.dumps(about).encode()
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    archive = RELEASES / f"{name}.tar.zst"
    run(["zstd", "-q", "-f", "-", "-o", archive], stdin=out.getvalue(), text=False, check=True)
    yield name
    archive.unlink()
    site.run("mp1", f"rm -rf /opt/matchpoint/releases/{name}")


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


def test_broken_release_leaves_the_old_one_serving(site: Lab, broken_release: str) -> None:
    before = site.run("mp1", "readlink /opt/matchpoint/current")
    with pytest.raises(AssertionError, match=r"(?s)a broken release.*serves again"):
        site.make("deploy", f"ARGS=-e matchpoint_release={broken_release} -e app_ready_seconds=8", "TAGS=app")
    assert site.run("mp1", "readlink /opt/matchpoint/current") == before
    for port in (8001, 8002, 8101, 8102, 8103):
        answer = site.run("mp1", f"curl -sS --fail http://127.0.0.1:{port}/readyz")
        assert json.loads(answer), port


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            "matchpoint_domain=''",
            "matchpoint_domain is not set: it must be a DNS name in lower case, for example pong.example.com",
        ),
        ("matchpoint_domain=Pong_1", "matchpoint_domain is Pong_1: it must be a DNS name in lower case"),
        (
            "matchpoint_admin_email=nobody",
            "matchpoint_admin_email is nobody: it must be a mail address, for example ops@example.com",
        ),
        ("matchpoint_domian=pong.example.com", "matchpoint_domian is no setting of Matchpoint"),
        ("matchpoint_domain=world", "matchpoint_domain is world: it must be a DNS name"),
        ("matchpoint_domain=world.nowhere.invalid", "which does not resolve on the host"),
        ("preflight_disk_mb=99999999", "/ has .* MiB free: it needs 99999999"),
        ("preflight_release=99", "the system is Debian 13.*: Matchpoint needs Debian 99"),
        ("{preflight_units: [nobody]}", "port 443 is taken by nginx .nginx.service.: stop it"),
    ],
)
def test_preflight_tells_what_is_wrong(site: Lab, setting: str, told: str) -> None:
    with pytest.raises(AssertionError) as failure:
        site.make("preflight", f"ARGS=-e '{setting}'")
    output = re.sub(r"\s+", " ", str(failure.value))  # Ansible wraps long lines
    assert re.search(told, output), output
    assert "changed=0" in output
