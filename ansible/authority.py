"""The CA of a site's hosts: certificates that they show each other. It is a dict of PEM texts in the site's secrets."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
HOST_DAYS = 396
BOTH_ENDS = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
CA, NEXT, OLD, HOSTS = "ca", "next", "old", "hosts"  # next and old: while the CA is changed


class Authority:
    """`ca`, `next` and `old` are each {key, pem}, `hosts` is {name: {key, pem}}. The dict is changed in place."""

    def __init__(self, store: dict[str, Any]) -> None:
        self._store = store
        if CA not in store:
            store[CA] = make()
        store.setdefault(HOSTS, {})

    def change(self, stage: str) -> None:
        """One step on the way to another CA; harmless when it is done already.

        `begin` makes the next one, which everybody then trusts; `switch` makes it the one that issues; `end` trusts the
        old one no more.
        """
        store = self._store
        if stage == "begin" and not {NEXT, OLD} & store.keys():
            store[NEXT] = make()
        elif stage == "switch" and NEXT in store:
            store[OLD] = {"pem": store[CA]["pem"]}
            store[CA] = store.pop(NEXT)
        elif stage == "end":
            store.pop(OLD, None)

    def renew(self, name: str, addresses: list[str], after: float = 0) -> None:
        """A certificate for a host, unless it has one that is good.

        It is made anew when two thirds of its life are over, when its CA or the host's addresses have changed, or when
        it is older than `after` (s since 1970).
        """
        names: list[x509.GeneralName] = [x509.DNSName(name), *map(_general_name, addresses)]
        there = self._store[HOSTS].get(name)
        if not there or not self._is_good(there["pem"], names, datetime.datetime.fromtimestamp(after, datetime.UTC)):
            self._store[HOSTS][name] = self._issue(name, names)

    def bundle(self, name: str) -> dict[str, str]:
        """What a host gets: `certificate` and `key`, empty when it has none yet, and `ca`, every CA to trust."""
        there = self._store.get(HOSTS, {}).get(name, {"pem": "", "key": ""})
        trusted = "".join(self._store[kind]["pem"] for kind in (CA, NEXT, OLD) if kind in self._store)
        return {"certificate": there["pem"], "key": there["key"], "ca": trusted}

    def _is_good(self, pem: str, names: list[x509.GeneralName], after: datetime.datetime) -> bool:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        stored = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            _now() < begin + (end - begin) * 2 / 3
            and begin >= after
            and certificate.issuer == self._certificate().subject
            and list(stored) == names
        )

    def _issue(self, name: str, names: list[x509.GeneralName]) -> dict[str, str]:
        authority: Any = serialization.load_pem_private_key(self._store[CA]["key"].encode(), None)
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, self._certificate().subject, key.public_key(), HOST_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_usage(sign=True), critical=True)
            .add_extension(issuer_key, critical=False)
            .add_extension(x509.ExtendedKeyUsage(BOTH_ENDS), critical=False)
            .sign(authority, hashes.SHA256())
        )
        return _texts(key, certificate)

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._store[CA]["pem"].encode())


def make() -> dict[str, str]:
    """A new CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Two CAs that were made within a second have two names: whoever checks a certificate looks its CA up by name
    title = f"Matchpoint hosts {_now():%Y-%m-%d %H:%M:%S} {secrets.token_hex(4)}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    certificate = (
        _builder(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _texts(key, certificate)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    """What a host's key (`sign`) or the CA's key is for."""
    return x509.KeyUsage(
        digital_signature=sign, key_cert_sign=not sign, crl_sign=not sign, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _texts(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> dict[str, str]:
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return {"key": private.decode(), "pem": certificate.public_bytes(serialization.Encoding.PEM).decode()}
