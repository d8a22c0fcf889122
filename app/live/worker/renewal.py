"""The beat that keeps a worker and its leases alive. Nothing else runs in it."""

import logging
import secrets
from typing import Final

from redis.exceptions import RedisError

from live import metrics
from live.clock import SECOND, Clock
from live.directory import WORKER_SECONDS, Beat, Directory

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 1.0
NEWEST: Final = 0.3  # weight of the last second in the load: a burst of handshakes makes no worker full


class Load:
    """The share of a core that this process uses, over the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before = clock.now(), clock.used()
        self._share = 0.0

    def measure(self) -> float:
        """Once a beat."""
        now, used = self._clock.now(), self._clock.used()
        passed = now - self._before[0]
        if passed >= BEAT_SECONDS * SECOND / 2:
            share = (used - self._before[1]) / passed
            self._share += NEWEST * (share - self._share)
            self._before = now, used
        return self._share


class Renewal:
    """What one worker tells the directory of itself, and how long ago that was heard."""

    def __init__(self, name: str, *, directory: Directory, clock: Clock, release: str, is_reserve: bool) -> None:
        self.run = secrets.token_hex(8)  # tells this process from others under its name
        self.is_cut_off = False  # the directory did not answer the last time
        self._name = name
        self._directory = directory
        self._clock = clock
        self._release = release
        self._is_reserve = is_reserve
        self._heard_at = clock.now()
        self._load = Load(clock)

    @property
    def is_fresh(self) -> bool:
        """Whether no other worker can have been given our matches: the leases have not been silent for too long."""
        return self._clock.now() - self._heard_at < WORKER_SECONDS * SECOND

    async def beat(self, owned: dict[str, int], *, draining: bool, watched: dict[str, int]) -> Beat | None:
        """Renew the worker and the leases of `owned` (match id -> epoch); None when the directory does not answer.

        `watched` counts those who watch, by match id.
        """
        asked_at = self._clock.now()  # from then on at the latest it counts
        try:
            beat = await self._directory.workers.beat(
                self._name,
                release=self._release,
                draining=draining,
                reserve=self._is_reserve,
                owned=owned,
                run=self.run,
                load=self._load.measure(),
                watched=watched,
                calls=self._directory.leases.calls,
            )
        except (RedisError, TimeoutError) as error:
            self.failed(error)
            return None
        if self.is_cut_off:
            self.is_cut_off = False
            logger.info("directory is back", extra={"worker": self._name})
        self._heard_at = asked_at
        metrics.directory_beat.set_to_current_time()
        return beat

    def failed(self, error: Exception) -> None:
        """The directory did not answer somebody. Every failure counts, and the first of a row is logged."""
        metrics.directory_errors.inc()
        if not self.is_cut_off:
            self.is_cut_off = True
            logger.warning("directory unavailable", extra={"worker": self._name, "error": repr(error)})
