"""Several edges are one: each has the newest certificate, answers challenges, and takes nothing that is wrong."""

import secrets
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import Lab, poll
from tests.edges import DOMAIN, issuer, on_disk, renew, served

HAND_OVER = "systemctl start matchpoint-certificates.service"
ELSEWHERE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=elsewhere"
    " -addext subjectAltName=DNS:elsewhere.example.com -keyout - 2>/dev/null"
)


@pytest.fixture
def copy(lab: Lab) -> str:
    """An edge that gets the certificate from another one."""
    return next(host for host in lab.hosts("edge") if host != issuer(lab))


@pytest.fixture
def closed(lab: Lab, copy: str) -> Iterator[str]:
    """A copy that does not let the issuer in."""
    keys = "/var/lib/matchpoint-certificates/.ssh/authorized_keys"
    lab.run(copy, f"mv {keys} {keys}.off")
    try:
        yield copy
    finally:
        lab.run(copy, f"if [ -e {keys}.off ]; then mv {keys}.off {keys}; fi")


def test_renewal_reaches_every_edge(lab: Lab) -> None:
    before = served(lab, issuer(lab))
    renew(lab)
    newest = on_disk(lab, issuer(lab))
    assert newest != before
    for edge in lab.hosts("edge"):
        poll(lambda edge=edge: served(lab, edge) == newest, within_s=20, what=f"{edge} to serve the new certificate")
        assert on_disk(lab, edge) == newest


def test_an_edge_that_missed_a_renewal_gets_it_from_the_timer(lab: Lab, closed: str) -> None:
    before = served(lab, closed)
    renew(lab)
    newest = on_disk(lab, issuer(lab))
    poll(lambda: served(lab, issuer(lab)) == newest, within_s=20, what="the issuer to serve the new certificate")
    assert served(lab, closed) == before
    result = lab.run(issuer(lab), "systemctl show -P Result matchpoint-certificates.service")
    assert result == "exit-code"
    lab.run(closed, "cd /var/lib/matchpoint-certificates/.ssh && mv authorized_keys.off authorized_keys")
    timer = lab.run(issuer(lab), "systemctl show -P Unit matchpoint-certificates.timer")
    assert timer in HAND_OVER
    lab.run(issuer(lab), HAND_OVER)
    assert served(lab, closed) == on_disk(lab, closed) == newest


def test_an_edge_refuses_a_certificate_for_another_name(lab: Lab, copy: str) -> None:
    before = served(lab, copy), on_disk(lab, copy)
    share, host = "/etc/matchpoint/certificates", issuer(lab)
    answer = lab.run(
        host,
        f"{ELSEWHERE} | ssh -F none -i {share}/id_ed25519 -o HostKeyAlias={copy}"
        f" -o UserKnownHostsFile={share}/known_hosts.d/{copy} matchpoint-certificates@{lab.address(copy)} 2>&1 || true",
    )
    assert f"the certificate is for elsewhere.example.com, not for {DOMAIN}" in answer
    assert (served(lab, copy), on_disk(lab, copy)) == before


def test_every_edge_answers_the_challenges_of_the_one_that_gets_the_certificate(lab: Lab) -> None:
    folder, name = "/var/www/acme/.well-known/acme-challenge", secrets.token_hex(16)
    lab.run(issuer(lab), f"mkdir -p {folder} && printf answer-%s {name} > {folder}/{name}")
    try:
        for edge in lab.hosts("edge"):
            url = f"http://{lab.address(edge)}/.well-known/acme-challenge/{name}"
            answer = requests.get(url, headers={"Host": DOMAIN}, timeout=10, proxies={"http": ""})
            assert (answer.status_code, answer.text) == (200, f"answer-{name}"), edge
    finally:
        lab.run(issuer(lab), f"rm {folder}/{name}")
