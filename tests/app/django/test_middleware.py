import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

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
