"""`manage.py play`: the whole game in one process, with nothing to install or to configure."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

DEFAULT_PORT = 8000


class Command(BaseCommand):
    help = "Run pages and matches in one process, on SQLite and in-process stand-ins."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=DEFAULT_PORT)
        parser.add_argument("--bind", default="127.0.0.1", help="0.0.0.0 lets phones in your network play")

    def handle(self, *args: Any, port: int, bind: str, **options: Any) -> None:
        if not settings.VALKEY_URL.startswith("fake:"):
            raise CommandError("play is for a checkout (MATCHPOINT_ENV=play); hosts run matchpoint.serve.")
        call_command("migrate", verbosity=0, interactive=False)
        from matchpoint.serve import CannotListen, serve

        self.stdout.write(f"Matchpoint: http://localhost:{port}/   (stop with Ctrl+C)")
        try:
            serve("all", port=port, bind=bind, metrics=False)
        except CannotListen as error:
            raise CommandError(f"{error}\nTry another port: manage.py play --port {port + 1}") from error
