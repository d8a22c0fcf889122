"""What players say of each other, for staff to look at."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

TEXT_MAX = 500


class Report(models.Model):
    """A complaint about an account. `guest_id` is of who complained without one."""

    class Kind(models.TextChoices):
        NAME = "name", _("the name")
        CHEATING = "cheating", _("cheating")
        BEHAVIOUR = "behaviour", _("behaviour")

    about = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reports")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="reports_made"
    )
    guest_id = models.CharField(max_length=32, blank=True, editable=False)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    text = models.CharField(_("text"), max_length=TEXT_MAX, blank=True)
    at = models.DateTimeField(_("at"), default=timezone.now)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["at"], name="report_open", condition=Q(closed_at=None))]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["name", "cheating", "behaviour"]), name="report_kind_known"),
            models.CheckConstraint(condition=Q(by=None) | Q(guest_id=""), name="report_by_user_or_guest"),
        ]

    def __str__(self) -> str:
        return f"{self.about}: {self.get_kind_display()}"
