"""Identities that were logged out, banned or given another password, and matches that end, told to every live worker.

A stream in Valkey tells the workers, each of which remembers how far it has read: what is said while one cannot listen
is heard later. A key for each identity outlives its tokens, so that none of these opens anything.
"""

import time
from typing import Any, Final, cast

from django.conf import settings
from redis import Redis

from live.directory.store import Store
from live.protocol.tokens import TOKEN_SECONDS, SeatClaim

STREAM: Final = "mp:revocations"
STREAM_LENGTH: Final = 10_000
BAN_SECONDS: Final = 366 * 24 * 3600  # longer than a browser keeps a guest
_TIMEOUT_S: Final = 1.0
_MATCH: Final = "m:"


class Revocations:
    """The workers' side."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self) -> str:
        """The position of the newest revocation."""
        newest = await self._store.client.xrevrange(STREAM, count=1)
        return str(newest[0][0]) if newest else "0-0"

    async def after(self, position: str) -> tuple[str, dict[str, int]]:
        """The newest position, and the identities that were revoked after `position` by when (s since 1970)."""
        entries = cast(Any, await self._store.client.xrange(STREAM, min=f"({position}"))
        revoked = {fields["identity"]: int(entry.partition("-")[0]) // 1000 for entry, fields in entries}
        return (entries[-1][0] if entries else position), revoked

    async def include(self, claim: SeatClaim) -> bool:
        """Whether the identity was revoked after the token of `claim` was issued, or in the same second."""
        revoked_at = await self._store.client.get(_key(claim.identity))
        return revoked_at is not None and int(revoked_at) >= claim.issued_at


def revoke(identity: str) -> None:
    """Close the sockets of `identity` at every worker, and make its tokens worthless. Raises redis' errors.

    Whoever kept the seats of a guest while signing in leaves those as well. For synchronous code: a connection of its
    own, once in a while.
    """
    with _client() as client:
        kept = cast(set[str | bytes], client.smembers(kept_key(identity)))
        identities = [identity, *sorted(each.decode() if isinstance(each, bytes) else each for each in kept)]
        with client.pipeline(transaction=True) as pipe:
            for each in identities:
                if cast(int, client.ttl(_key(each))) <= 2 * TOKEN_SECONDS:  # else it is banned
                    pipe.set(_key(each), int(time.time()), ex=2 * TOKEN_SECONDS)
                pipe.xadd(STREAM, {"identity": each}, maxlen=STREAM_LENGTH, approximate=True)
            pipe.execute()


def ban(guest: str) -> None:
    """Close the sockets of a guest's identity, and make its tokens worthless from now on. Raises redis' errors.

    Accounts have a better way. A guest who throws the cookie away is another one.
    """
    with _client() as client, client.pipeline(transaction=True) as pipe:
        pipe.set(_key(guest), int(time.time()) + BAN_SECONDS, ex=BAN_SECONDS)
        pipe.xadd(STREAM, {"identity": guest}, maxlen=STREAM_LENGTH, approximate=True)
        pipe.execute()


def unban(guest: str) -> None:
    """Raises redis' errors."""
    with _client() as client:
        client.delete(_key(guest))


def is_banned(guest: str) -> bool:
    """Raises redis' errors."""
    with _client() as client:
        return cast(int, client.ttl(_key(guest))) > 2 * TOKEN_SECONDS


def call_off(match_id: str) -> None:
    """Have whoever owns the match end it, with no winner. Raises redis' errors.

    An older worker looks for a player of that name. Nobody hears of it while the match is on its way to another worker.
    """
    with _client() as client:
        client.xadd(STREAM, {"identity": f"{_MATCH}{match_id}"}, maxlen=STREAM_LENGTH, approximate=True)


def called_off(identity: str) -> str:
    """The match, of an entry by `call_off`; else empty."""
    return identity.removeprefix(_MATCH) if identity.startswith(_MATCH) else ""


def kept_key(identity: str) -> str:
    """A set of the guests whose seats an account kept."""
    return f"mp:kept:{identity}"


def _key(identity: str) -> str:
    return f"mp:revoked:{identity}"


def _client() -> Redis:
    if settings.VALKEY_URL.startswith("fake://"):
        from fakeredis import FakeRedis

        from live.directory import fake_server

        return FakeRedis(server=fake_server())
    return Redis.from_url(settings.VALKEY_URL, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
