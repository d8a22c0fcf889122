"""The edges of a lab: which one gets the certificate, and which certificate each has and serves."""

import socket
import ssl
from http.client import HTTPSConnection

from tests.conftest import Lab

DOMAIN = "matchpoint.localhost"
CURRENT = "/etc/matchpoint/tls/current"
RENEWAL = f"/etc/letsencrypt/renewal/$(basename $(readlink {CURRENT})).conf"


def issuer(lab: Lab) -> str:
    """The edge that gets the certificate for all."""
    state = {host: lab.run(host, "systemctl is-active certbot.timer || true") for host in lab.hosts("edge")}
    (host,) = [host for host in state if state[host] == "active"]
    return host


def on_disk(lab: Lab, host: str) -> int:
    """Serial number of the certificate that nginx would read now."""
    return int(lab.run(host, f"openssl x509 -noout -serial -in {CURRENT}/fullchain.pem").partition("=")[2], 16)


def connect(lab: Lab, host: str) -> ssl.SSLSocket:
    """A connection to one edge, which must show a certificate that a browser trusts."""
    context = ssl.create_default_context(cafile=str(lab.state / "root-ca.pem"))
    return context.wrap_socket(socket.create_connection((lab.address(host), 443), timeout=30), server_hostname=DOMAIN)


def served(lab: Lab, host: str) -> int:
    """Serial number of the certificate that a browser gets."""
    with connect(lab, host) as connection:
        certificate = connection.getpeercert()
    assert certificate
    return int(str(certificate["serialNumber"]), 16)


def status(lab: Lab, host: str, method: str, path: str) -> int:
    """What one edge answers to a request. Raises OSError or HTTPException when it does not answer."""
    connection = HTTPSConnection(DOMAIN, timeout=30)
    connection.sock = connect(lab, host)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()


def renew(lab: Lab) -> None:
    """Has certbot get a new certificate as it will when the old one nears its end: by its unit, in its sandbox."""
    host = issuer(lab)
    lab.run(host, f"sed -i '1i renew_before_expiry = 9999 days' {RENEWAL}")
    try:
        lab.run(host, "systemctl start certbot.service")
    finally:
        lab.run(host, f"sed -i '/9999 days/d' {RENEWAL}")
