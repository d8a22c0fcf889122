"""Certificates of the site's hosts for each other, from a CA that lives on the control machine."""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import secrets
import shutil
from pathlib import Path

from ansible.plugins.lookup import LookupBase
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOCUMENTATION = """
name: host_certificate
short_description: a host's certificate and key, and the CA to trust
description:
  - Returns a dict with C(certificate), C(key) and C(ca), all PEM. What is missing is made and stored in O(directory).
  - A certificate is made anew when two thirds of its life are over, when its CA or the host's addresses change, or
    when it is older than O(issued_after).
  - C(ca) is every CA to trust: more than one while the CA is changed, in three runs over all hosts, see O(stage).
  - In check mode nothing is stored, and the values are stand-ins.
options:
  _terms:
    description: names of hosts
    required: true
  directory:
    description: the CA's folder on the control machine
    required: true
    type: path
  addresses:
    description: addresses of the host that go into the certificate
    default: []
    type: list
    elements: str
  issued_after:
    description: make certificates anew that are older than this time (s since 1970)
    default: 0
    type: int
  stage:
    description:
      - C(begin) makes the next CA, which everybody then trusts; C(switch) makes it the one that issues; C(end) trusts
        the old one no more. Each is harmless when it is done already.
    choices: ["", begin, switch, end]
    default: ""
    type: str
"""

CA_DAYS = 3650
HOST_DAYS = 396
BOTH_ENDS = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
NEXT = "next"  # beside `ca`, while the CA is changed
OLD = "old"


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        directory = Path(self.get_option("directory"))
        is_check = bool(variables.get("ansible_check_mode"))
        if is_check and not (directory / "ca.pem").exists():
            return [{"certificate": "", "key": "", "ca": ""} for _ in terms]
        addresses = self.get_option("addresses")
        after = datetime.datetime.fromtimestamp(self.get_option("issued_after"), datetime.UTC)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as lock:  # hosts are worked on in parallel
            fcntl.flock(lock, fcntl.LOCK_EX)
            authority = Authority(directory)
            if not is_check:
                authority.change(self.get_option("stage"))
            return [authority.host(str(name), addresses, after, store=not is_check) for name in terms]


class Authority:
    """The CA in a folder: `ca.key`, `ca.pem`, and `hosts/<name>.{key,pem}`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        if not (directory / "ca.pem").exists():
            self.make("ca")

    def change(self, stage: str) -> None:
        """One step on the way to another CA."""
        ca, following, old = (self._directory / f"{name}.pem" for name in ("ca", NEXT, OLD))
        if stage == "begin" and not following.exists() and not old.exists():
            self.make(NEXT)
        elif stage == "switch" and following.exists():
            shutil.copy2(ca, old)
            following.with_suffix(".key").replace(ca.with_suffix(".key"))
            following.replace(ca)
        elif stage == "end":
            old.unlink(missing_ok=True)

    def make(self, name: str) -> None:
        """A new CA under the name `ca` or `next`."""
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
        _write(self._directory / f"{name}.key", _key_pem(key))
        _write(self._directory / f"{name}.pem", _pem(certificate))

    def host(self, name: str, addresses: list[str], after: datetime.datetime, *, store: bool) -> dict[str, str]:
        """What the host gets. Without `store` that is what there is, even if it is time for another."""
        key, certificate = (self._directory / "hosts" / f"{name}.{kind}" for kind in ("key", "pem"))
        names: list[x509.GeneralName] = [x509.DNSName(name), *(_general_name(address) for address in addresses)]
        is_good = certificate.exists() and key.exists() and self._is_good(certificate.read_bytes(), names, after)
        if store and not is_good:
            self._issue(name, names, key, certificate)
        bundle = [path for kind in ("ca", NEXT, OLD) if (path := self._directory / f"{kind}.pem").exists()]
        return {
            "certificate": certificate.read_text() if certificate.exists() else "",
            "key": key.read_text() if key.exists() else "",
            "ca": "".join(path.read_text() for path in bundle),
        }

    def _is_good(self, pem: bytes, names: list[x509.GeneralName], after: datetime.datetime) -> bool:
        certificate = x509.load_pem_x509_certificate(pem)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        stored = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            _now() < begin + (end - begin) * 2 / 3
            and begin >= after
            and certificate.issuer == self._certificate().subject
            and list(stored) == names
        )

    def _issue(self, name: str, names: list[x509.GeneralName], key_path: Path, certificate_path: Path) -> None:
        authority = serialization.load_pem_private_key((self._directory / "ca.key").read_bytes(), None)
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate().public_key())
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
        key_path.parent.mkdir(mode=0o700, exist_ok=True)
        _write(key_path, _key_pem(key))
        _write(certificate_path, _pem(certificate))

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self._directory / "ca.pem").read_bytes())


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int):
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


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
