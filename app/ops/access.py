"""Who may use the consoles: staff whose session has proved a second factor, asked anew for every request.

While the database is away, what it said last about a user counts for a session that Valkey still has: an outage of
PostgreSQL is when on-call needs the consoles most. Nobody can log in meanwhile, and without Valkey nobody gets in.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, REDIRECT_FIELD_NAME, SESSION_KEY
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache

from accounts.models import User
from accounts.second_factor import second_factor_is_fresh, second_factor_is_recent

NOBODY = 401
"""Logging in, or a second factor, would help."""
NO_STAFF = 403
UNKNOWN = 503
"""The database is away, and what is known without it does not suffice."""


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody who may use the consoles. `is_certain` is False while the database cannot be asked."""

    username: str
    role: str
    is_certain: bool = True

    @property
    def may_silence(self) -> bool:
        """Whoever only looks keeps no alert from others."""
        return self.role == "Admin"

    @property
    def console_name(self) -> str:
        """The name in Grafana: ASCII, and never that of an account that Grafana makes by itself."""
        return f"{quote(self.username, safe='@+')}@staff"


def _pass_key(user_pk: object) -> str:
    return f"ops:pass:{user_pk}"


def _pass_keep(user: User, staff: Staff) -> None:
    value = {"username": staff.username, "role": staff.role, "session": user.get_session_auth_hash()}
    cache.set(_pass_key(user.pk), value, settings.STAFF_SECOND_FACTOR_MAX_AGE_S)


def _pass_drop(user_pk: object) -> None:
    cache.delete(_pass_key(user_pk))


def _pass_recall(request: HttpRequest) -> Staff | None:
    """What the database last said of this session's user, as long as this session fits to it."""
    user_pk = request.session.get(SESSION_KEY)
    known = cache.get(_pass_key(user_pk)) if user_pk else None
    if not known or not constant_time_compare(known["session"], request.session.get(HASH_SESSION_KEY, "")):
        return None
    if not second_factor_is_recent(request, user_pk):
        return None
    return Staff(known["username"], known["role"], is_certain=False)


def _session_has_ended(request: HttpRequest) -> bool:
    """Whether the database has it no more. Valkey has, when it took no writes while somebody logged out."""
    return not Session.objects.filter(pk=request.session.session_key).exists()


def staff_of(request: HttpRequest) -> Staff | int:
    """Whoever asks, or why not: NOBODY, NO_STAFF or UNKNOWN."""
    try:
        user = request.user
        if not user.is_authenticated:
            return NOBODY
        if _session_has_ended(request):
            request.session.flush()
            return NOBODY
        if not (user.is_active and user.is_staff):
            _pass_drop(user.pk)
            return NO_STAFF
        if not second_factor_is_fresh(request):
            return NOBODY
    except (OperationalError, InterfaceError):
        try:
            return _pass_recall(request) or UNKNOWN
        except (OperationalError, InterfaceError):
            return UNKNOWN  # the session was not in Valkey
    staff = Staff(user.get_username(), "Admin" if user.is_superuser else "Viewer")
    _pass_keep(user, staff)
    return staff


def login_url(next_path: str) -> str:
    """The way in: the admin's, which leads through login and second factor, and refuses players."""
    return f"{reverse('admin:login')}?{urlencode({REDIRECT_FIELD_NAME: next_path})}"


def staff_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view for staff, which gets them as its second argument. Others are led to the login, or refused."""

    @never_cache
    @functools.wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        staff = staff_of(request)
        if isinstance(staff, Staff):
            return view(request, staff, *args, **kwargs)
        if staff == NO_STAFF:
            raise PermissionDenied
        if staff == UNKNOWN:
            return render(request, "ops/closed.html", status=UNKNOWN)
        is_reading = request.method in ("GET", "HEAD")
        return redirect(login_url(request.get_full_path() if is_reading else reverse("ops:index")))

    return guarded


def _on_change(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Rights, password or second factor of a user may have changed."""
    user_pk = instance.pk if isinstance(instance, User) else instance.user_id
    transaction.on_commit(lambda: _pass_drop(user_pk))


def connect() -> None:
    post_save.connect(_on_change, sender=User, dispatch_uid="ops.user_changed")
    post_delete.connect(_on_change, sender=User, dispatch_uid="ops.user_deleted")
    post_delete.connect(_on_change, sender=Authenticator, dispatch_uid="ops.second_factor_deleted")
