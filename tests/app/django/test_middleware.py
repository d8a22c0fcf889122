from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory

from matchpoint.asgi import sockets_only
from matchpoint.middleware import edge


def echo_address(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.META["REMOTE_ADDR"])


def address_seen(peer: str, forwarded: str | None) -> str:
    headers = {"x-forwarded-for": forwarded} if forwarded is not None else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    response = edge(echo_address)(request)
    return str(response.content.decode() or response.status_code)


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),  # only what the proxy itself wrote
        ("127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # not from a proxy of ours
        ("127.0.0.1", "nonsense", "400"),
    ],
)
def test_forwarded_addresses_count_only_from_the_proxy(peer: str, forwarded: str | None, seen: str) -> None:
    assert address_seen(peer, forwarded) == seen


def test_unknown_methods_never_become_metric_labels(client: Client) -> None:
    from prometheus_client import REGISTRY, generate_latest

    response = client.generic("FOOBAR", "/livez")
    assert response.status_code == 405
    assert b"FOOBAR" not in generate_latest(REGISTRY)


def test_every_answer_carries_the_security_headers(client: Client) -> None:
    headers = client.get("/livez").headers
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_the_content_security_policy_allows_no_inline_code(client: Client) -> None:
    policy = dict(part.strip().split(" ", 1) for part in client.get("/").headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].split()[0] == "'self'"
    assert policy["connect-src"] == "'self' ws://testserver"
    assert policy["frame-ancestors"] == "'none'"
    assert not any("unsafe" in sources or "*" in sources for sources in policy.values())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "kept"),
    [("/", "no-cache"), ("/accounts/signup/", "no-store"), ("/matches/", "no-store"), ("/nothing", "no-cache")],
)
def test_pages_are_kept_for_nobody_else(client: Client, path: str, kept: str) -> None:
    said = client.get(path).headers["Cache-Control"]
    assert kept in said
    assert "private" in said


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200),
        ("/accounts/login/", 404),
        ("/ws/x/match/x", 404),
        ("/", 404),
        ("/ws/x/match/x/poll", 405),  # of the second transport, by GET
    ],
)
async def test_live_workers_have_no_pages(path: str, status: int) -> None:
    client = ApplicationCommunicator(sockets_only, AsyncRequestFactory()._base_scope(path=path))
    await client.send_input({"type": "http.request"})
    assert (await client.receive_output())["status"] == status
    assert (await client.receive_output())["body"]
    await client.wait()


RENAMED = {"__Host-csrftoken": "csrftoken", "__Host-mp_guest": "mp_guest"}


@pytest.fixture
def _renamed(settings: Any) -> None:
    """The cookies of production; the test client speaks no TLS, and keeps what it gets all the same."""
    settings.CSRF_COOKIE_NAME, settings.GUEST_COOKIE_NAME = RENAMED
    settings.RENAMED_COOKIES = RENAMED
    settings.CSRF_COOKIE_SECURE = settings.SESSION_COOKIE_SECURE = True


@pytest.mark.django_db
@pytest.mark.usefixtures("_renamed")
def test_visitors_of_both_releases_stay_who_they_are_and_may_send_their_forms(settings: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    page = client.get("/accounts/login/")
    guest = client.get("/").context["player"].identity
    for name, before in RENAMED.items():
        new, old = client.cookies[name], client.cookies[before]
        assert new.value == old.value
        assert (new["secure"], new["httponly"], new["path"], new["domain"]) == (True, True, "/", "")
    form = {"name": "Grace", "csrfmiddlewaretoken": str(page.context["csrf_token"])}

    def comes_with(*names: str) -> Client:
        other = Client(enforce_csrf_checks=True)
        for name in names:
            other.cookies[name] = client.cookies[name].value
        return other

    for names in (RENAMED.values(), RENAMED.keys()):  # of the release before, and of this one
        visitor = comes_with(*names)
        assert visitor.get("/").context["player"].identity == guest
        assert visitor.post("/me/guest/", form).status_code == 302
        assert {name: visitor.cookies[name].value for name in RENAMED}.keys() == RENAMED.keys()
    settings.CSRF_COOKIE_NAME, settings.GUEST_COOKIE_NAME = RENAMED.values()
    settings.RENAMED_COOKIES = {}
    before = comes_with(*RENAMED.values())  # a worker of the release before meets a visitor of this one
    assert before.get("/").context["player"].identity == guest
    assert before.post("/me/guest/", form).status_code == 302


@pytest.mark.django_db
@pytest.mark.usefixtures("_renamed")
def test_a_neighbour_s_cookie_does_not_replace_one_that_is_there() -> None:
    client = Client(enforce_csrf_checks=True)
    page = client.get("/accounts/login/")
    client.cookies["csrftoken"] = "x" * 32
    form = {"name": "Grace", "csrfmiddlewaretoken": str(page.context["csrf_token"])}
    assert client.post("/me/guest/", form).status_code == 302
