"""What is noted: everything that opens an account, and what staff do."""

from collections.abc import Callable, Iterable
from typing import Any

from allauth.account import signals as account
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from allauth.socialaccount import signals as social
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.contrib.admin.models import LogEntry, LogEntryManager
from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.db.models.signals import post_save
from django.http import HttpRequest

from accounts.lockout import account_of
from accounts.models import User
from audit.models import Entry
from audit.services import note

Kind = Entry.Kind
_ROLES = ("Staff status", "Superuser status")  # as the admin writes them in every language


def _noted(kind: Entry.Kind, what: str = "") -> Callable[..., None]:
    """A receiver of signals that bring a user and a request."""

    def receive(sender: Any, user: User | None = None, request: HttpRequest | None = None, **kwargs: Any) -> None:
        if user is not None:
            note(kind, user=user, request=request, what=what)

    return receive


def _address(did: str) -> Callable[..., None]:
    def receive(sender: Any, request: HttpRequest, email_address: EmailAddress, **kwargs: Any) -> None:
        note(Kind.ADDRESS, user=email_address.user, request=request, what=f"{did} {email_address.email}")

    return receive


def _primary(sender: Any, request: HttpRequest, user: User, to_email_address: EmailAddress, **kwargs: Any) -> None:
    note(Kind.ADDRESS, user=user, request=request, what=f"primary {to_email_address.email}")


def _factor(did: str) -> Callable[..., None]:
    def receive(sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
        note(Kind.FACTOR, user=user, request=request, what=f"{did} {authenticator.type}")

    return receive


def _connected(sender: Any, request: HttpRequest, sociallogin: SocialLogin, **kwargs: Any) -> None:
    note(Kind.FACTOR, user=sociallogin.user, request=request, what="added openid")


def _disconnected(sender: Any, request: HttpRequest, socialaccount: SocialAccount, **kwargs: Any) -> None:
    note(Kind.FACTOR, user=socialaccount.user, request=request, what="removed openid")


def _login_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Of a name that nobody has nothing is kept: it may be a password that was typed one field too early."""
    user = account_of(email=credentials.get("email", ""), username=credentials.get("username", ""))
    note(Kind.LOGIN_FAILED, user=user, request=request, what="" if user else credentials.get("way", "no such account"))


def _staff_action(sender: Any, instance: LogEntry, created: bool, **kwargs: Any) -> None:
    """Every page of the admin writes such an entry for what it changed."""
    if created:
        verb = instance.get_action_flag_display()
        what = f"{verb}: {instance.content_type} {instance.object_repr}. {instance.get_change_message()}"
        note(Kind.STAFF, user=instance.user, request=context.request, what=what, on_staff=_concerns_staff(instance))


def _concerns_staff(entry: LogEntry) -> bool:
    """Whether the page changed who is staff, what they may do, or what opens the account of one."""
    model = entry.content_type.model_class() if entry.content_type else None
    if model is Group or (model is User and any(word in entry.change_message for word in _ROLES)):
        return True
    changed: Any = entry.get_edited_object() if model in (User, Authenticator, EmailAddress, SocialAccount) else None
    return bool(getattr(changed, "user", changed).is_staff) if changed else False


@transaction.atomic
def _save_each(manager: LogEntryManager, entries: Iterable[LogEntry]) -> list[LogEntry]:
    """For `bulk_create`, with which Django logs what is done to several objects at once: that tells no receiver."""
    saved = list(entries)
    for entry in saved:
        entry.save()
    return saved


def connect() -> None:
    for signal, receiver in (
        (user_logged_in, _noted(Kind.LOGIN)),
        (user_logged_out, _noted(Kind.LOGOUT)),
        (user_login_failed, _login_failed),
        (account.password_changed, _noted(Kind.PASSWORD)),
        (account.password_set, _noted(Kind.PASSWORD)),
        (account.password_reset, _noted(Kind.PASSWORD_RESET)),
        (account.email_added, _address("added")),
        (account.email_confirmed, _address("confirmed")),
        (account.email_removed, _address("removed")),
        (account.email_changed, _primary),
        (mfa.authenticator_added, _factor("added")),
        (mfa.authenticator_removed, _factor("removed")),
        (mfa.authenticator_reset, _factor("renewed")),
        (social.social_account_added, _connected),
        (social.social_account_removed, _disconnected),
        (mfa.authentication_failed, _noted(Kind.FACTOR_FAILED)),
    ):
        signal.connect(receiver, weak=False)
    LogEntryManager.bulk_create = _save_each  # type: ignore[method-assign, assignment]
    post_save.connect(_staff_action, sender=LogEntry, dispatch_uid="audit.staff_action")
