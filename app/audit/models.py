from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Entry(models.Model):
    """Who did what, to be read only. PostgreSQL refuses every change, and the removal of what is younger than a year.

    Names are kept as they were: an account that is deleted or renamed changes nothing here.
    """

    class Kind(models.TextChoices):
        LOGIN = "login", _("login")
        LOGIN_FAILED = "login-failed", _("failed login")
        LOGOUT = "logout", _("logout")
        PASSWORD = "password", _("password changed")
        PASSWORD_RESET = "password-reset", _("password set by mail")
        ADDRESS = "address", _("address changed")
        FACTOR = "factor", _("second factor changed")
        FACTOR_FAILED = "factor-failed", _("second factor failed")
        STAFF = "staff", _("staff action")
        SILENCE = "silence", _("silence")
        DEPLOY = "deploy", _("deploy")

    at = models.DateTimeField(_("at"), default=timezone.now)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    user_pk = models.BigIntegerField(_("account number"), null=True)
    name = models.CharField(_("account"), max_length=150, blank=True)
    address = models.GenericIPAddressField(_("address"), null=True)
    what = models.TextField(_("what"), blank=True)
    on_staff = models.BooleanField(_("changes staff"), default=False, db_default=False)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["at"], name="audit_entry_at"),
            models.Index(fields=["user_pk", "at"], name="audit_entry_user"),
            models.Index(fields=["at"], name="audit_entry_staff", condition=models.Q(on_staff=True)),
        ]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()
