"""How often a password may be tried, so that guessing is slow and nobody can lock somebody else out.

Tries count by account and place, not by what was typed. A place is the network they come from, or a device that has
logged in to this account before, which a signed cookie proves. Whoever tries from many networks meets the limit of the
account; known devices pass that one, so its owner still gets in.
"""

from typing import Any, Final

from allauth.account.models import EmailAddress
from allauth.core.internal import ratelimit
from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import get_random_string
from prometheus_client import Counter

from accounts.models import User

DEVICE_MAX_AGE_S: Final = 180 * 24 * 3600
_SALT: Final = "accounts.device"
AUTH_ATTEMPTS: Final = Counter("matchpoint_auth_attempts_total", "Attempts to log in, by result.", ["result"])
for _result in ("success", "failure", "refused"):
    AUTH_ATTEMPTS.labels(_result)

_APP: Final = "accounts"
_LIMITS: Final = {"network": "20/m/ip", "place": "5/15m/key", "account": "50/h/key"}


def login_try(request: HttpRequest, **credentials: Any) -> ratelimit.RateLimitUsage | None:
    """Counts a try; None when there were too many. A try that was right is rolled back by the caller."""
    account = _account(**credentials)
    device = _device(request, account)
    place = device or ratelimit.get_ip(request)
    limits = [("network", ""), ("place", f"{account} {place}")]
    if not device:
        limits.append(("account", account))
    used = ratelimit.RateLimitUsage(usage=[])
    for action, key in limits:
        usage = ratelimit.consume(request, app=_APP, action=action, config=_LIMITS, key=key)
        if usage is None:
            AUTH_ATTEMPTS.labels("refused").inc()
            return None
        used.usage += usage.usage
    return used


def login_tries_forget(request: HttpRequest, **credentials: Any) -> None:
    """A new password was set by mail: its owner need not wait for the end of somebody's guessing."""
    account = _account(**credentials)
    place = _device(request, account) or ratelimit.get_ip(request)
    ratelimit.clear(request, app=_APP, action="place", config=_LIMITS, key=f"{account} {place}")
    ratelimit.clear(request, app=_APP, action="account", config=_LIMITS, key=account)


def device_remember(response: HttpResponseBase, user: User) -> None:
    """From now on the browser is known to be one of the user's."""
    response.set_cookie(
        settings.DEVICE_COOKIE_NAME,
        signing.dumps([user.pk, get_random_string(12)], salt=_SALT),
        max_age=DEVICE_MAX_AGE_S,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def account_of(*, email: str = "", username: str = "") -> User | None:
    """Whose account is tried with a name, an address, or one that stands in the field of the other."""
    user = User.objects.filter(username__iexact=username).first() if username else None
    if user is None and email:
        known = EmailAddress.objects.filter(email=email.lower()).order_by("-verified", "pk").first()
        user = known.user if known else User.objects.filter(email__iexact=email).order_by("pk").first()
    return user


def _account(*, email: str = "", username: str = "", **others: Any) -> str:
    """The account's id, so that name and address count as one, or else what was typed."""
    user = account_of(email=email, username=username)
    return f"u:{user.pk}" if user else (username or email).casefold()


def _device(request: HttpRequest, account: str) -> str:
    """The device that the cookie proves, if it has logged in to this account before."""
    try:
        cookie = request.COOKIES.get(settings.DEVICE_COOKIE_NAME, "")
        user_pk, device = signing.loads(cookie, salt=_SALT, max_age=DEVICE_MAX_AGE_S)
    except (signing.BadSignature, ValueError, TypeError):
        return ""
    return f"device:{device}" if account == f"u:{user_pk}" else ""
