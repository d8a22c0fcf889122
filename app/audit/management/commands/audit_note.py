"""`manage.py audit_note deploy --who ada@laptop "release 3f9c2a7d10be"`: what operators do from outside."""

from argparse import ArgumentParser
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.models import Entry
from audit.services import note

KINDS: Final = (Entry.Kind.DEPLOY, Entry.Kind.SILENCE)
WHAT_MAX: Final = 1000


class Command(BaseCommand):
    help = "Write an entry into the audit trail, for playbooks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=[str(kind) for kind in KINDS])
        parser.add_argument("--who", required=True, help="user@machine")
        parser.add_argument("what", help="one sentence")

    def handle(self, *args: Any, kind: str, who: str, what: str, **options: Any) -> None:
        if not who.strip() or not what.strip():
            raise CommandError("Say who it was, and what they did: audit_note deploy --who ada@laptop 'release 3f9c'")
        served = f" [{settings.RELEASE.full_version}]" if kind == Entry.Kind.DEPLOY else ""  # by this very program
        note(Entry.Kind(kind), user=None, request=None, what=f"{what[:WHAT_MAX]}{served}", name=who[:150])
