"""The certificate that is served is the newest one, is good for weeks, and will be renewed."""

import ssl
import time

import pytest

testinfra_hosts = ["ansible://edge"]
UNITS = ["certbot.service"]
CURRENT = "/etc/matchpoint/tls/current"


@pytest.fixture(scope="module")
def served(public):
    with public.handshake(public.domain, public.tls()) as connection:
        return connection.getpeercert()


def test_certificate_is_trusted_and_for_the_domain(public, served):
    assert ("DNS", public.domain) in served["subjectAltName"]


def test_certificate_is_good_for_weeks(served):
    assert ssl.cert_time_to_seconds(served["notAfter"]) - time.time() > 20 * 86400


def test_served_certificate_is_the_one_on_disk(host, served):
    serial = host.check_output(f"openssl x509 -noout -serial -in {CURRENT}/fullchain.pem").partition("=")[2]
    assert int(serial, 16) == int(served["serialNumber"], 16)


def test_renewal_is_scheduled_and_reloads_nginx(host, facts):
    timer = host.service("certbot.timer")
    assert timer.is_running
    assert timer.is_enabled
    lineage = host.check_output(f"readlink {CURRENT}").rsplit("/", 1)[1]
    renewal = host.file(f"/etc/letsencrypt/renewal/{lineage}.conf").content_string
    assert f"server = {facts['certbot_directory']}" in renewal
    assert "authenticator = webroot" in renewal
    hook = host.file("/etc/letsencrypt/renewal-hooks/deploy/matchpoint")
    assert hook.mode & 0o111
    assert "reload nginx.service" in hook.content_string


def test_key_is_readable_by_root_alone(host):
    key = host.file(host.check_output(f"readlink --canonicalize {CURRENT}/privkey.pem"))
    assert (key.user, key.mode) == ("root", 0o600)


def test_renewal_can_run_in_its_sandbox(host):
    line = host.check_output("systemd-analyze security --no-pager certbot.service | tail -n 1")
    assert float(line.split(":")[1].split()[0]) <= 3, line
