"""Logging in with an account elsewhere (OpenID Connect), where the settings name an issuer.

Nobody comes into an existing account by an address alone: its owner logs in there, and joins the two.
"""

import logging
import os
from collections.abc import Callable
from typing import Any, Final, cast

import requests
from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.core.internal.httpkit import add_query_params
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, _build_apps_from_settings
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from jwt import PyJWTError

from accounts.models import User
from accounts.openid import PROVIDER

logger = logging.getLogger(__name__)

CA_FILE: Final = "/etc/ssl/certs/ca-certificates.crt"  # the host's, which may know an issuer in the house
_UNREADABLE: Final = (requests.RequestException, PyJWTError, LookupError, TypeError, ValueError, AttributeError)


class OpenIDAdapter(DefaultSocialAccountAdapter):
    """allauth's accounts elsewhere, by settings alone."""

    def list_apps(
        self, request: HttpRequest, provider: str | None = None, client_id: str | None = None
    ) -> list[SocialApp]:
        """Without those of the database: no page of the admin opens another way in."""
        apps = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for each in apps.values() for app in each]

    def get_requests_session(self) -> requests.Session:
        session: requests.Session = super().get_requests_session()
        if os.path.exists(CA_FILE):
            session.verify = CA_FILE
        return session

    def populate_user(self, request: HttpRequest, sociallogin: SocialLogin, data: dict[str, Any]) -> User:
        """A suggested name and the address, and nothing else that the issuer tells."""
        known = {"username": data.get("username"), "email": data.get("email")}
        return cast(User, super().populate_user(request, sociallogin, known))

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        account, told = sociallogin.account, sociallogin.account.extra_data
        subjects = {str(part.get("sub")) for part in told.values() if isinstance(part, dict)}
        if subjects != {account.uid} or "id_token" not in told:
            raise ValueError("the issuer speaks of two people")
        # "true" as a text is no promise
        addresses = [address for address in sociallogin.email_addresses if address.verified is True]
        sociallogin.email_addresses = addresses
        account.extra_data = {"userinfo": {"sub": account.uid, "email": addresses[0].email if addresses else ""}}
        if sociallogin.is_existing:
            account.save(update_fields=["extra_data"])
            return
        sociallogin.user.email = addresses[0].email if addresses else ""
        known = EmailAddress.objects.filter(email__in=[each.email.lower() for each in addresses], verified=True)
        connections = reverse("socialaccount_connections")
        if sociallogin.state.get("process") == "connect":
            if request.user.is_authenticated and not known.filter(user_id=request.user.pk).exists():
                messages.error(request, _("Confirm the address of that account here first. Then you can connect it."))
                raise ImmediateHttpResponse(redirect("account_email"))
        elif known.exists():
            messages.error(request, _("You have an account here. Log in to it, and connect the other one."))
            way = add_query_params(reverse("account_login"), {REDIRECT_FIELD_NAME: connections})
            raise ImmediateHttpResponse(redirect(way))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        if error != AuthError.CANCELLED:
            logger.warning("openid failed", extra={"error": f"{type(exception).__name__}: {exception}"})
            user_login_failed.send(sender=__name__, credentials={"way": "openid"}, request=request)


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view of allauth's that asks the issuer, which may be away, or say what cannot be read."""

    def ask(request: HttpRequest, provider_id: str) -> HttpResponseBase:
        if ratelimit.consume(request, app="allauth.account", action="login", limit_get=True) is None:
            return cast(HttpResponseBase, ratelimit.respond_429(request))
        try:
            return view(request, provider_id)
        except _UNREADABLE as error:
            provider = OpenIDAdapter(request).get_provider(request, PROVIDER)
            return cast(HttpResponseBase, render_authentication_error(request, provider, exception=error))

    return ask
