import secrets
import string
from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

PUBLIC_ID_ALPHABET = string.ascii_lowercase + string.digits


def public_id_new() -> str:
    """A random id of 12 letters and digits (62 bits), for URLs and the wire."""
    return "".join(secrets.choice(PUBLIC_ID_ALPHABET) for _ in range(12))


class User(AbstractUser):
    """A person with an account. Guests have none: see accounts.players."""

    public_id = models.CharField(max_length=12, default=public_id_new, editable=False)
    display_name = models.CharField(
        _("display name"), max_length=30, blank=True, help_text=_("What other players see. Your username if empty.")
    )

    _opened_with: tuple[Any, Any] | None = None  # of a new one: nothing

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="user_public_id_unique"),
            models.UniqueConstraint(Lower("username"), name="user_username_unique_any_case"),
        ]

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any) -> "User":
        user = super().from_db(db, field_names, values, **kwargs)
        user._opened_with = user._opens_with()
        return user

    def _opens_with(self) -> tuple[Any, Any]:
        """What sessions depend on; None for what was not loaded."""
        return self.__dict__.get("password"), self.__dict__.get("is_active")

    def sessions_ended(self) -> bool:
        """Whether another password, or a ban, has ended the sessions that there were when this was loaded."""
        return self._opened_with not in (None, self._opens_with())

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return self.display_name or self.username


class WaitingMail(models.Model):
    """A mail that the relay has not taken yet: see accounts.mail."""

    content = models.TextField()  # encrypted
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    tries = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="waitingmail_due_at")]

    def __str__(self) -> str:
        return f"mail {self.pk}"
