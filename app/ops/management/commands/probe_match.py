"""`manage.py probe_match --worker NAME`: does this live worker play?"""

import asyncio
import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from redis.exceptions import RedisError

from live.bot.probe import probe
from live.bot.site import Failure
from live.directory import get_directory
from matchpoint.serve import worker_name

TIMEOUT_S = 20.0


class Command(BaseCommand):
    help = (
        "Let two bots play to one point on a live worker, at its own address: no edge, no pages, no result. Prints one "
        "line of JSON; ends with 1 and a sentence when the worker does not play."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--worker", required=True, metavar="NAME", help="<host>-<port>, as the directory has it")
        parser.add_argument(
            "--address", metavar="HOST:PORT", help="where it listens; needed unless it is 127.0.0.1 of this host"
        )
        parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="default: %(default)g")

    def handle(self, *args: Any, worker: str, address: str | None, timeout: float, **options: Any) -> None:
        host, port = _address(worker, address)
        try:
            result = asyncio.run(_probe(worker, host, port, timeout))
        except (Failure, RedisError, TimeoutError) as error:
            why = str(error) if isinstance(error, Failure) else f"Valkey does not answer: {error}"
            self.stdout.write(json.dumps({"worker": worker, "error": why}))
            raise CommandError(f"Worker {worker} does not play: {why}") from error
        self.stdout.write(json.dumps(result))


async def _probe(worker: str, host: str, port: int, timeout_s: float) -> dict[str, Any]:
    directory = get_directory()
    try:
        return await probe(
            directory,
            worker=worker,
            address=host,
            port=port,
            origin=settings.MATCHPOINT_ORIGIN,
            timeout_s=timeout_s,
        )
    finally:
        await directory.close()


def _address(worker: str, address: str | None) -> tuple[str, int]:
    """What to dial. CommandError when nobody can tell."""
    host, _, port = (address or f"127.0.0.1:{worker.rpartition('-')[2]}").rpartition(":")
    if not host or not port.isdigit():
        raise CommandError(f"{address or worker} names no port. Example: --worker app1-8101 --address 127.0.0.1:8101")
    if address is None and worker_name(int(port)) != worker:
        raise CommandError(f"Worker {worker} is not one of this host: say where it listens with --address HOST:PORT")
    return host.strip("[]"), int(port)
