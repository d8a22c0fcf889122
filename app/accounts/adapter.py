from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse

from accounts.second_factor import second_factor_exists


class AccountAdapter(DefaultAccountAdapter):
    """allauth, with staff sent to set up their second factor after logging in without one."""

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        if request.user.is_staff and not second_factor_exists(request.user):
            return reverse("mfa_activate_totp")
        return str(super().get_login_redirect_url(request))
