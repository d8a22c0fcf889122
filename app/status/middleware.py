from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from matchpoint.middleware import hooks

PATHS = frozenset({"/status", "/status.json"})


def _forget_the_visitor(request: HttpRequest) -> HttpResponseBase | None:
    """The status page is the same for everybody: no cookie but the language's reaches what would look up a session."""
    if request.path in PATHS:
        language = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME)
        request.COOKIES = {settings.LANGUAGE_COOKIE_NAME: language} if language else {}
    return None


anonymous = hooks(before=_forget_the_visitor)
