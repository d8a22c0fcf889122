"""Who gets to the consoles of a deployed site: accounts are made for the tests, and removed after them."""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.conftest import poll
from tests.infra.conftest import Site, connect
from tests.staff import Account, code_to_make, code_to_remove

testinfra_hosts = ["ansible://edge"]
UNITS = ["nginx.service"]

PAGES = ["/ops/", "/ops/oncall/", "/ops/oncall/silence/?alertname=Any", "/ops/runbooks/", "/ops/runbooks/PostgresDown"]
CONSOLES = [
    "/ops/grafana/",
    "/ops/grafana/api/live/ws",
    "/ops/prometheus/graph",
    "/ops/prometheus/api/v1/query?query=up",
    "/ops/prometheus/-/reload",
    "/ops/alertmanager/",
    "/ops/alertmanager/api/v2/alerts",
    "/ops/alertmanager/api/v2/silences",
    "//ops//prometheus/api/v1/query?query=up",
    "/static/%2e%2e/ops/alertmanager/api/v2/silences",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
SOCKET = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip
FORGED = {"X_WEBAUTH_USER": "admin", "X_WEBAUTH_ROLE": "Admin", "X_Ops_User": "admin", "Authorization": "Basic YTph"}


class Visitor:
    """A browser without pages: it keeps cookies, and sends back the tokens of forms."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cookies: dict[str, str] = {}

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}

    def ask(self, method: str, path: str, *, body: str = "", **headers: str):
        """An answer; one that comes too late after many others is asked for again."""

        def once():
            answer = self.site.ask(method, path, body=body, **self.headers, **headers)
            return answer if answer.status != 429 else None

        answer = poll(once, within_s=60, what=f"an answer to {method} {path}")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = re.match(r"([^=]+)=([^;]*)", cookie).groups()
            self.cookies[name] = value.strip('"')
        return answer

    def send(self, path: str, **fields: str):
        """Fill in the form of a page."""
        page = self.ask("GET", path).text.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        return self.ask(
            "POST", path, body=urlencode({"csrfmiddlewaretoken": token, **fields}),
            Content_Type="application/x-www-form-urlencoded", Referer=f"https://{self.site.domain}{path}",
            Origin=f"https://{self.site.domain}",
        )  # fmt: skip

    def log_in(self, account: Account) -> None:
        self.send("/accounts/login/", login=account.name, password=account.password)
        if account.secret:
            self.send("/accounts/2fa/authenticate/", code=account.code)


@pytest.fixture(scope="module")
def accounts(edge: Site, public: Site, pytestconfig: pytest.Config) -> Iterator[dict[str, Account]]:
    """New ones for each edge: a code of a second factor is good for one login."""
    made = {"player": Account(), "half_way": Account(is_staff=True), "on_call": Account.on_call()}
    name = next(name for name, facts in public.hosts.items() if "app" in facts["group_names"])
    host = connect(pytestconfig.option.inventory, name)
    host.check_output("matchpoint-manage shell -c %s", code_to_make(*made.values()))
    yield made
    host.check_output("matchpoint-manage shell -c %s", code_to_remove(*made.values()))


@pytest.fixture(scope="module")
def visitors(edge: Site, accounts: dict[str, Account]) -> dict[str, Visitor]:
    """Each logged in as far as the account allows, through this edge."""
    found = {"stranger": Visitor(edge)}
    for who, account in accounts.items():
        found[who] = Visitor(edge)
        found[who].log_in(account)
    return found


@pytest.mark.parametrize("who", ["stranger", "player", "half_way"])
def test_nobody_else_gets_in_by_any_path_method_or_socket(visitors: dict[str, Visitor], who: str) -> None:
    visitor = visitors[who]
    paths = [*PAGES, *CONSOLES]
    answers = {(path, method): visitor.ask(method, path, **FORGED).status for path in paths for method in METHODS}
    answers |= {(path, "socket"): visitor.ask("GET", path, **SOCKET).status for path in CONSOLES}
    allowed = {403} if who == "player" else {302, 401, 403}
    assert {key: status for key, status in answers.items() if status not in allowed} == {}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/ops/", b"Runbooks"),
        ("/ops/oncall/", b"Silences"),
        ("/ops/runbooks/", b"PostgresDown"),
        ("/ops/runbooks/PostgresDown", b"pg_lsclusters"),
        ("/ops/prometheus/graph", b"Prometheus Time Series"),
        ("/ops/prometheus/alerts", b"PostgresDown"),
        ("/ops/prometheus/api/v1/query?query=up", b'"success"'),
        ("/ops/alertmanager/api/v2/status", b'"cluster"'),
    ],
)
def test_staff_with_a_second_factor_get_in(visitors: dict[str, Visitor], path: str, said: bytes) -> None:
    answer = visitors["on_call"].ask("GET", path)
    assert answer.status == 200
    assert said in answer.text


def test_grafana_opens_or_its_absence_is_said(
    visitors: dict[str, Visitor], public: Site, pytestconfig: pytest.Config
) -> None:
    answer = visitors["on_call"].ask("GET", "/ops/grafana/api/user" if public.edge["site_grafana"] else "/ops/grafana/")
    if public.edge["site_grafana"] and answer.status in {502, 503}:
        monitors = [name for name, facts in public.hosts.items() if "monitor" in facts["group_names"]]
        hosts = [connect(pytestconfig.option.inventory, name) for name in monitors]
        if not any(host.file("/usr/share/grafana").exists for host in hosts):
            pytest.skip("no Grafana on this site, because its repository cannot be reached: not tested")
    if public.edge["site_grafana"]:
        assert json.loads(answer.text)["login"].endswith("@staff")
    else:
        assert answer.status == 404
        assert b"There is no Grafana here" in answer.text


@pytest.mark.parametrize("path", ["/ops/prometheus/api/v1/query", "/ops/alertmanager/api/v2/silences"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_staff_do_not_write_to_consoles_either(
    visitors: dict[str, Visitor], edge: Site, method: str, path: str
) -> None:
    assert visitors["on_call"].ask(method, path, Origin=f"https://{edge.domain}").status == 403


def test_no_console_listens_where_strangers_are(public: Site) -> None:
    for name, facts in public.hosts.items():
        for port in (3000, 9090, 9093):
            assert port not in facts["host_published"].get("public", []), f"{name}: {port}"


def test_logging_out_closes_all_of_them(edge: Site, visitors: dict[str, Visitor]) -> None:
    """The last test of staff on this edge: their session ends here."""
    visitor = visitors["on_call"]
    stolen = Visitor(edge)
    stolen.cookies = dict(visitor.cookies)
    open_now = ["/ops/oncall/", "/ops/runbooks/", "/ops/prometheus/graph", "/ops/alertmanager/api/v2/alerts"]
    assert {stolen.ask("GET", path).status for path in open_now} == {200}
    visitor.send("/accounts/logout/")
    assert {path: stolen.ask("GET", path).status for path in open_now} == dict(
        zip(open_now, [302, 302, 401, 401], strict=True)
    )
