"""What must not go wrong unnoticed: a renewal that nginx misses, a release that does not start, a wrong setting."""

import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Lab, poll

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / ".cache/releases"
SERVED = (
    "openssl s_client -connect 127.0.0.1:443 -servername matchpoint.localhost </dev/null 2>/dev/null"
    " | openssl x509 -noout -serial"
)
RENEWAL = "/etc/letsencrypt/renewal/$(basename $(readlink /etc/matchpoint/tls/current)).conf"


@pytest.fixture
def broken_release(site: Lab) -> str:
    """The release of the lab, with workers that do not start."""
    name = "broken000000"
    current = site.run("mp1", "basename $(readlink /opt/matchpoint/current)")
    good = subprocess.run(["zstd", "-dc", RELEASES / f"{current}.tar.zst"], capture_output=True, check=True).stdout
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(good)) as source, tarfile.open(fileobj=out, mode="w") as target:
        for entry in source:
            content = source.extractfile(entry).read() if entry.isfile() else b""
            if entry.name == "app/matchpoint/serve.py":
                content = b"raise SystemExit('a broken release')\n"
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    archive = RELEASES / f"{name}.tar.zst"
    subprocess.run(["zstd", "-q", "-f", "-", "-o", archive], input=out.getvalue(), check=True)
    yield name
    archive.unlink()
    site.run("mp1", f"rm -rf /opt/matchpoint/releases/{name}")


def test_renewal_reloads_nginx(site: Lab) -> None:
    before = site.run("mp1", SERVED)
    site.run("mp1", f"sed -i '1i renew_before_expiry = 9999 days' {RENEWAL}")
    try:
        site.run("mp1", "systemctl start certbot.service")
    finally:
        site.run("mp1", f"sed -i '/9999 days/d' {RENEWAL}")
    poll(lambda: site.run("mp1", SERVED) != before, within_s=10, what="nginx to serve the new certificate")


def test_broken_release_leaves_the_old_one_serving(site: Lab, broken_release: str) -> None:
    before = site.run("mp1", "readlink /opt/matchpoint/current")
    with pytest.raises(AssertionError, match=r"(?s)a broken release.*serves again"):
        site.make("deploy", f"ARGS=-e matchpoint_release={broken_release} -e app_ready_seconds=8", "TAGS=app")
    assert site.run("mp1", "readlink /opt/matchpoint/current") == before
    for port in (8001, 8002, 8101, 8102):
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
