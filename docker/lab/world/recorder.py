"""Receives what a Matchpoint site sends out, and remembers it.

* SMTP on port 25: every mail to anybody is accepted.
* ``POST /pager`` and ``POST /deadman`` on port 8080: JSON bodies are accepted.
* ``GET /events?kind=mail|pager|deadman&since=<unix time>`` answers the list, oldest first, each as
  ``{"kind", "at" (unix seconds), ...}``. Kept in memory, and in ``/var/lib/world/events.jsonl`` across restarts.
"""

import email
import email.policy
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller

STORE = Path("/var/lib/world/events.jsonl")
LIMIT = 20_000

_lock = threading.Lock()
_events: list[dict] = []


def remember(kind: str, **fields: object) -> None:
    event = {"kind": kind, "at": time.time(), **fields}
    with _lock:
        _events.append(event)
        del _events[:-LIMIT]
        with STORE.open("a") as store:
            store.write(json.dumps(event) + "\n")


class Relay:
    async def handle_DATA(self, server, session, envelope):  # aiosmtpd's name
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        body = mail.get_body(preferencelist=("plain", "html"))
        remember(
            "mail",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            subject=str(mail["subject"] or ""),
            body=body.get_content() if body else "",
        )
        return "250 recorded"


class Pager(BaseHTTPRequestHandler):
    def do_POST(self):
        kind = urlsplit(self.path).path.strip("/")
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if kind not in ("pager", "deadman"):
            return self.answer(404, {"error": f"no receiver {self.path}; there are /pager and /deadman"})
        try:
            body = json.loads(raw or b"null")
        except ValueError:
            body = raw.decode(errors="replace")
        remember(kind, body=body)
        return self.answer(200, {"recorded": True})

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/events":
            return self.answer(404, {"error": "there is only GET /events"})
        query = parse_qs(url.query)
        kinds, since = query.get("kind"), float(query.get("since", ["0"])[0])
        with _lock:
            found = [event for event in _events if event["at"] >= since and (not kinds or event["kind"] in kinds)]
        return self.answer(200, found)

    def answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):  # the journal needs no line a heartbeat
        pass


def main() -> None:
    if STORE.exists():
        _events.extend(json.loads(line) for line in STORE.read_text().splitlines()[-LIMIT:])
    Controller(Relay(), hostname="0.0.0.0", port=25).start()
    ThreadingHTTPServer(("0.0.0.0", 8080), Pager).serve_forever()


if __name__ == "__main__":
    main()
