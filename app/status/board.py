"""What this process knows of the site's state: asked again at most every 20 s, by one thread, and never forgotten.

The last good answer is kept on disk as well, for the other processes of the host, for the next start, and for days that
Prometheus has forgotten.
"""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from django.conf import settings

from status.measure import measure_history, measure_now
from status.model import History, Now, Reading, history_from_json, merged, now_from_json
from status.prometheus import Prometheus, Unavailable

logger = logging.getLogger(__name__)

ASK_EVERY_S: Final = 20.0
HISTORY_EVERY_S: Final = 300.0
CURRENT_S: Final = 60.0  # what is older is called the last known
NOW_BUDGET_S: Final = 1.5  # of each Prometheus, for all questions about now together
HISTORY_BUDGET_S: Final = 8.0
PATIENCE_S: Final = 2.5  # of a visitor, for an answer that is newer than the last one


class Board:
    """The state as told by whichever of `urls` answers. `clock` is monotonic, `wall` in seconds since 1970."""

    def __init__(
        self,
        urls: list[str],
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._urls = list(urls)
        self._path = path
        self._clock = clock
        self._wall = wall
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="status")
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._asked_at = -ASK_EVERY_S
        self._history_asked_at = -HISTORY_EVERY_S
        self._has_answer = False
        self._known = Reading("unavailable")

    async def read(self, *, patience_s: float = PATIENCE_S) -> Reading:
        """What is known, within `patience_s`. Never raises, and never asks twice at a time."""
        if not self._urls:
            return Reading("not-configured")
        running = self._ask_if_due()
        if running is not None and not running.done():
            waiting = asyncio.wrap_future(running)
            await asyncio.wait({waiting}, timeout=patience_s)
            waiting.cancel()  # only the waiting: what runs in the thread goes on
        return self._reading()

    def _reading(self) -> Reading:
        known, has_answer = self._known, self._has_answer
        if known.now is None:
            return replace(known, freshness="unavailable")
        is_current = has_answer and abs(self._wall() - known.now.at) <= CURRENT_S
        return replace(known, freshness="current" if is_current else "last-known")

    def _ask_if_due(self) -> Future[None] | None:
        with self._lock:
            if self._running is not None and not self._running.done():
                return self._running
            if self._clock() - self._asked_at < ASK_EVERY_S:
                return None
            self._asked_at = self._clock()
            self._running = self._thread.submit(self._ask_safely)
            return self._running

    def _ask_safely(self) -> None:
        try:
            self._ask()
        except Exception:  # whatever was answered: the page goes on with what it knows
            self._has_answer = False
            logger.exception("status not read")

    def _ask(self) -> None:
        url, now = self._ask_now()
        self._has_answer = now is not None
        if now is None:
            self._recall()
            return
        self._known = replace(self._known, now=now)
        if self._clock() - self._history_asked_at >= HISTORY_EVERY_S or self._known.history is None:
            self._history_asked_at = self._clock()
            if self._known.history is None:
                self._recall()
            history = self._ask_history(url)
            if history is not None:
                known = self._known.history
                self._known = replace(self._known, history=merged(history, known) if known else history)
        self._remember()

    def _ask_now(self) -> tuple[str, Now | None]:
        """The first that knows anything is believed; one that has just been set up knows nothing yet."""
        answers: list[tuple[str, Now]] = []
        for url in self._urls:
            try:
                with Prometheus(url, seconds=NOW_BUDGET_S) as prometheus:
                    now = measure_now(prometheus, at=self._wall())
            except Unavailable as error:
                logger.warning("no measurements", extra={"prometheus": url, "error": error})
                continue
            if now.is_measured:
                return url, now
            answers.append((url, now))
        return answers[0] if answers else ("", None)

    def _ask_history(self, url: str) -> History | None:
        try:
            with Prometheus(url, seconds=HISTORY_BUDGET_S) as prometheus:
                return measure_history(prometheus, at=self._wall())
        except Unavailable as error:
            logger.warning("no history", extra={"prometheus": url, "error": error})
            return None

    def _remember(self) -> None:
        """Keep what is known on disk, as a whole file or not at all."""
        mine = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            mine.write_text(json.dumps(self._known.to_json()), encoding="utf-8")
            mine.replace(self._path)
        except OSError as error:
            logger.warning("status not kept on disk", extra={"error": error})

    def _recall(self) -> None:
        """Take from disk what is newer than what this process knows."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            now, history = now_from_json(data["now"]), data["history"] and history_from_json(data["history"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("status on disk cannot be read", extra={"error": error})
            return
        known = self._known
        self._known = replace(
            known,
            now=now if known.now is None or now.at > known.now.at else known.now,
            history=history or None if known.history is None else known.history,
        )


@cache
def get_board() -> Board:
    """The one of this process."""
    return Board(settings.PROMETHEUS_URLS, Path(settings.STATE_DIR) / "status.json")
