import logging
import time
from smtplib import SMTPException
from typing import Any

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.urls import reverse
from prometheus_client import Counter

from accounts.models import User
from accounts.second_factor import second_factor_exists

logger = logging.getLogger(__name__)

MAILS_FAILED = Counter("matchpoint_mails_failed_total", "Mails that the relay did not take.")


class AccountAdapter(DefaultAccountAdapter):
    """allauth, with a short way from the first login of staff to their second factor, and calm without a mail relay."""

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

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        """Who has a second factor proves that one: a password alone must not show its recovery codes or remove it."""
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        return [method for method in methods if method["id"] != "reauthenticate"] or methods

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send, or log and count that it failed.

        Registering must not fail for want of a mail, and an error page after asking for a new password would tell that
        the address has an account.
        """
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, SMTPException) as error:
            MAILS_FAILED.inc()
            logger.error("mail failed", extra={"template": template_prefix, "error": error})
