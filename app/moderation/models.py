"""What players say of each other, for staff to look at, and whom they do not want to meet."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

TEXT_MAX = 500


class Report(models.Model):
    """A complaint about an account, or about the guest `about_guest`. `guest_id` is of who complained without one."""

    class Kind(models.TextChoices):
        NAME = "name", _("the name")
        CHEATING = "cheating", _("cheating")
        BEHAVIOUR = "behaviour", _("behaviour")

    about = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="reports"
    )
    # An earlier release, which may still serve, does not name these two
    about_guest = models.CharField(max_length=32, blank=True, editable=False, db_default="", default="")
    about_name = models.CharField(max_length=64, blank=True, editable=False, db_default="", default="")
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
            models.CheckConstraint(
                condition=(Q(about_guest="") & ~Q(about=None)) | (Q(about=None) & ~Q(about_guest="")),
                name="report_about_a_user_or_a_guest",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.about or self.about_name}: {self.get_kind_display()}"


class Block(models.Model):
    """That an account does not want to meet another one in the lobby."""

    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False, related_name="blocks")
    about = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="blocked_by")
    at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["by", "about"], name="block_once"),
            models.CheckConstraint(condition=~Q(by=models.F("about")), name="block_another"),
        ]

    def __str__(self) -> str:
        return f"{self.by} > {self.about}"
