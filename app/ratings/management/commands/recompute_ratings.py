"""`manage.py recompute_ratings`: every rating from the rated matches alone."""

from typing import Any

from django.core.management.base import BaseCommand

from ratings.services import ratings_refold


class Command(BaseCommand):
    help = "Work out all ratings again, in the order of the matches. Results that end meanwhile are stored afterwards."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{ratings_refold()} changes worked out again.")
