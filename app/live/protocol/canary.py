"""Who may play as the canary: the pair of bots of an app host that plays through the site every minute.

Its matches are played and stored like any other, but told apart by their ids: they are counted under a mode of their
own, are one point long, and are forgotten after a while. The permission proves the knowledge of the site's key.
"""

import hmac
import time
from typing import Final

PERMISSION_SECONDS: Final = 60

_PURPOSE: Final = b"matchpoint.live.canary:"


def permission(key: str, *, now: float | None = None) -> str:
    """A permission to open a canary match, good for `PERMISSION_SECONDS`. `key` is the site's secret key."""
    moment = str(int(time.time() if now is None else now))
    return f"{moment}:{_digest(key, moment)}"


def is_permission(text: object, keys: list[str], *, now: float | None = None) -> bool:
    """Whether `text` is a fresh permission, made with one of `keys`."""
    moment, _, digest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 12 and digest.isascii()):
        return False
    is_fresh = abs((time.time() if now is None else now) - int(moment)) <= PERMISSION_SECONDS
    return is_fresh and any(hmac.compare_digest(digest, _digest(key, moment)) for key in keys)


def _digest(key: str, moment: str) -> str:
    return hmac.new(key.encode(), _PURPOSE + moment.encode(), "sha256").hexdigest()
