from typing import Any

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from accounts.models import User
from accounts.second_factor import second_factor_exists, second_factor_is_fresh


class StaffSite(AdminSite):
    """The admin, for staff whose session has used a second factor.

    Every admin view asks `has_permission`, so there is no path around it. The login form is allauth's: the admin's own
    one knows no second factor and no rate limit.
    """

    site_header = site_title = "Matchpoint"
    index_title = _("Administration")

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and second_factor_is_fresh(request)

    @staticmethod
    def _step(user: User | AnonymousUser) -> str:
        """Where `user` goes next on the way into the admin."""
        if not user.is_authenticated:
            return resolve_url(settings.LOGIN_URL)
        if not second_factor_exists(user):
            return reverse("mfa_activate_totp")
        return str(get_adapter().get_reauthentication_methods(user)[0]["url"])

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        user = request.user
        if user.is_authenticated and not (user.is_active and user.is_staff):
            raise PermissionDenied
        target = request.GET.get(REDIRECT_FIELD_NAME, "")
        if not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
            target = reverse("admin:index")
        if self.has_permission(request):
            return redirect(target)
        return redirect(f"{self._step(user)}?{urlencode({REDIRECT_FIELD_NAME: target})}")
