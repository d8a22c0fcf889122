"""Whom players do not want to meet."""

import asyncio
import logging
from typing import Final

from channels.db import database_sync_to_async
from django.db import DatabaseError, InterfaceError

from moderation.models import Block

logger = logging.getLogger(__name__)

AVOIDED_MAX: Final = 200  # the newest of them
PATIENCE_S: Final = 1.0  # of somebody who wants to play, with a database that does not answer


async def avoided(identity: str) -> tuple[str, ...]:
    """The identities that an account has blocked; none of a guest, or while the database is away."""
    kind, _, key = identity.partition(":")
    if kind != "u":
        return ()
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await database_sync_to_async(_blocked)(int(key))
    except (DatabaseError, InterfaceError, TimeoutError) as error:
        logger.warning("blocks unknown", extra={"error": repr(error)})
        return ()


def _blocked(by: int) -> tuple[str, ...]:
    blocked = Block.objects.filter(by=by).order_by("-pk").values_list("about", flat=True)[:AVOIDED_MAX]
    return tuple(f"u:{about}" for about in blocked)
