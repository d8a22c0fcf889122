"""The way to the consoles through nginx: who gets in, what gets through, and what happens when nobody can say."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings as django_settings
from django.test import Client

from accounts.models import User
from tests.every import every

from .conftest import SECRET, log_in, prove_second_factor
from .edge import Edge, edge

CONSOLES = {
    "/ops/grafana/d/matchpoint-overview": "/ops/grafana/d/matchpoint-overview",
    "/ops/prometheus/graph?g0.expr=up": "/classic/graph?g0.expr=up",
    "/ops/alertmanager/api/v2/alerts": "/api/v2/alerts",
}
MORE = [
    "/ops/grafana/",
    "/ops/grafana/api/live/ws",
    "/ops/grafana/public/build/app.js",
    "/ops/grafana/api/health",
    "/ops/grafana/metrics",
    "/ops/prometheus/",
    "/ops/prometheus/api/v1/query?query=up",
    "/ops/prometheus/-/reload",
    "/ops/prometheus/debug/pprof/heap",
    "/ops/prometheus/metrics",
    "/ops/alertmanager/api/v2/silences",
    # Other ways to write them
    "//ops//prometheus//api/v1/query?query=up",
    "/ops/%70rometheus/api/v1/query?query=up",
    "/static/../ops/prometheus/api/v1/query",
    "/static/%2e%2e/ops/grafana/api/search",
    "/ops/runbooks/..%2fprometheus/graph",
    "/accounts/login/../../ops/alertmanager/api/v2/silences",
    "/ops/./grafana/./api/search",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
FORGED = {
    "X-WEBAUTH-USER": "admin",
    "x-webauth-user": "admin",
    "X_WEBAUTH_USER": "admin",
    "X-WEBAUTH-ROLE": "Admin",
    "X-WEBAUTH-EMAIL": "root@example.com",
    "X-WEBAUTH-GROUPS": "admins",
    "X-WEBAUTH-NAME": "Root",
    "X-Ops-User": "admin",
    "X-Ops-Role": "Admin",
    "Authorization": "Basic YWRtaW46YWRtaW4=",
    "X-JWT-Assertion": "eyJhbGciOiJub25lIn0.e30.",
    "X-Grafana-Org-Id": "1",
    "X-Forwarded-Host": "evil.example.com",
    "X-Original-URI": "/ops/runbooks/",
}
SOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(live_server: Any, tmp_path: Path) -> Iterator[Edge]:
    with edge(tmp_path, [live_server.url.removeprefix("http://")]) as running:
        yield running


@pytest.fixture
def enter(make_user: Callable[..., User]) -> Callable[[str], dict[str, str]]:
    """The headers of a browser that has logged in as somebody, once."""

    @cache
    def headers(who: str) -> dict[str, str]:
        if who == "stranger":
            return {"Cookie": "theme=dark"}
        client = Client()
        user = make_user(who, is_staff=who != "player", is_superuser=who == "chief")
        if who in ("chief", "viewer"):
            TOTP.activate(user, SECRET)
        log_in(client, who)
        if who in ("chief", "viewer"):
            prove_second_factor(client)
        session = client.cookies[django_settings.SESSION_COOKIE_NAME].value
        return {"Cookie": f"theme=dark; {django_settings.SESSION_COOKIE_NAME}={session}"}

    return headers


@pytest.mark.parametrize(("who", "status"), [("stranger", 401), ("player", 403), ("halfway", 401)])
def test_nobody_else_reaches_any_console_by_any_method_or_socket(
    site: Edge, enter: Callable[[str], dict[str, str]], who: str, status: int
) -> None:
    cookie = enter(who)
    answers = {
        (path, method, kind): site.ask(path, method, **cookie, **extra).status
        for path in [*CONSOLES, *MORE]
        for method in METHODS
        for kind, extra in {"plain": {}, "forged": FORGED}.items()
    }
    answers |= {(path, "GET", "socket"): site.ask(path, **cookie, **SOCKET).status for path in [*CONSOLES, *MORE]}
    wrong = {key: got for key, got in answers.items() if got not in {status, 302, 403}}
    assert not wrong
    # 302 comes from pages of the app alone, 403 also from what no console takes of anybody
    assert {answers[path, "GET", "plain"] for path in CONSOLES} == {status}
    assert site.passed == []


def test_staff_with_a_second_factor_reach_every_console(site: Edge, enter: Callable[[str], dict[str, str]]) -> None:
    cookie = enter("viewer")
    for path, inside in CONSOLES.items():
        answer = site.ask(path, **cookie)
        assert answer.status == 200
        assert json.loads(answer.text)["path"] == inside
        assert json.loads(answer.text)["console"] == path.split("/")[2]
        assert answer.headers["Set-Cookie"] is None, "a console must not set cookies of the site"
        assert len(answer.headers.get_all("Strict-Transport-Security")) == 1
        if "grafana" not in path:  # which says itself what may be kept
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("who", "role"), [("viewer", "Viewer"), ("chief", "Admin")])
def test_grafana_hears_the_name_from_nginx_alone(
    site: Edge, enter: Callable[[str], dict[str, str]], who: str, role: str
) -> None:
    got = json.loads(site.ask("/ops/grafana/api/user", **FORGED, **enter(who)).text)["headers"]
    said = {name: [value for key, value in got if key == name] for name, _ in got}
    assert said["x-webauth-user"] == [f"{who}@staff"]
    assert said["x-webauth-role"] == [role]
    assert set(said) <= {
        "host", "accept", "accept-encoding", "accept-language", "user-agent", "x-forwarded-for", "x-forwarded-proto",
        "x-request-id", "x-webauth-user", "x-webauth-role",
    }  # fmt: skip


@every(CONSOLES)
def test_no_console_sees_the_session(path: str, site: Edge, enter: Callable[[str], dict[str, str]]) -> None:
    names = {name for name, _ in json.loads(site.ask(path, **FORGED, **enter("viewer")).text)["headers"]}
    assert not names & {"cookie", "authorization", "x-jwt-assertion"}
    assert "grafana" in path or not any(name.startswith("x-webauth") for name in names)


def test_prometheus_and_alertmanager_can_only_be_read(site: Edge, enter: Callable[[str], dict[str, str]]) -> None:
    cookie = enter("chief") | {"Origin": "https://localhost"}
    for method in set(METHODS) - {"GET", "HEAD"}:
        for path in ("/ops/prometheus/api/v1/query", "/ops/alertmanager/api/v2/silences"):
            assert site.ask(path, method, **cookie).status == 403, (method, path)
    assert site.ask("/ops/prometheus/debug/pprof/profile", **cookie).status == 403
    assert site.passed == []


@every(
    [
        ("https://localhost", 200),
        (None, 403),
        ("null", 403),
        ("http://localhost", 403),
        ("https://localhost.evil.example.com", 403),
        ("https://evil.example.com", 403),
    ]
)
def test_only_pages_of_the_site_write(
    case: tuple[str | None, int], site: Edge, enter: Callable[[str], dict[str, str]]
) -> None:
    origin, status = case
    headers = enter("viewer") | ({"Origin": origin} if origin else {})
    answer = site.ask("/ops/grafana/api/ds/query", "POST", body='{"q": 1}', Content__Type="application/json", **headers)
    assert answer.status == status
    if status == 200:
        assert json.loads(answer.text)["body"] == '{"q": 1}'
        assert ["content-type", "application/json"] in json.loads(answer.text)["headers"]


def test_sockets_are_refused_to_staff_as_well(site: Edge, enter: Callable[[str], dict[str, str]]) -> None:
    assert site.ask("/ops/grafana/api/live/ws", **SOCKET, **enter("chief")).status == 403
    assert site.passed == []


@every(
    [
        ("/ops/prometheus/%2e%2e/grafana/api/search", "/ops/grafana/api/search"),
        ("/ops/prometheus/../grafana/api/search", "/ops/grafana/api/search"),
        ("/ops/grafana/../prometheus/api/v1/rules", "/api/v1/rules"),
        ("/ops//prometheus///api/v1/rules", "/api/v1/rules"),
        ("/ops/prometheus/", "/classic/"),
        ("/ops/prometheus/graph/../-/healthy", "/-/healthy"),
        ("/ops/prometheus/%252e%252e/-/reload", "/%252e%252e/-/reload"),
        ("/ops/alertmanager/api/..%2fapi/v2/alerts", "/api/v2/alerts"),
    ]
)
def test_consoles_get_the_path_that_was_checked(
    case: tuple[str, str], site: Edge, enter: Callable[[str], dict[str, str]]
) -> None:
    path, inside = case
    assert json.loads(site.ask(path, **enter("viewer")).text)["path"] == inside


def test_only_pages_that_somebody_opens_lead_to_the_login(site: Edge) -> None:
    path = "/ops/grafana/d/matchpoint-overview?var-host=mp1&from=now-1h"
    wanted = "/admin/login/?next=%2Fops%2Fgrafana%2Fd%2Fmatchpoint-overview%3Fvar-host%3Dmp1%26from%3Dnow-1h"
    html = {"Accept": "text/html,application/xhtml+xml"}
    for headers in (html, {"Sec-Fetch-Mode": "navigate", "Accept": "*/*"}):
        answer = site.ask(path, **headers)
        assert (answer.status, answer.headers["Location"]) == (302, wanted)
    for method, headers in [
        ("GET", {}),
        ("GET", {"Accept": "application/json"}),
        ("GET", {"Sec-Fetch-Mode": "cors", **html}),
        ("GET", {"Sec-Fetch-Mode": "no-cors", **html}),
        ("POST", {"Origin": "https://localhost", **html}),
    ]:
        assert site.ask(path, method, **headers).status == 401, (method, headers)


def test_the_insides_cannot_be_asked_from_outside(site: Edge, enter: Callable[[str], dict[str, str]]) -> None:
    cookie = enter("chief")
    for path in ("/ops/auth", "/ops/auth?x", "/ops/enter", "/ops//auth", "/ops/x/../auth", "/ops-closed.html"):
        assert site.ask(path, **cookie).status == 404, path


def test_every_request_is_asked_about_anew(site: Edge, enter: Callable[[str], dict[str, str]]) -> None:
    cookie = enter("viewer")
    path = "/ops/prometheus/graph"
    assert site.ask(path, **cookie).status == 200
    client = Client()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = cookie["Cookie"].partition("=")[2].partition("=")[2]
    client.post("/accounts/logout/")
    assert {site.ask(each, **cookie).status for each in CONSOLES} == {401}
    User.objects.filter(username="viewer").delete()


def test_without_the_app_the_consoles_are_shut(tmp_path: Path, enter: Callable[[str], dict[str, str]]) -> None:
    cookie = enter("chief")
    with edge(tmp_path, ["127.0.0.1:9"]) as site:
        for path in CONSOLES:
            answer = site.ask(path, **cookie, Accept="text/html")
            assert answer.status == 500
            assert "The console is closed" in answer.text
        assert site.passed == []


def test_the_second_monitoring_host_takes_over(
    live_server: Any, tmp_path: Path, enter: Callable[[str], dict[str, str]]
) -> None:
    web = live_server.url.removeprefix("http://")
    with edge(tmp_path, [web], dead=("grafana", "prometheus", "alertmanager")) as site:
        cookie = enter("viewer")
        assert [site.ask(path, **cookie).status for path in CONSOLES] == [200, 200, 200]
        query = site.ask("/ops/grafana/api/ds/query", "POST", body="{}", Origin="https://localhost", **cookie)
        assert query.status == 200


def test_a_console_that_is_down_says_so(
    live_server: Any, tmp_path: Path, enter: Callable[[str], dict[str, str]]
) -> None:
    with edge(tmp_path, [live_server.url.removeprefix("http://")]) as site:
        site.consoles["prometheus"].shutdown()
        site.consoles["prometheus"].server_close()
        answer = site.ask("/ops/prometheus/graph", **enter("viewer"))
        assert answer.status == 502
        assert "The console is closed" in answer.text
