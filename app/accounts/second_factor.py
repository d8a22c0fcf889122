"""Has this session used a second factor lately? The admin, and later the consoles, open for staff only if so."""

import time
from typing import Final

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.http import HttpRequest

from accounts.models import User

SECOND_FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)  # recovery codes stand in for one
_SESSION_KEY = "second_factor"


def second_factor_record(request: HttpRequest, user: User) -> None:
    """Note in the session that `user` has just proved a second factor."""
    request.session[_SESSION_KEY] = {"user": user.pk, "at": int(time.time())}


def second_factor_is_fresh(request: HttpRequest) -> bool:
    """Whether the session's user proved a second factor within STAFF_SECOND_FACTOR_MAX_AGE_S, and still has one."""
    user = request.user
    return user.is_authenticated and second_factor_is_recent(request, user.pk) and second_factor_exists(user)


def second_factor_is_recent(request: HttpRequest, user_pk: object) -> bool:
    """The part of it that the session alone can tell: a second factor of that user was proved lately."""
    record = request.session.get(_SESSION_KEY)
    if not record or str(record["user"]) != str(user_pk):
        return False
    return 0 <= time.time() - record["at"] < settings.STAFF_SECOND_FACTOR_MAX_AGE_S


def second_factor_exists(user: User) -> bool:
    """Whether `user` has set up an authenticator app, or a passkey."""
    return is_mfa_enabled(user, SECOND_FACTORS)
