"""How often an identity or an address may do something: fixed windows, counted in the cache."""

import time
from dataclasses import dataclass

from django.core.cache import cache


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` times in each window of `window_s` seconds."""

    scope: str
    count: int
    window_s: int

    async def exceeded_for_s(self, key: str) -> int:
        """Count one more for `key`. 0 when it is allowed, else the seconds to wait.

        Without Valkey everything is allowed: a cache outage must not stop the game.
        """
        now = int(time.time())
        window, elapsed_s = divmod(now, self.window_s)
        cache_key = f"limit:{self.scope}:{key}:{window}"
        if await cache.aadd(cache_key, 1, self.window_s):
            return 0
        try:
            used = await cache.aincr(cache_key)
        except ValueError:  # it expired between the two calls
            return 0
        return 0 if used <= self.count else self.window_s - elapsed_s
