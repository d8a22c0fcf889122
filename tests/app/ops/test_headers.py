"""What nginx says by itself, writes down and compresses: in front of a worker that answers anything."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.conftest import poll

from .edge import ALIAS, Edge, edge

KEY = "k1-c0ffee-0123456789abcdef"
LINKS = [f"/accounts/password/reset/key/{KEY}/", f"/accounts/confirm-email/{KEY}/"]


class _Worker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = {"port": self.client_address[1], "rtt": self.headers.get("X-TCP-RTT"), "to": self.server.server_port}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        status = int(self.headers.get("X-Answer", "200"))
        body = b"x" * 5_000
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if self.path.startswith("/api/") else "text/html")
        if status == 200:
            self.send_header("Content-Security-Policy", "default-src 'self'")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Cache-Control", "private")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    worker = ThreadingHTTPServer(("127.0.0.1", 0), _Worker)
    Thread(target=worker.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = f"127.0.0.1:{worker.server_port}"
    live = {"dead": "127.0.0.1:9", "app1-8101": address}
    with edge(tmp_path_factory.mktemp("edge"), [address], live=live) as site:
        yield site
    worker.shutdown()
    worker.server_close()


@pytest.mark.parametrize(
    ("path", "status", "headers"),
    [
        ("/static/nothing.css", 404, {}),
        ("/metrics", 404, {}),
        ("/ws/unknown/match/x", 404, {}),
        ("/ws/dead/match/x", 502, {}),
        ("/" + "x" * 9_000, 414, {}),
        ("/", 431, {"Cookie": "a=" + "x" * 17_000}),
        ("/", 503, {"X-Answer": "503"}),  # a worker's own, without a word of the app
        ("/", 400, {"X-Answer": "400"}),
        ("/ops/grafana/", 403, {"Upgrade": "websocket", "Connection": "Upgrade"}),
        ("/", 200, {}),
    ],
)
def test_every_answer_has_each_header_once(front: Edge, path: str, status: int, headers: dict[str, str]) -> None:
    answer = front.ask(path, **{name.replace("-", "__"): value for name, value in headers.items()})
    assert answer.status == status
    for name in (
        "Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Strict-Transport-Security",
        "Referrer-Policy", "Cache-Control",
    ):  # fmt: skip
        assert len(answer.headers.get_all(name) or []) == 1, f"{name} of {answer.status}: {answer.headers.items()}"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"] or answer.status == 200
    assert answer.status not in (502, 503) or answer.headers["Retry-After"] == "5"


def test_who_is_slowed_down_is_told_until_when(front: Edge) -> None:
    answers = [front.ask("/accounts/login/") for _ in range(30)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert refused[0].headers["Retry-After"] == "2"
    assert "default-src 'none'" in refused[0].headers["Content-Security-Policy"]


def test_aliases_and_errors_are_framed_by_nobody(front: Edge) -> None:
    assert front.ask("/", name=ALIAS).headers.get_all("X-Frame-Options") == ["DENY"]


@pytest.mark.parametrize("link", LINKS)
def test_links_that_open_an_account_are_written_down_nowhere(front: Edge, link: str) -> None:
    front.ask(link)
    front.ask("/", Referer=f"https://localhost{link}")
    front.ask("/", Referer=f"https://localhost/accounts/login/?next={link.replace('/', '%2F')}")
    for _ in range(30):
        front.ask(link, X__Answer="500")
        front.ask(f"/accounts/login/?next={link}")
    logs = "".join((front.folder / name).read_text() for name in ("access.log", "error.log"))
    assert KEY not in logs
    paths = [line["path"] for line in front.noted]
    assert link.replace(f"{KEY}/", "-") in paths


def test_no_page_is_told_the_address_of_one_of_accounts(front: Edge) -> None:
    policies = {path: front.ask(path).headers["Referrer-Policy"] for path in (*LINKS, "/accounts/login/?next=/x", "/")}
    assert policies == dict.fromkeys((*LINKS, "/accounts/login/?next=/x"), "strict-origin") | {"/": "same-origin"}


def test_pages_are_never_compressed_and_answers_of_the_api_are(front: Edge) -> None:
    encodings = {
        path: front.ask(path, Accept__Encoding="gzip").headers["Content-Encoding"] for path in ("/", "/me/", "/api/x")
    }
    assert encodings == {"/": None, "/me/": None, "/api/x": "gzip"}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:"),
        ("2001:db8:1:2::6", "2001:db8:1:2:"),
        ("2001:db8:1::6", "2001:db8:1::"),
        ("2001:db8::6", "2001:db8::"),
        ("::1", ":"),
    ],
)
def test_an_ipv6_customer_is_one_visitor(front: Edge, address: str, network: str) -> None:
    """The patterns of nginx's map, in its order: tests have one address only."""
    text = (front.folder / "nginx.conf").read_text()
    (body,) = re.findall(r"map \$remote_addr \$matchpoint_network \{(.*?)\n    \}", text, re.DOTALL)
    patterns = [found.replace("?<", "?P<") for found in re.findall(r'"~(.*?)"', body)]
    assert len(patterns) == 2
    found = next((match for pattern in patterns if (match := re.match(pattern, address))), None)
    assert (found["matchpoint_prefix"] if found else address) == network


def test_requests_that_carry_sockets_reach_their_worker_by_connections_that_are_kept(front: Edge) -> None:
    told = [json.loads(front.ask("/ws/app1-8101/match/x/poll", "POST", body="{}").text) for _ in range(8)]
    assert len({one["port"] for one in told}) < len(told)  # each of nginx's processes keeps its own
    assert all(one["rtt"].isdigit() for one in told)
    assert front.ask("/ws/app1-8101/match/x/poll", "POST", body="x" * 16_500).status == 413
    assert front.ask("/ws/unknown/match/x/poll", "POST", body="{}").status == 404
    assert front.ask("/ws/dead/match/x/poll", "POST", body="{}").status == 502

    def carried() -> list[int]:
        return sorted(line["status"] for line in front.noted if line["location"] == "other")

    poll(lambda: carried()[-3:] == [404, 413, 502], within_s=10, every_s=0.01, what="nginx's lines about the refusals")
    assert 200 not in carried()  # those that went well are not written


def test_requests_of_one_lobby_reach_one_worker_also_while_another_is_gone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The name in the address decides: what a page has said before is with one process."""
    workers = [ThreadingHTTPServer(("127.0.0.1", 0), _Worker) for _ in range(2)]
    for worker in workers:
        Thread(target=worker.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    ports = [worker.server_port for worker in workers]
    with edge(tmp_path_factory.mktemp("lobby"), [f"127.0.0.1:{port}" for port in (*ports, 9)]) as front:
        found = {
            name: [front.ask(f"/ws/lobby/{name}/poll", "POST", body="{}") for _ in range(4)] for name in "abcdefgh"
        }
        reached = {name: {json.loads(answer.text)["to"] for answer in answers} for name, answers in found.items()}
        assert [len(each) for each in reached.values()] == [1] * len(reached)
        assert set.union(*reached.values()) == set(ports)
        assert front.ask("/ws/lobby/a/b/poll", "POST", body="{}").status == 404
    for worker in workers:
        worker.shutdown()
        worker.server_close()
