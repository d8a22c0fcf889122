"""`manage.py recount_matches`: what pages say that players played and won, from the matches alone."""

from typing import Any

from django.core.management.base import BaseCommand

from matches.tally import tallies_recount_all


class Command(BaseCommand):
    help = "Count the matches of every account again. Results that end meanwhile wait for a moment."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{tallies_recount_all()} accounts had another number.")
