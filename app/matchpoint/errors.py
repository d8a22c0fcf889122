"""Error answers: JSON under /api/, pages elsewhere, and 503 rather than 500 for what will be well in a moment.

That is while the database or Valkey is away, and when a match of a newer release meets an older one.
"""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.template.loader import select_template
from django.views import defaults
from django.views.csrf import csrf_failure as csrf_failure_page
from redis.exceptions import RedisError

from engine import UnknownSchema

RETRY_AFTER_S = 5


def api_error(code: str, detail: str, *, status: int, retry_after_s: int | None = None) -> JsonResponse:
    """`{"error": code, "detail": sentence}`, the shape of every error of the API."""
    response = JsonResponse({"error": code, "detail": detail}, status=status)
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    if is_api(request):
        return api_error("csrf", "The CSRF token is missing or wrong; reload the page.", status=403)
    return csrf_failure_page(request, reason=reason)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_api(request):
        return api_error("forbidden", "You may not do this.", status=403)
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if is_api(request):
        return api_error("not-found", "There is nothing at this address.", status=404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    is_unavailable = isinstance(sys.exc_info()[1], OperationalError | InterfaceError | RedisError | UnknownSchema)
    if is_api(request):
        if is_unavailable:
            return api_error("unavailable", "Try again in a moment.", status=503, retry_after_s=RETRY_AFTER_S)
        return api_error("internal", "Something broke on our side.", status=500)
    if not is_unavailable:
        return defaults.server_error(request)
    # Rendered without context processors: they might need what is down.
    page = select_template(["503.html", "500.html"]).render()
    return HttpResponse(page, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
