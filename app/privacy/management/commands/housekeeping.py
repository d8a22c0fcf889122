"""`manage.py housekeeping`: what a timer does every night. Several hosts may do it at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from matches.tally import tallies_recount_all
from privacy.services import accounts_delete_due, audit_expire, guests_expire, sessions_expire


class Command(BaseCommand):
    help = (
        "Delete accounts whose grace is over, forget guests of more than a year ago, "
        "remove sessions that have expired and audit entries of more than a year ago, and count matches again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        deleted, failed = accounts_delete_due(now=now)
        self.stdout.write(
            f"{deleted} accounts deleted, {guests_expire(now=now)} seats of guests forgotten, "
            f"{sessions_expire(now=now)} sessions and {audit_expire(now=now)} audit entries removed, "
            f"{tallies_recount_all()} tallies corrected."
        )
        if failed:
            accounts = "1 account" if failed == 1 else f"{failed} accounts"
            raise CommandError(f"{accounts} could not be deleted; the log says why.")
