"""What an edge takes from the issuer of the certificate, what it refuses, and what it does when it is not served."""

import importlib.util
import io
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.processes import run

PROGRAM = Path(__file__).parents[2] / "roles/certbot/files/usr/local/sbin/matchpoint_certificates.py"
LOOK = Path(__file__).parents[2] / "roles/certbot/library/certbot_state.py"
DOMAIN = "pong.example.com"
NOW = datetime.now(UTC).replace(microsecond=0)
Key = ec.EllipticCurvePrivateKey


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matchpoint_certificates", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass
class Authority:
    """An authority that signs by an intermediate, as public ones do."""

    def __post_init__(self) -> None:
        self.root_key, self.key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.intermediate = self._sign("intermediate", self.key, "root", self.root_key, ca=True)

    def _sign(self, subject: str, key: Key, issuer: str, by: Key, *, ca: bool, **when: datetime) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(when.get("since", NOW - timedelta(hours=1)))
            .not_valid_after(when.get("until", NOW + timedelta(days=90)))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
            .sign(by, hashes.SHA256())
        )

    def issue(self, domain: str = DOMAIN, key: Key | None = None, **when: datetime) -> bytes:
        """Chain and key, as the issuer sends them."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = self._sign(domain, key, "intermediate", self.key, ca=False, **when)
        chain = [leaf, self.intermediate]
        return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain) + pem(key)


class Server:
    """Serves the certificate that it read at its last reload, as nginx does."""

    def __init__(self, current: Path) -> None:
        self.current = current
        self.is_deaf = False  # says yes to a reload, and does nothing
        self.reloads = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.context = self._read()
        threading.Thread(target=self._serve, daemon=True).start()

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.current / "fullchain.pem", self.current / "privkey.pem")
        return context

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            try:
                self.context.wrap_socket(plain, server_side=True).close()
            except OSError:
                plain.close()

    def reload(self) -> None:
        self.reloads += 1
        if not self.is_deaf:
            self.context = self._read()


@dataclass
class Edge:
    """An edge with a server, and the program as it runs there."""

    program: ModuleType
    settings: object
    server: Server
    current: Path

    def receive(self, text: bytes) -> str:
        return self.program.receive(self.settings, io.BytesIO(text))

    def serial(self) -> int:
        return self.program.served("127.0.0.1", self.server.port, DOMAIN)


def serial(text: bytes) -> int:
    return x509.load_pem_x509_certificate(text).serial_number


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def edge(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edge]:
    program = load()
    placeholder = tmp_path / "tls/placeholder"
    placeholder.mkdir(parents=True)
    chain, key = authority.issue("placeholder").split(b"-----BEGIN PRIVATE KEY-----")
    (placeholder / "fullchain.pem").write_bytes(chain)
    (placeholder / "privkey.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----" + key)
    current = tmp_path / "tls/current"
    current.symlink_to(placeholder)
    server = Server(current)
    file = tmp_path / "settings.json"
    file.write_text(
        json.dumps(
            {
                "domain": DOMAIN, "lineage": "matchpoint-0123abcd", "current": str(current), "port": server.port,
                "unit": "nginx.service", "test_command": ["nginx", "-t"], "lock": str(tmp_path / "lock"),
                "issued": str(tmp_path / "issued"), "key": str(tmp_path / "key"),
                "known_hosts": str(tmp_path / "known_hosts.d"), "user": "nobody", "copies": {},
            }
        )
    )  # fmt: skip
    monkeypatch.setattr(program, "run", lambda *command: server.reload() if "reload" in command else None)
    monkeypatch.setattr(program, "SERVED_SECONDS", 0.2)
    yield Edge(program, program.Settings.read(file), server, current)
    server.socket.close()


def test_a_sound_certificate_is_served_at_once(edge: Edge, authority: Authority) -> None:
    text = authority.issue()
    assert edge.receive(text) == f"serves {serial(text):x}"
    assert edge.serial() == serial(text)
    folder = edge.current.resolve()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "fullchain.pem": 0o600, "privkey.pem": 0o600,
    }  # fmt: skip
    assert (folder / "fullchain.pem").read_bytes() + (folder / "privkey.pem").read_bytes() == text


def test_the_same_certificate_may_come_twice_and_a_renewed_one_follows(edge: Edge, authority: Authority) -> None:
    texts = [authority.issue(since=NOW - timedelta(hours=hours)) for hours in (5, 3, 1)]
    for text in (texts[0], *texts):
        edge.receive(text)
        assert edge.serial() == serial(text)
    kept = [path.name for path in edge.current.parent.iterdir()]
    assert len(kept) == 4, kept  # the placeholder, the link, this one and the one before


def test_a_certificate_without_an_alias_of_the_site_is_refused(edge: Edge, authority: Authority) -> None:
    edge.settings.aliases.append(f"www.{DOMAIN}")
    with pytest.raises(edge.program.RefusedError, match=f"not for www.{DOMAIN}"):
        edge.receive(authority.issue())


WRONG: dict[str, tuple[Callable[[Authority], bytes], str]] = {
    "nothing": (lambda authority: b"", "what came is not PEM"),
    "no PEM": (lambda authority: b"hello", "what came is not PEM"),
    "something more": (lambda authority: authority.issue() + b"rm -rf /\n", "what came is not PEM"),
    "too much": (lambda authority: authority.issue() + b"\n" * 70_000, "more than 65536 bytes came"),
    "no key": (lambda authority: authority.issue().split(b"-----BEGIN PRIVATE")[0], "one key must come"),
    "two keys": (lambda authority: authority.issue() + pem(authority.key), "one key must come"),
    "no certificate": (lambda authority: pem(authority.key), "a chain of certificates and one key must come"),
    "a certificate cut short": (
        lambda authority: authority.issue()[:40] + authority.issue()[52:], "the certificate cannot be read",
    ),
    "another one's key": (
        lambda authority: authority.issue().split(b"-----BEGIN PRIVATE")[0] + pem(authority.key),
        "the key is not that of the certificate",
    ),
    "another name": (
        lambda authority: authority.issue("elsewhere.example.com"),
        "the certificate is for elsewhere.example.com, not for pong.example.com",
    ),
    "expired": (lambda authority: authority.issue(until=NOW - timedelta(minutes=1)), "the certificate expired on"),
    "not good yet": (
        lambda authority: authority.issue(since=NOW + timedelta(days=1)), "the certificate is good from",
    ),
    "an intermediate of somebody else": (
        lambda authority: authority.issue().replace(
            authority.intermediate.public_bytes(serialization.Encoding.PEM),
            Authority().intermediate.public_bytes(serialization.Encoding.PEM),
        ),
        "the chain is not in order",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_certificate_is_told_and_nothing_changes(
    edge: Edge, authority: Authority, make: Callable[[Authority], bytes], told: str
) -> None:
    good = authority.issue()
    edge.receive(good)
    before = edge.current.readlink(), edge.server.reloads, sorted(edge.current.parent.iterdir())
    with pytest.raises(edge.program.RefusedError, match=told):
        edge.receive(make(authority))
    assert (edge.current.readlink(), edge.server.reloads, sorted(edge.current.parent.iterdir())) == before
    assert edge.serial() == serial(good)


def test_no_older_certificate_takes_the_place_of_a_newer_one(edge: Edge, authority: Authority) -> None:
    newer, older = authority.issue(), authority.issue(since=NOW - timedelta(days=1))
    edge.receive(newer)
    with pytest.raises(edge.program.RefusedError, match="the certificate was issued before the one in use"):
        edge.receive(older)
    assert edge.serial() == serial(newer)


def test_another_authority_may_come_with_an_older_certificate(edge: Edge, authority: Authority) -> None:
    edge.receive(authority.issue())
    edge.current.resolve().rename(edge.current.parent / "matchpoint-89abcdef-1")
    edge.program.point(edge.current, edge.current.parent / "matchpoint-89abcdef-1")
    older = authority.issue(since=NOW - timedelta(days=1))
    edge.receive(older)
    assert edge.serial() == serial(older)


def test_a_certificate_that_is_not_served_in_the_end_gives_way_to_the_one_before(
    edge: Edge, authority: Authority
) -> None:
    good = authority.issue()
    edge.receive(good)
    before = edge.current.readlink()
    edge.server.is_deaf = True
    with pytest.raises(edge.program.RefusedError, match=f"was reloaded and serves {serial(good):x} instead of"):
        edge.receive(authority.issue())
    assert edge.current.readlink() == before
    assert edge.serial() == serial(good)


def test_a_server_that_would_not_start_is_not_reloaded(
    edge: Edge, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*command: str) -> None:
        if command == ("nginx", "-t"):
            raise edge.program.RefusedError("`nginx -t` failed")
        edge.server.reload()

    monkeypatch.setattr(edge.program, "run", run)
    before = edge.current.readlink()
    with pytest.raises(edge.program.RefusedError, match="`nginx -t` failed"):
        edge.receive(authority.issue())
    assert edge.current.readlink() == before


def test_one_copy_that_fails_keeps_no_other_from_its_certificate(
    edge: Edge, authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = authority.issue()
    issued = edge.settings.issued
    issued.mkdir()
    chain, key = text.split(b"-----BEGIN PRIVATE KEY-----")
    (issued / "fullchain.pem").write_bytes(chain)
    (issued / "privkey.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----" + key)
    edge.settings.copies.update(
        {"down": {"address": "127.0.0.2", "port": 22}, "edge2": {"address": "127.0.0.1", "port": 22}}
    )
    sent = []
    monkeypatch.setattr(edge.program, "send", lambda settings, name, bundle: sent.append((name, bundle.serial)))
    monkeypatch.setattr(edge.program, "reload", lambda settings, serial: None)
    assert edge.program.push(edge.settings, ["down", "edge2"]) is False
    assert sent == [("edge2", serial(text))]
    said = capsys.readouterr()
    assert f"edge2 took the certificate {serial(text):x}" in said.out
    assert f"down did not take the certificate {serial(text):x}: " in said.err


def test_a_deploy_sees_what_is_on_the_disk_and_what_is_served(edge: Edge, authority: Authority, tmp_path: Path) -> None:
    live, renewals, kept = tmp_path / "live/matchpoint-1", tmp_path / "renewal", tmp_path / "share"
    renewals.mkdir()

    def look() -> dict:
        asked = {"current": str(edge.current), "live": str(live), "renewals": str(renewals), "kept": [str(kept)]}
        asked |= {"port": edge.server.port, "server_name": DOMAIN}
        return json.loads(run([sys.executable, LOOK], stdin=json.dumps({"ANSIBLE_MODULE_ARGS": asked})).stdout)

    begin = look()
    assert begin["has_current"]
    assert not begin["has_live"]
    assert not begin["is_current"]
    assert begin["on_disk"] == begin["served"] != ""  # the placeholder, whoever signed it

    chain, key = authority.issue().split(b"-----BEGIN PRIVATE KEY-----")
    live.mkdir(parents=True)
    (live / "fullchain.pem").write_bytes(chain)
    (live / "privkey.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----" + key)
    (renewals / "matchpoint-1.conf").touch()  # cut off by a full disk
    assert not look()["has_live"]

    (renewals / "matchpoint-1.conf").write_text("version = 4")
    (renewals / "matchpoint-0.conf").touch()
    (renewals / "foreign.conf").touch()
    kept.touch()
    edge.current.unlink()
    edge.current.symlink_to(live)
    issued = look()
    assert issued["has_live"]
    assert issued["is_current"]
    assert (issued["others"], issued["kept"]) == ([str(renewals / "matchpoint-0.conf")], [str(kept)])
    assert issued["served"] == begin["served"] != issued["on_disk"]
    edge.server.reload()
    assert look()["served"] == issued["on_disk"]
    edge.server.port = 1  # where nobody listens
    assert look()["served"] == ""
    (live / "fullchain.pem").unlink()
    assert not look()["has_current"]
