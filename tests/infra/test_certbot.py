"""Every edge serves the newest certificate; it is good for weeks and renewed by the one edge that gets it."""

import ssl
import time

import pytest

testinfra_hosts = ["ansible://edge"]
UNITS = ["certbot.service", "matchpoint-certificates.service"]
CURRENT = "/etc/matchpoint/tls/current"


SHARE = "/etc/matchpoint/certificates"


@pytest.fixture(scope="module")
def served(edge):
    with edge.handshake(edge.domain, edge.tls()) as connection:
        return connection.getpeercert()


@pytest.fixture(scope="module")
def issuer(facts, public):
    """Whether this edge gets the certificate, and whether there are others that get it from here."""
    return public.hosts[facts["certbot_issuer"]] is facts


def test_certificate_is_trusted_and_for_the_domain(edge, served):
    assert ("DNS", edge.domain) in served["subjectAltName"]


def test_certificate_is_good_for_weeks(served):
    assert ssl.cert_time_to_seconds(served["notAfter"]) - time.time() > 20 * 86400


def test_served_certificate_is_the_one_on_disk(host, served):
    serial = host.check_output(f"openssl x509 -noout -serial -in {CURRENT}/fullchain.pem").partition("=")[2]
    assert int(serial, 16) == int(served["serialNumber"], 16)


def test_every_edge_serves_the_same_certificate(edge, served, public):
    with public.handshake(public.domain, public.tls()) as connection:
        assert connection.getpeercert()["serialNumber"] == served["serialNumber"]


def test_renewal_is_scheduled_on_one_edge_and_reloads_nginx(host, facts, issuer):
    timer = host.service("certbot.timer")
    assert (timer.is_running, timer.is_enabled) == (issuer, issuer)
    if issuer:
        lineage = host.check_output(f"readlink {CURRENT}").rsplit("/", 1)[1]
        renewal = host.file(f"/etc/letsencrypt/renewal/{lineage}.conf").content_string
        assert f"server = {facts['certbot_directory']}" in renewal
        assert "authenticator = webroot" in renewal
        hook = host.file("/etc/letsencrypt/renewal-hooks/deploy/matchpoint")
        assert hook.mode & 0o111
        assert "reload nginx.service" in hook.content_string


def test_challenges_reach_the_edge_that_asked_for_them(edge):
    """There is none now: the right edge says so, and it is not this one's nginx that cannot reach it."""
    assert edge.get("/.well-known/acme-challenge/none", https=False).status == 404


def test_copies_are_looked_after_every_hour(host, facts, issuer):
    timers = host.check_output("systemctl list-timers --all --plain --no-legend")
    wanted = issuer and bool(facts["certbot_copies"])
    assert ("matchpoint-certificates.timer" in timers) == wanted
    if wanted:
        assert host.service("matchpoint-certificates.timer").is_enabled
        assert host.check_output("systemctl show -P Result matchpoint-certificates.service") == "success"


def test_key_for_the_copies_starts_the_receiver_and_nothing_else(host, facts, issuer):
    if not issuer:
        assert not host.file(f"{SHARE}/id_ed25519").exists
        return
    for name, copy in facts["certbot_copies"].items():
        answer = host.run(
            f"ssh -F none -i {SHARE}/id_ed25519 -o BatchMode=yes -o HostKeyAlias={name} -o StrictHostKeyChecking=yes"
            f" -o UserKnownHostsFile={SHARE}/known_hosts.d/{name} -p {copy['port']}"
            f" matchpoint-certificates@{copy['address']} cat /etc/shadow < /dev/null"
        )
        assert (answer.rc, answer.stdout) == (1, ""), answer
        assert "what came is not PEM" in answer.stderr


def test_key_is_readable_by_root_alone(host):
    key = host.file(host.check_output(f"readlink --canonicalize {CURRENT}/privkey.pem"))
    assert (key.user, key.mode) == ("root", 0o600)
