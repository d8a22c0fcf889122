import logging
import secrets
from dataclasses import dataclass
from typing import Literal

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from redis.exceptions import RedisError

from accounts.models import User
from live.directory.revocations import revoke

logger = logging.getLogger(__name__)


def sockets_close(*, user_pk: object) -> None:
    """Close every match socket of a user once the transaction is through, and make tokens for seats worthless."""

    def close() -> None:
        try:
            revoke(f"u:{user_pk}")
        except RedisError as error:  # the session is gone in any case
            logger.error("sockets stay open", extra={"user": user_pk, "error": error})

    transaction.on_commit(close)


@dataclass(frozen=True, slots=True)
class StaffResult:
    user: User
    outcome: Literal["created", "promoted", "unchanged"]


@transaction.atomic
def staff_create(*, username: str, email: str, password: str | None) -> StaffResult:
    """Make sure that `username` is an administrator. An existing account keeps its password and address.

    Anybody can register under a name, so a player's account is promoted only if it has confirmed `email`.
    Without a password a new account gets a random one that nobody knows; it is then set by mail or by a link.
    ValidationError when the account is a stranger's, the password too weak, or the name or address malformed or taken.
    """
    user = User.objects.select_for_update().filter(username__iexact=username).first()
    if user is not None:
        if user.is_staff and user.is_superuser and user.is_active:
            return StaffResult(user, "unchanged")
        if not EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists():
            raise ValidationError(
                f"There is a player {user.username} who has not confirmed the address {email}. "
                "Take another name, or confirm the address first: that is done on the page /accounts/email/."
            )
        user.is_staff = user.is_superuser = user.is_active = True
        user.save(update_fields=["is_staff", "is_superuser", "is_active"])
        return StaffResult(user, "promoted")

    if EmailAddress.objects.filter(email__iexact=email, verified=True).exists():
        raise ValidationError(f"The address {email} belongs to another account.")
    user = User(username=username, email=email, is_staff=True, is_superuser=True)
    if password is not None:
        validate_password(password, user)
    user.set_password(password or secrets.token_urlsafe(32))
    user.full_clean()
    user.save()
    # The operator vouches for the address: without a verified one, TOTP could not be set up.
    EmailAddress.objects.create(user=user, email=email.lower(), verified=True, primary=True)
    return StaffResult(user, "created")
