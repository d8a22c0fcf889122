"""nginx with the role's own configuration, in front of this process: real TLS, real locations, other ports."""

import datetime
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import comment, regex_escape
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.app.ports import free_ports, listens
from tests.conftest import ROOT, poll
from tests.processes import Program, run, started

ROLE = Path(__file__).parents[3] / "roles/nginx"
NAME = "localhost"
ALIAS = "www.localhost"
TYPES = "text/html html; text/css css; application/javascript js; image/svg+xml svg;"
NGINX = shutil.which("nginx", path=f"{ROOT / '.tools/bin'}:/usr/sbin:/usr/bin:/sbin:/bin")


class _Console(BaseHTTPRequestHandler):
    """Answers everything, and says what arrived."""

    server: "Console"

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(self.path)
        data = json.dumps({
            "console": self.server.name,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body.decode(),
        }).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Set-Cookie", "__Host-sessionid=stolen; Path=/")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _any

    def log_message(self, *arguments: object) -> None:
        pass


class Console(ThreadingHTTPServer):
    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Console)
        self.name = name
        self.seen: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@dataclass(frozen=True)
class Answer:
    """What came back, read to its end."""

    status: int
    headers: HTTPMessage
    text: str


@dataclass
class Edge:
    port: int
    plain_port: int
    folder: Path
    consoles: dict[str, Console]
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context(cafile=str(self.folder / "tls/fullchain.pem"))

    @property
    def passed(self) -> list[str]:
        """Everything that any console was asked."""
        return [path for console in self.consoles.values() for path in console.seen]

    @property
    def noted(self) -> list[dict[str, Any]]:
        """What nginx wrote into its log so far, in order. It writes a request when it has finished with it: poll, the
        client has its answer before that.
        """
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        body: str | None = None,
        name: str = NAME,
        host: str = "",
        **headers: str,
    ) -> Answer:
        """The answer to one request to a name. The path is sent as it is, and so is another host."""
        connection = HTTPSConnection(name, self.port, timeout=15, context=self.context)
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=15)
            connection.sock = self.context.wrap_socket(plain, server_hostname=name)
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or name)  # the port is a test's, and no part of the name
            for key, value in headers.items():
                connection.putheader(key.replace("__", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body.encode() if body else None)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode(errors="replace"))
        finally:
            connection.close()


def _certificate(folder: Path) -> None:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName(ALIAS)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)


def _rendered(
    folder: Path, ports: list[int], web: list[str], live: dict[str, str], consoles: dict[str, list[str]]
) -> None:
    """The role's templates, moved to a folder and to ports that are free: HTTPS, HTTP, status."""
    said = run([str(NGINX), "-v"], timeout_s=10).stderr
    is_old = [int(number) for number in re.findall(r"\d+", said)[:3]] < [1, 25, 1]  # HTTP/2 is said in another way
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters |= {"comment": comment, "regex_escape": regex_escape}
    settings: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    internal = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    values = settings | {
        "ansible_managed": "test",
        "nginx_domain": NAME,
        "nginx_aliases": [ALIAS],
        "nginx_web": web,
        "nginx_live": live,
        "nginx_consoles": consoles,
        "nginx_certificate": str(folder / "tls"),
        "__nginx_status_port": ports[2],
        "__nginx_has_ipv6": False,
        "__nginx_has_consoles": True,
        "__nginx_config_id": "test",
        "__nginx_prometheus_policy": internal["__nginx_prometheus_policy"],
    }
    for source in [*ROLE.glob("templates/etc/nginx/*.j2"), *ROLE.glob("templates/usr/share/matchpoint/*.j2")]:
        text = environment.from_string(source.read_text()).render(values)
        for old, new in [
            ("/usr/share/matchpoint", str(folder)),
            ("/var/log/nginx", str(folder)),
            ("/var/lib/nginx", str(folder)),
            ("/run/nginx.pid", f"{folder}/nginx.pid"),
            ("include modules-enabled/*.conf;", "daemon off;"),
            ("include mime.types;", f"types {{ {TYPES} }}"),  # of a package that this machine may not have
            ("user www-data;", "user root;"),  # folders of tests are their owner's alone
            ("brotli_static on;", ""),
            ("http2 on;", "" if is_old else "http2 on;"),
        ]:
            text = text.replace(old, new)
        text = re.sub(r"listen 443 ssl", f"listen 127.0.0.1:{ports[0]} ssl{' http2' if is_old else ''}", text)
        text = re.sub(r"listen 80\b", f"listen 127.0.0.1:{ports[1]}", text)
        (folder / source.stem).write_text(text)
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "nginx.conf"
    main.write_text(main.read_text().replace("http {", f"http {{ {paths}", 1))


@contextmanager
def edge(
    folder: Path, web: list[str], *, live: dict[str, str] | None = None, dead: tuple[str, ...] = ()
) -> Iterator[Edge]:
    """nginx before `web`, with three consoles; of those named in `dead`, the first of two addresses does not answer."""
    assert NGINX, "there is no nginx: `docker/lab/bootstrap.sh rules` takes it out of its package"
    consoles = {name: Console(name) for name in ("grafana", "prometheus", "alertmanager")}
    addresses = {
        name: ["127.0.0.1:9", console.address] if name in dead else [console.address]
        for name, console in consoles.items()
    }
    folder.chmod(0o755)
    _certificate(folder / "tls")
    ports = free_ports(3)
    _rendered(folder, ports, web, live or {}, addresses)
    command = [NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            _await(ports[0], process, folder)
            yield Edge(ports[0], ports[1], folder, consoles)
        finally:
            for console in consoles.values():
                console.shutdown()
                console.server_close()


def _await(port: int, process: Program, folder: Path) -> None:
    log = folder / "error.log"

    def ready() -> bool:
        if process.poll() is None:
            return listens(port)
        said = log.read_text() if log.exists() else ""
        pytest.fail(f"nginx ended: {said}{process.stderr.read() if process.stderr else ''}")

    poll(ready, within_s=20, every_s=0.02, what=f"nginx to listen ({log})")
