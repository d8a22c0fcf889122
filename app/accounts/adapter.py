import time
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from django.http import HttpRequest
from django.urls import reverse

from accounts.second_factor import second_factor_exists


class AccountAdapter(DefaultAccountAdapter):
    """allauth, with a shorter way from the first login of staff to their second factor."""

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        if request.user.is_staff and not second_factor_exists(request.user):
            return reverse("mfa_activate_totp")
        return str(super().get_login_redirect_url(request))

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Who logged in within the last five minutes is not asked for the password again."""
        records = get_authentication_records(self.request, self.request.user)
        if records and time.time() - records[-1]["at"] < app_settings.REAUTHENTICATION_TIMEOUT:
            return False
        return bool(super().is_reauthentication_required(app=app, **kwargs))
