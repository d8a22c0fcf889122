"""Hooks into logging in, which belongs to Django and allauth. What they do is in services."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed, email_removed
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_used
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest

from accounts.lockout import AUTH_ATTEMPTS
from accounts.models import User
from accounts.players import guest_read
from accounts.second_factor import SECOND_FACTORS, second_factor_record
from accounts.services import sockets_close
from matches.services import seats_claim


def on_logged_in(sender: Any, request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    AUTH_ATTEMPTS.labels("success").inc()
    guest = guest_read(request) if request is not None else None
    if guest:
        seats_claim(user=user, guest_id=guest["id"])


def on_login_failed(sender: Any, **kwargs: Any) -> None:
    AUTH_ATTEMPTS.labels("failure").inc()


def on_logged_out(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        sockets_close(user_pk=user.pk)


def on_user_saved(sender: Any, instance: User, **kwargs: Any) -> None:
    if instance.sessions_ended():
        sockets_close(user_pk=instance.pk)


def on_user_deleted(sender: Any, instance: User, **kwargs: Any) -> None:
    sockets_close(user_pk=instance.pk)


def on_second_factor(
    sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any
) -> None:
    """A code or key was right: at login, when asked again, or while being set up (recovery codes just come)."""
    is_setup = "reauthenticated" not in kwargs
    if not is_setup or authenticator.type in SECOND_FACTORS:
        second_factor_record(request, user)


def on_address_confirmed(sender: Any, request: HttpRequest, email_address: EmailAddress, **kwargs: Any) -> None:
    """From now on it can ask for a new password: whoever has the primary address should know."""
    if not email_address.primary:
        context = {"added_email": email_address.email}
        get_adapter().send_notification_mail("account/email/email_added", email_address.user, context)


def on_address_removed(sender: Any, request: HttpRequest, email_address: EmailAddress, **kwargs: Any) -> None:
    get_adapter().send_farewell_mail(email_address)


def connect() -> None:
    user_logged_in.connect(on_logged_in, dispatch_uid="accounts.logged_in")
    user_logged_out.connect(on_logged_out, dispatch_uid="accounts.logged_out")
    post_save.connect(on_user_saved, sender=User, dispatch_uid="accounts.user_saved")
    post_delete.connect(on_user_deleted, sender=User, dispatch_uid="accounts.user_deleted")
    user_login_failed.connect(on_login_failed, dispatch_uid="accounts.login_failed")
    authenticator_used.connect(on_second_factor, dispatch_uid="accounts.authenticator_used")
    authenticator_added.connect(on_second_factor, dispatch_uid="accounts.authenticator_added")
    email_confirmed.connect(on_address_confirmed, dispatch_uid="accounts.address_confirmed")
    email_removed.connect(on_address_removed, dispatch_uid="accounts.address_removed")
