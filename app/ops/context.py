from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """On every page: `player` (name, is_guest, identity, user) and `release` (version, commit, ...)."""
    return {"player": getattr(request, "player", None), "release": settings.RELEASE}
