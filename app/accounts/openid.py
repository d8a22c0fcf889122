"""Accounts elsewhere (OpenID Connect) as proof of who somebody is. What asks the issuer is accounts.openid_adapter."""

import time
from typing import Final

from allauth.account import app_settings as account_settings
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.http import HttpRequest

from accounts.models import User

PROVIDER: Final = "site"  # its name in addresses and in the database: there is one


def is_only_way(user: User) -> bool:
    """Whether the account has neither a password nor a second factor, only an account elsewhere."""
    return (
        bool(settings.OPENID)
        and not user.has_usable_password()
        and not Authenticator.objects.filter(user=user).exists()
        and SocialAccount.objects.filter(user=user).exists()
    )


def is_fresh(request: HttpRequest, user: User) -> bool:
    """Whether the session logged in there lately: who has no other proof logs in once more."""
    ways = [way for way in get_authentication_records(request, user) if way.get("method") == "socialaccount"]
    return bool(ways) and 0 <= time.time() - ways[-1]["at"] < account_settings.REAUTHENTICATION_TIMEOUT
