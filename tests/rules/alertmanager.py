"""The hosts' Alertmanager on the machine of the tests, and servers that record what it sends."""

import html
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import yaml
from aiosmtpd.controller import Controller

from tests.conftest import poll
from tests.processes import end, start
from tests.rules.model import ROOT, TEMPLATES, role_template, role_value

DEADLINE_S = 30.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer within the deadline."""
    return poll(condition, within_s=DEADLINE_S, every_s=0.05, what=what)


@dataclass(frozen=True)
class Alertmanager:
    """A running one."""

    url: str
    session: requests.Session

    def send(self, *alerts: dict[str, Any]) -> None:
        self.session.post(f"{self.url}/api/v2/alerts", json=alerts, timeout=10).raise_for_status()

    def get(self, path: str, **params: str) -> Any:
        answer = self.session.get(f"{self.url}/api/v2/{path}", params=params, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.session.post(f"{self.url}/api/v2/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running(config: dict[str, Any], folder: Path) -> Iterator[Alertmanager]:
    """An Alertmanager with this configuration on a free port; shows the end of its log when it does not come up."""
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        ROOT / ".tools/bin/alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--web.route-prefix=/",
        "--web.external-url=https://pong.example.com/ops/alertmanager/", "--enable-feature=receiver-name-in-metrics",
    ]  # fmt: skip
    with requests.Session() as session, (folder / "log").open("w") as log:
        session.trust_env = False
        process = start(command, cwd=ROOT / ".tools", stdout=log, stderr=log)  # its own templates are below

        def ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            try:
                return session.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).ok
            except requests.ConnectionError:
                return False

        try:
            wait_for(ready, "Alertmanager")
            yield Alertmanager(f"http://127.0.0.1:{port}", session)
        finally:
            end(process, grace_s=30)


def deployed(folder: Path, **settings: Any) -> dict[str, Any]:
    """The role's configuration with these settings; templates and secrets are in a folder, and nobody has to wait."""
    secrets = folder / "secrets"
    secrets.mkdir()
    settings |= {"__alertmanager_secrets_dir": str(secrets), "alertmanager_site": "pong.example.com"}
    for name, value in role_value("alertmanager", "__alertmanager_secrets", **settings).items():
        (secrets / name).write_text(value)
    site = "etc/prometheus/alertmanager_templates/site.tmpl"
    (folder / "site.tmpl").write_text(role_template("alertmanager", site, **settings))
    config = yaml.safe_load(role_template("alertmanager", "etc/prometheus/alertmanager.yml", **settings))
    config["templates"] = [str(folder / "site.tmpl"), *map(str, TEMPLATES)]
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    return config


@dataclass
class Received:
    """What came: (path, headers, JSON) of HTTP, and mails."""

    http: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    mails: list[Any] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    port: int = 0
    mail_port: int = 0

    def at(self, start: str) -> list[Any]:
        return [body for path, _, body in self.http if path.startswith(start)]


@contextmanager
def recording() -> Iterator[Received]:
    """A server that answers as Slack, PagerDuty, Telegram, ntfy and a webhook do, and a mail server."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = answer_to(self.path, body)
            if status >= 400:
                received.refused.append(f"{self.path}: {answer} {body}")
            else:
                received.http.append((self.path, dict(self.headers), body))
            raw = answer.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if answer.startswith("{") else "text/plain")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: Any) -> None:
            pass

    class Relay:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # aiosmtpd's name
            received.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 recorded"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        received.mail_port = probe.getsockname()[1]
    relay = Controller(Relay(), hostname="127.0.0.1", port=received.mail_port)
    relay.start()
    received.port = server.server_address[1]
    try:
        yield received
    finally:
        relay.stop()
        server.shutdown()
        server.server_close()


def answer_to(path: str, body: dict[str, Any]) -> tuple[int, str]:
    if path.startswith("/slack"):
        return 200, "ok"
    if path.startswith("/pagerduty"):
        known = body.get("event_action") in ("trigger", "resolve") and len(body.get("routing_key", "")) == 32
        return (202, '{"status":"success"}') if known else (400, '{"status":"invalid event"}')
    if path.startswith("/bot"):
        if fault := telegram_fault(body["text"]):
            return 400, json.dumps({"ok": False, "error_code": 400, "description": fault})
        return 200, '{"ok":true,"result":{"message_id":1,"date":0,"chat":{"id":-100,"type":"group"}}}'
    return 200, "{}"


class _Telegram(HTMLParser):
    """Telegram's rules: few tags, each closed, and every other < and & escaped."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.fault = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("b", "i", "a", "code", "pre"):
            self.fault = f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"'
        self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.fault = f"Bad Request: can't parse entities: Unexpected end tag {tag}"

    def handle_data(self, data: str) -> None:
        if "<" in data or re.search("&", data):
            self.fault = "Bad Request: can't parse entities"
        self.text += data

    def handle_entityref(self, name: str) -> None:
        if name not in ("lt", "gt", "amp", "quot"):
            self.fault = f"Bad Request: can't parse entities: {name}"
        self.text += html.unescape(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.text += html.unescape(f"&#{name};")


def telegram(text: str) -> _Telegram:
    parser = _Telegram()
    parser.feed(text)
    parser.close()
    return parser


def telegram_fault(text: str) -> str:
    parsed = telegram(text)
    if parsed.open:
        return "Bad Request: can't parse entities: Can't find end tag"
    return parsed.fault or ("Bad Request: message is too long" if len(parsed.text) > 4096 else "")


def ntfy(path: str, body: dict[str, Any]) -> dict[str, str]:
    """What ntfy shows: its templates {{range .list}}{{.key}}{{end}} over what came, as its documentation has them."""
    query = {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}
    assert query.pop("tpl") == "1"

    def render(template: str) -> str:
        found = re.fullmatch(r"\{\{range \.(\w+)\}\}\{\{\.(\w+)\}\}\{\{end\}\}", template)
        assert found, template
        return "".join(one[found[2]] for one in body[found[1]])

    return query | {"title": render(query["title"]), "message": render(query["message"])}
