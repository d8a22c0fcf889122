"""The server processes: `python -m matchpoint.serve web --port 8001` and `python -m matchpoint.serve live --port 8101`.

`web` serves pages, `live` owns matches as worker `<MATCHPOINT_HOST>-<port>`, `all` does both (`manage.py play`).
Metrics are on port + 10000, answered by a thread, so that they can be read while the event loop is stuck. SIGTERM and
SIGINT stop the process in order and within `STOP_SECONDS`: not ready, no new match, each match handed over to another
worker between two rallies (live.worker.drain), sockets closed, running requests finished.
"""

import argparse
import asyncio
import gc
import logging
import os
import random
import re
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from matchpoint import watchdog

logger = logging.getLogger("matchpoint.serve")

METRICS_OFFSET: Final = 10_000
STOP_SECONDS: Final = 70.0  # 45 to drain, 8 for results, 5 for requests, and the directory's timeouts in between
REQUEST_SECONDS: Final = 5.0
LAST_CALL_SECONDS: Final = 1.0  # for edges to learn that connections for pages end
GC_THRESHOLDS: Final = (50_000, 20, 20)  # few, since a match makes little garbage with cycles
ROLES: Final = ("web", "live", "all")


class CannotListen(Exception):
    """The port is taken, or not ours to use; the text says which and why."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="matchpoint.serve", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        serve(options.role, port=options.port, bind=options.bind)
    except CannotListen as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def serve(role: str, *, port: int, bind: str = "127.0.0.1", metrics: bool = True) -> None:
    """Run until a signal says stop. Raises CannotListen.

    Imports come late and in this order: the policy of the event loop, then Daphne, which makes the loop, then the app.
    """
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matchpoint.settings")

    from live.transport.server import Server
    from matchpoint import asgi  # loads the settings

    process = _Process(role, port)
    address = bind.replace(":", "\\:")
    endpoint = f"tcp:{port}:interface={address}"
    application = asgi.sockets_only if role == "live" else asgi.application
    server = Server(application, endpoint=endpoint, ready=lambda: process.ready(server), is_paced=role == "live")
    if metrics:
        _serve_metrics(role, bind, port + METRICS_OFFSET)
    logging.getLogger("daphne").setLevel(logging.WARNING)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    server.run()
    if server.failed:
        raise CannotListen(f"cannot listen on {bind} port {port}: {server.failed}")
    if process.failure is not None:
        raise process.failure


def worker_name(port: int) -> str:
    """`<host>-<port>`, as socket URLs and the edge have it."""
    from django.conf import settings

    return re.sub(r"[^a-z0-9-]+", "-", f"{settings.MATCHPOINT_HOST}-{port}".lower())


def _serve_metrics(role: str, bind: str, port: int) -> None:
    from django.conf import settings
    from prometheus_client import REGISTRY, disable_created_metrics, start_http_server

    from live import metrics
    from ops.dependencies import DATABASE, VALKEY, Dependencies, database_ask, valkey_ask

    disable_created_metrics()  # they would double the number of series
    metrics.build_info.labels(settings.RELEASE.full_version, settings.RELEASE.revision).set(1)
    if role == "web":
        REGISTRY.register(Dependencies({database_ask: DATABASE, valkey_ask: VALKEY}))
    try:
        start_http_server(port, addr=bind)
    except OSError as error:
        raise CannotListen(f"cannot listen on {bind} port {port} (metrics): {error.strerror}") from error


class Stoppable(Protocol):
    """What the process needs of `live.transport.server.Server`; importing that would make the event loop."""

    async def finish_requests(self, seconds: float, *, last_call: float = 0.0) -> None: ...

    def stop(self) -> None: ...


class _Process:
    """What goes on beside the server: the worker of a live process, readiness, and the orderly stop."""

    def __init__(self, role: str, port: int) -> None:
        self._role = role
        self._port = port
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None

    def ready(self, server: Stoppable) -> None:
        """Called by Daphne when it listens, with its event loop as the current one."""
        loop = asyncio.get_event_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon, server)
        logger.info("listening", extra={"role": self._role, "port": self._port})
        self._spawn(watchdog.beat(), server)
        self._spawn(self._start(server), server)

    async def _start(self, server: Stoppable) -> None:
        from ops.health import probe

        probe.check_add("draining", self._check_draining)
        if self._role != "live":
            from accounts.mail import sender_start
            from audit.services import watch_start

            sender_start()
            watch_start()
            self._open_lobby(server)
        if self._role == "web":
            return
        from pathlib import Path

        from django.conf import settings

        from live.clock import LoopClock
        from live.directory import get_directory
        from live.worker import worker as live_worker
        from live.worker.results import ResultWriter

        worker = live_worker.Worker(
            worker_name(self._port),
            directory=get_directory(),
            results=ResultWriter(Path(settings.STATE_DIR) / "results"),
            clock=LoopClock(),
            rng=random.SystemRandom().random,
            release=settings.DEPLOYED,
            is_reserve=self._port == settings.LIVE_RESERVE_PORT,
        )
        live_worker.install(worker)
        await worker.start()

    def _open_lobby(self, server: Stoppable) -> None:
        from live.clock import LoopClock
        from live.directory import get_directory
        from lobby.hall import Hall, install
        from moderation.selectors import avoided

        hall = Hall(get_directory(), clock=LoopClock(), coin=random.SystemRandom().random, avoided=avoided)
        install(hall)
        self._spawn(hall.run(), server)

    async def _check_draining(self) -> dict[str, str]:
        return {"draining": "draining" if self._is_stopping else "ok"}

    def _stop_soon(self, server: Stoppable) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self._spawn(self._stop(server), server)

    async def _stop(self, server: Stoppable) -> None:
        from live.worker.worker import installed
        from lobby.hall import installed as lobby

        logger.info("stopping", extra={"role": self._role, "port": self._port})
        # A thread that hangs in the database must not hold up the process: what it writes is in the spool. It is
        # no end in order.
        last_resort = threading.Timer(STOP_SECONDS, os._exit, args=(1,))
        last_resort.daemon = True
        last_resort.start()
        hall, worker = lobby(), installed()
        if hall is not None:
            await hall.stop()
        if worker is not None:
            await worker.stop()
        await server.finish_requests(REQUEST_SECONDS, last_call=LAST_CALL_SECONDS if self._role == "web" else 0.0)
        server.stop()

    def _spawn(self, work: Coroutine[Any, Any, None], server: Stoppable) -> None:
        task = asyncio.get_event_loop().create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                self.failure = task.exception()
                server.stop()

        task.add_done_callback(done)


if __name__ == "__main__":
    sys.exit(main())
