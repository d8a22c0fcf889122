"""Middleware of the site as a whole. Hooks are plain functions that do no I/O, so both worlds run them in place."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

Before = Callable[[HttpRequest], HttpResponseBase | None]
After = Callable[[HttpRequest, HttpResponseBase], None]


def hooks(*, before: Before | None = None, after: After | None = None) -> Callable[..., Any]:
    """A middleware from a hook before the view (may answer itself) and one after it.

    Django's MiddlewareMixin would run such hooks in a thread, once per request and hook, under ASGI.
    """

    @sync_and_async_middleware
    def factory(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
        if iscoroutinefunction(get_response):

            async def async_middleware(request: HttpRequest) -> HttpResponseBase:
                response = before(request) if before else None
                if response is None:
                    response = await cast(Awaitable[HttpResponseBase], get_response(request))
                if after:
                    after(request, response)
                return response

            return async_middleware

        def sync_middleware(request: HttpRequest) -> HttpResponseBase:
            response = before(request) if before else None
            if response is None:
                response = cast(HttpResponseBase, get_response(request))
            if after:
                after(request, response)
            return response

        return sync_middleware

    return factory


PROBES = frozenset({"/livez", "/readyz"})
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _edge(request: HttpRequest) -> HttpResponseBase | None:
    """Refuse unknown methods, and put the client's address, not the proxy's, into REMOTE_ADDR.

    django-prometheus makes a label of any method it meets, so an unknown one must not reach it. X-Forwarded-For counts
    only when a trusted proxy connected, and only its last entry: that one the proxy wrote itself.
    Probes ask by the address that this process listens on, which no setting names: their Host counts as localhost.
    """
    if request.method not in KNOWN_METHODS:
        return HttpResponse(status=405, headers={"Allow": ", ".join(sorted(KNOWN_METHODS))})
    if request.path in PROBES:
        request.META["HTTP_HOST"] = "localhost"
    forwarded = request.META.pop("HTTP_X_FORWARDED_FOR", "")
    if forwarded and request.META.get("REMOTE_ADDR") in settings.TRUSTED_PROXIES:
        try:
            client = ipaddress.ip_address(forwarded.rpartition(",")[2].strip())
        except ValueError:
            return HttpResponse(status=400)
        request.META["REMOTE_ADDR"] = str(client)
    return None


def _permissions_policy(request: HttpRequest, response: HttpResponseBase) -> None:
    response.headers.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)


def _keep_private(request: HttpRequest, response: HttpResponseBase) -> None:
    """Pages are for who asked, who is somebody else after logging out. What may be kept longer says so itself."""
    is_personal = request.path.startswith(("/accounts/", "/me/", "/matches/", "/admin/", "/ops/"))
    response.headers.setdefault("Cache-Control", f"private, {'no-store' if is_personal else 'no-cache'}")


def _read_renamed(request: HttpRequest) -> HttpResponseBase | None:
    """A visitor who holds a cookie under the name before has it under today's."""
    for name, before in settings.RENAMED_COOKIES.items():
        if name not in request.COOKIES and before in request.COOKIES:
            request.COOKIES[name] = request.COOKIES[before]
            request.renamed_cookies = [*getattr(request, "renamed_cookies", ()), name]  # type: ignore[attr-defined]  # a note for below
    return None


def _write_renamed(request: HttpRequest, response: HttpResponseBase) -> None:
    """What is set or deleted is so under both names; what came under the old one alone is kept under today's."""
    for name in getattr(request, "renamed_cookies", ()):
        if name not in response.cookies:
            response.set_cookie(
                name,
                request.COOKIES[name],
                max_age=settings.CSRF_COOKIE_AGE,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
    for name, before in settings.RENAMED_COOKIES.items():
        if name in response.cookies:
            morsel = response.cookies[name]
            response.cookies[before] = morsel.value
            response.cookies[before].update(dict(morsel))


edge = hooks(before=_edge)
renamed_cookies = hooks(before=_read_renamed, after=_write_renamed)
private = hooks(after=_keep_private)
permissions_policy = hooks(after=_permissions_policy)
