"""`manage.py housekeeping`: what a timer does every night. Several hosts may do it at once."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from privacy.services import accounts_delete_due, guests_expire, sessions_expire


class Command(BaseCommand):
    help = (
        "Delete accounts whose grace is over, forget guests of more than a year ago, remove sessions that have expired."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        self.stdout.write(
            f"{accounts_delete_due(now=now)} accounts deleted, {guests_expire(now=now)} seats of guests forgotten, "
            f"{sessions_expire(now=now)} sessions removed."
        )
