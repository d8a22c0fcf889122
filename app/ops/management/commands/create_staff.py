"""`manage.py create_staff`: the first administrator, without a shell prompt. Safe to run on every deploy."""

import os
from argparse import ArgumentParser
from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.urls import reverse

from accounts.models import User
from accounts.services import StaffResult, staff_create
from audit.models import Entry
from audit.services import note


class Command(BaseCommand):
    help = (
        "Make sure that an administrator exists. Reads MATCHPOINT_STAFF_USERNAME, MATCHPOINT_STAFF_EMAIL and, if set, "
        "MATCHPOINT_STAFF_PASSWORD; the first word of the output is created, promoted or unchanged."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default=os.environ.get("MATCHPOINT_STAFF_USERNAME", ""))
        parser.add_argument("--email", default=os.environ.get("MATCHPOINT_STAFF_EMAIL", ""))

    def handle(self, *args: Any, username: str, email: str, **options: Any) -> None:
        if not username or not email:
            raise CommandError(
                "Give a name and an address: MATCHPOINT_STAFF_USERNAME=ada MATCHPOINT_STAFF_EMAIL=ada@example.com "
                "manage.py create_staff"
            )
        # Never an argument: those are visible to every process of the host.
        password = os.environ.get("MATCHPOINT_STAFF_PASSWORD") or None
        try:
            result = self._create(username, email, password)
        except ValidationError as error:
            raise CommandError(f"The account was not created: {' '.join(error.messages)}") from error

        self.stdout.write(
            f"{result.outcome}: {result.user.username} is an administrator of {settings.MATCHPOINT_ORIGIN}"
        )
        if result.outcome == "created":
            step = "Log in" if password else "Set a password"
            url = reverse("account_login") if password else self._password_path(result.user)
            self.stdout.write(f"Next: {step} at {settings.MATCHPOINT_ORIGIN}{url}")
            self.stdout.write("Then the page asks to set up the second factor; /admin/ opens after that.")

    @staticmethod
    @transaction.atomic
    def _create(username: str, email: str, password: str | None) -> StaffResult:
        """An administrator and the audit's entry of it, or neither."""
        result = staff_create(username=username, email=email, password=password)
        if result.outcome != "unchanged":
            what = f"{result.outcome} by manage.py create_staff"
            note(Entry.Kind.STAFF, user=result.user, request=None, what=what, on_staff=True)
        return result

    @staticmethod
    def _password_path(user: User) -> str:
        """The path that sets a password once; good for PASSWORD_RESET_TIMEOUT."""
        key = default_token_generator.make_token(user)
        return reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
