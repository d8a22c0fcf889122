"""The site as a player's browser sees it: one cookie jar, the CSRF token of the page, the calls of docs/protocol.md.

Proxies of the environment are not used: a bot tells whether the site answers, not whether a proxy does.
"""

import http.client
import json
import re
import socket
import ssl
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request

TIMEOUT_S: Final = 10.0
EXCERPT: Final = 200  # characters of a body that explain an unexpected status
BUSY: Final = frozenset({429, 502, 503, 504})  # worth another try
CSRF_COOKIES: Final = frozenset({"__Host-csrftoken", "csrftoken"})  # with TLS, without
CSRF_META: Final = re.compile(r'<meta\s+name="csrf-token"\s+content="([^"]+)"')


class Failure(Exception):
    """Why the bot could not do what a player can: a sentence for an operator."""


class Unavailable(Failure):
    """Not now, but perhaps in a moment."""


class Over(Failure):
    """The match is over already."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place at a match: the path of its socket, the token for it, the side (None: only to watch)."""

    path: str
    token: str
    side: int | None


class Site:
    """One visitor of `url` (scheme and host). Outbox block; every one may raise Failure.

    `ca`: file with the only CAs to trust, None for the system's. `address`: dial this instead of the host's own
    address, with the same name in TLS and HTTP.
    """

    def __init__(self, url: str, *, ca: str | None = None, address: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise Failure(f"{url!r} is not the address of a site, e.g. https://pong.example.com")
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.address = address or self.host
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.sockets = self.origin.replace("http", "ws", 1)
        self.tls = _trust(ca) if parts.scheme == "https" else None
        self._netloc = parts.netloc
        self._jar = CookieJar()
        self._csrf = ""

    def open(self, path: str = "/") -> None:
        """Load a page as a new visitor does: it gives the cookies and the CSRF token."""
        status, page = self._request("GET", path)
        if status != 200:
            raise _unexpected("GET", path, status, page)
        found = CSRF_META.search(page)
        cookie = next((cookie.value for cookie in self._jar if cookie.name in CSRF_COOKIES), None)
        self._csrf = found[1] if found else cookie or ""
        if not self._csrf:
            raise Failure(f"the page {path} carries no CSRF token, so nobody can start a match from it")

    def match_create(self, **wish: Any) -> tuple[str, str]:
        """Id and page of a new match."""
        answer = self._call("POST", "/api/matches", 201, wish)
        return answer["id"], answer["url"]

    def match_seat(self, match_id: str) -> Ticket:
        """Take, or take again, a seat. Over and Unavailable are its special failures."""
        answer = self._call("POST", f"/api/matches/{match_id}/seat", 200, {})
        return Ticket(path=answer["url"], token=answer["token"], side=answer["side"])

    def match_get(self, match_id: str) -> dict[str, Any]:
        return self._call("GET", f"/api/matches/{match_id}", 200)

    def _call(self, method: str, path: str, expected: int, body: dict[str, Any] | None = None) -> dict[str, Any]:
        status, text = self._request(method, path, body)
        if status != expected:
            raise _unexpected(method, path, status, text)
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise Failure(f"{method} {path} answered {status}, but not with JSON: {_excerpt(text)}") from error
        return answer

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        jar_view = Request(self.origin + path, method=method)  # noqa: S310 - only the jar reads it; the scheme is checked
        self._jar.add_cookie_header(jar_view)
        headers = {
            "Host": self._netloc,
            "Origin": self.origin,
            "Referer": f"{self.origin}/",
            **jar_view.unredirected_hdrs,
        }
        if body is not None:
            headers |= {"Content-Type": "application/json", "X-CSRFToken": self._csrf}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            connection.sock = self._dial()
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise explained(error, f"{method} {self.origin}{path}") from error
        finally:
            connection.close()
        self._jar.extract_cookies(response, jar_view)
        return response.status, text

    def _dial(self) -> socket.socket:
        plain = socket.create_connection((self.address, self.port), TIMEOUT_S)
        if self.tls is None:
            return plain
        try:
            return self.tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def explained(error: Exception, what: str) -> Failure:
    """The failure for an error of the network while doing `what`."""
    match error:
        case ssl.SSLCertVerificationError():
            return Failure(f"{what}: the certificate is not accepted: {error.verify_message}")
        case ssl.SSLError():
            return Failure(f"{what}: TLS failed: {error.reason or error}")
        case socket.gaierror():
            return Failure(f"{what}: the name does not resolve: {error.strerror}")
        case TimeoutError():
            return Unavailable(f"{what}: no answer within {TIMEOUT_S:.0f} s")
        case OSError():
            return Unavailable(f"{what}: {error.strerror or error}")
        case _:
            return Unavailable(f"{what}: {type(error).__name__}: {error}")


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise Failure(f"the CA file {ca} cannot be used: {error}") from error


def _unexpected(method: str, path: str, status: int, text: str) -> Failure:
    kind = Unavailable if status in BUSY else Over if status == 409 else Failure
    return kind(f"{method} {path} answered {status}: {_excerpt(text)}")


def _excerpt(text: str) -> str:
    """The beginning of a body in one line, without markup."""
    plain = " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL).split())
    return plain[:EXCERPT] or "(empty)"
