"""Whom players do not want to meet."""

import logging
from typing import Final

from django.db import DatabaseError, InterfaceError

from moderation.models import Block

logger = logging.getLogger(__name__)

AVOIDED_MAX: Final = 200  # the newest of them


async def avoided(identity: str) -> tuple[str, ...]:
    """The identities that an account has blocked; none of a guest, or while the database is away."""
    kind, _, key = identity.partition(":")
    if kind != "u":
        return ()
    try:
        blocked = Block.objects.filter(by=int(key)).order_by("-pk").values_list("about", flat=True)[:AVOIDED_MAX]
        return tuple([f"u:{about}" async for about in blocked])
    except (DatabaseError, InterfaceError) as error:
        logger.warning("blocks unknown", extra={"error": error})
        return ()
