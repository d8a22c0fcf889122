"""`manage.py rekey`: the second half of a change of the key. Safe to run twice."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.rekey import rekey


class Command(BaseCommand):
    help = "Encrypt second factors and sign sessions with SECRET_KEY that were with one of SECRET_KEY_FALLBACKS."

    def handle(self, *args: Any, **options: Any) -> None:
        done = rekey()
        self.stdout.write(f"{done.second_factors} second factors and {done.sessions} sessions are under the new key.")
