from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Deletion(models.Model):
    """An account that its owner wants deleted: it goes at `due_at`, unless they change their mind."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="deletion"
    )
    requested_at = models.DateTimeField()
    due_at = models.DateTimeField(help_text=_("When the account goes."))

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="deletion_due")]

    def __str__(self) -> str:
        return f"{self.user}: {self.due_at:%Y-%m-%d}"
