"""Results of finished matches on their way to the database: spooled to disk first, written by threads, never lost.

The spool is a directory of one JSON file a match. A file goes away when the database has committed; whatever is left
(the database was down, the process died) is tried again, by any worker of the host, since writing is idempotent.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from live import metrics
from live.records import FinishedMatch

logger = logging.getLogger(__name__)

THREADS: Final = 2
RETRY_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 10.0  # younger files are somebody's first attempt

Save = Callable[[FinishedMatch], bool]


class ResultWriter:
    """Writes results with `save`, which answers whether the match was new, and raises when it could not commit.

    `save` raises ConnectionError when the database cannot be reached, and anything else over this one record.
    """

    def __init__(self, spool: Path, save: Save | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._spool = spool
        self._save = save or save_in_database
        self._now = now
        self.saved_late: list[str] = []  # ids of matches whose results `retry` has saved; the reader removes them
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="results")

    async def write(self, record: FinishedMatch) -> bool:
        """Make the result durable. True when the database has it, False when it waits in the spool.

        Raises what the database raised if the disk refused it as well.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._write, record)

    async def retry(self, *, fresh_seconds: float = FRESH_SECONDS) -> int:
        """Try the files of the spool that are older than `fresh_seconds` again; answers how many are left in all."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._retry, fresh_seconds)

    def close(self) -> None:
        """Wait for the writes that run, and start no other."""
        self._pool.shutdown(wait=True)

    def _write(self, record: FinishedMatch) -> bool:
        path = self._keep(record)
        try:
            self._commit(record, path)
        except Exception:
            if path is None:
                raise
            return False
        finally:
            self._count()
        return True

    def _keep(self, record: FinishedMatch) -> Path | None:
        """Put the record on disk for good; None when the disk refuses."""
        path = self._spool / f"{record.spec.id}.json"
        part = path.with_suffix(".part")
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as file:
                json.dump(record.to_json(), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            folder = os.open(self._spool, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            logger.exception("cannot spool a result", extra={"match": record.spec.id})
            return None
        return path

    def _commit(self, record: FinishedMatch, path: Path | None) -> None:
        try:
            is_new = self._save(record)
        except Exception as error:
            metrics.results_failed.inc()
            logger.error("result not saved yet", extra={"match": record.spec.id, "error": error})
            raise
        if path is not None:
            path.unlink(missing_ok=True)
        if is_new:
            metrics.results_saved.inc()
            logger.info("result saved", extra={"match": record.spec.id})

    def _retry(self, fresh_seconds: float) -> int:
        for path in self._files():
            try:
                if self._now() - path.stat().st_mtime < fresh_seconds:
                    continue
                record = FinishedMatch.from_json(json.loads(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue  # another worker was faster
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                logger.exception("cannot read a spooled result", extra={"file": path.name})
                continue
            try:
                self._commit(record, path)
                self.saved_late.append(record.spec.id)
            except ConnectionError:
                break  # the database is down for the others as well
            except Exception:  # noqa: S112 - it is logged, and must not hold up the others
                continue
        return self._count()

    def _files(self) -> list[Path]:
        return sorted(self._spool.glob("*.json"))

    def _count(self) -> int:
        count = len(self._files())
        metrics.results_spooled.set(count)
        return count


def save_in_database(record: FinishedMatch) -> bool:
    """The only way from `live/` to the ORM. ConnectionError while the database is away."""
    from django.db import InterfaceError, OperationalError, close_old_connections

    from matches.services import match_finish

    close_old_connections()
    try:
        return match_finish(record=record)
    except (OperationalError, InterfaceError) as error:
        raise ConnectionError(str(error)) from error
    finally:
        close_old_connections()
