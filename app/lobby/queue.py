"""The queue in Valkey: who waits, who has met whom, who is here. Safe with any number of processes at a time.

Keys (values are JSON unless said otherwise):

    mp:lobby:ticket:<identity>  who waits (lobby.pairing.Ticket); lives 4 s, renewed by the process that has the socket
    mp:lobby:queue              sorted set of those identities by since when they wait (s); ends with the last ticket
    mp:lobby:met:<identity>     whom it met, and its ticket, which it gets back if the other does not come; lives 8 s
    mp:lobby:matches            sorted set of the matches of those who met, by mean rating (live.directory adds)
    mp:lobby:here               sorted set of identities with an open lobby by when that was last so (s)
    mp:lobby:leader             text, the process that makes the pairs; lives 1 s

A player has a ticket or has met somebody, never both: the same transaction takes two tickets and writes two meetings.
Transactions are WATCH/MULTI as in live.directory, so the in-process stand-in of `manage.py play` needs nothing special.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import Struct
from redis.asyncio.client import Pipeline

from live.directory import Damaged, Standing
from live.directory.store import WATCHABLE, Store, begin, match_key, read_spec, readable, text_of, texts_of
from live.records import UnknownSchema
from lobby.pairing import Ticket

TICKET_SECONDS: Final = 4
MET_SECONDS: Final = 8  # long enough for a page that comes back; a new wait later is another one
HERE_SECONDS: Final = 5.0
LEADER_MS: Final = 1000
LOOKED_AT: Final = 2000  # of the longest waiters, at a time

SHOWN: Final = 30  # of the strongest matches, that are looked at

QUEUE: Final = "mp:lobby:queue"
HERE: Final = "mp:lobby:here"
LEADER: Final = "mp:lobby:leader"


class Met(Struct, frozen=True):
    """One side of a pair. `other` and `ticket` are the tickets of both; `at` in s; `coming`: its page knows."""

    match: str
    at: float
    ticket: Ticket
    other: Ticket
    coming: bool = False


class Shown(Struct, frozen=True):
    """A match that others may watch. `score` is that of the last rally boundary."""

    id: str
    names: tuple[str, str]
    score: tuple[int, int]


T = TypeVar("T")
_encode: Final = msgspec.json.Encoder().encode
_tickets: Final = msgspec.json.Decoder(Ticket)
_meetings: Final = msgspec.json.Decoder(Met)


def _read(decoder: "msgspec.json.Decoder[T]", text: str | None) -> T | None:
    """What is stored; None when nothing is, or nothing that could be read: then it is written anew."""
    try:
        return decoder.decode(text) if text else None
    except msgspec.MsgspecError:
        return None


def ticket_key(identity: str) -> str:
    return f"mp:lobby:ticket:{identity}"


def met_key(identity: str) -> str:
    return f"mp:lobby:met:{identity}"


class Queue:
    """Raises redis' errors when Valkey cannot be reached."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client = store.client

    async def join(self, ticket: Ticket) -> Ticket | None:
        """The ticket as it is kept: whoever waits already has the earlier `since`. None: has just met somebody."""
        key = ticket_key(ticket.identity)

        async def attempt(pipe: Pipeline) -> Ticket | None:
            await pipe.watch(key, met_key(ticket.identity))
            text, met = await texts_of(pipe, key, met_key(ticket.identity))
            if met:
                return None
            before = _read(_tickets, text)
            kept = msgspec.structs.replace(ticket, since=min(ticket.since, before.since)) if before else ticket
            begin(pipe)
            _queue_ticket(pipe, kept)
            await pipe.execute()
            return kept

        return await self._store.transaction(attempt)

    async def renew(self, tickets: Iterable[Ticket]) -> None:
        """They still wait."""
        async with self._client.pipeline(transaction=False) as pipe:
            for ticket in tickets:
                pipe.expire(ticket_key(ticket.identity), TICKET_SECONDS)
                pipe.zadd(QUEUE, {ticket.identity: ticket.since}, nx=True)
            pipe.expire(QUEUE, TICKET_SECONDS)
            await pipe.execute()

    async def leave(self, identity: str, *, holder: str) -> None:
        """Wait no longer, unless another socket than `holder` does by now."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(ticket_key(identity))
            ticket = _read(_tickets, await text_of(pipe, ticket_key(identity)))
            if ticket is not None and ticket.holder != holder:
                return
            begin(pipe)
            pipe.delete(ticket_key(identity))
            pipe.zrem(QUEUE, identity)
            await pipe.execute()

        await self._store.transaction(attempt)

    async def look(self, identities: Sequence[str]) -> list[tuple[Ticket | None, Met | None]]:
        """What there is of each of `identities`."""
        if not identities:
            return []
        keys = [key(identity) for identity in identities for key in (ticket_key, met_key)]
        texts = await self._texts(keys)
        tickets = [_read(_tickets, text) for text in texts[::2]]
        return list(zip(tickets, [_read(_meetings, text) for text in texts[1::2]], strict=True))

    async def waiting(self) -> list[Ticket]:
        """Those who wait, the longest first. Whoever did not renew the ticket is gone."""
        identities = cast("list[str]", await self._client.zrange(QUEUE, 0, LOOKED_AT - 1))
        if not identities:
            return []
        texts = await self._texts([ticket_key(identity) for identity in identities])
        found = {identity: _read(_tickets, text) for identity, text in zip(identities, texts, strict=True)}
        gone = [identity for identity, ticket in found.items() if ticket is None]
        if gone:  # one that waits again just now adds itself with the next renewal
            await self._client.zrem(QUEUE, *gone)
        return [ticket for ticket in found.values() if ticket is not None]

    async def _texts(self, keys: list[str]) -> list[str | None]:
        """The client decodes, which its types cannot tell."""
        return cast("list[str | None]", await self._client.mget(keys))

    async def pair(self, one: Ticket, other: Ticket, *, match: str, at: float) -> bool:
        """Let two meet in `match`; False when one of them does not wait any more as the ticket says."""
        both = (one, other)
        keys = [ticket_key(ticket.identity) for ticket in both]

        async def attempt(pipe: Pipeline) -> bool:
            await pipe.watch(*keys)
            if [_read(_tickets, text) for text in await texts_of(pipe, *keys)] != [one, other]:
                return False
            begin(pipe)
            pipe.delete(*keys)
            pipe.zrem(QUEUE, *(ticket.identity for ticket in both))
            for ticket, opponent in (both, both[::-1]):
                _queue_met(pipe, Met(match, at, ticket, opponent))
            await pipe.execute()
            return True

        return await self._store.transaction(attempt)

    async def confirm(self, identity: str, match: str) -> None:
        """The page of `identity` knows of the match."""

        async def attempt(pipe: Pipeline) -> None:
            await pipe.watch(met_key(identity))
            met = _read(_meetings, await text_of(pipe, met_key(identity)))
            if met is None or met.match != match or met.coming:
                return
            begin(pipe)
            _queue_met(pipe, msgspec.structs.replace(met, coming=True))
            await pipe.execute()

        await self._store.transaction(attempt)

    async def decline(self, met: Met) -> bool:
        """The player of `met` does not want it: the other one waits on, as long as before."""
        return await self._call_off(met, stays=met.other)

    async def miss(self, met: Met) -> bool:
        """The other one of `met` did not come: its player waits on. False if the other is coming after all."""
        return await self._call_off(met, stays=met.ticket, unless_coming=met.other)

    async def _call_off(self, met: Met, *, stays: Ticket, unless_coming: Ticket | None = None) -> bool:
        """Undo a pair. False when it is none any more."""
        keys = [met_key(ticket.identity) for ticket in (met.ticket, met.other)]

        async def attempt(pipe: Pipeline) -> bool:
            await pipe.watch(*keys)
            own, other = [_read(_meetings, text) for text in await texts_of(pipe, *keys)]
            if own is None or own.match != met.match:
                return False
            is_both = other is not None and other.match == met.match
            if unless_coming is not None and is_both and other is not None and other.coming:
                return False
            begin(pipe)
            pipe.delete(keys[0])
            if is_both:
                pipe.delete(keys[1])
            if is_both or stays == met.ticket:
                _queue_ticket(pipe, stays)
            await pipe.execute()
            return True

        return await self._store.transaction(attempt)

    async def shown(self) -> list[Shown]:
        """The strongest matches of those who met and play; what is over, or never began, is forgotten."""
        ids = cast("list[str]", await self._client.zrange(WATCHABLE, 0, SHOWN - 1, desc=True))
        if not ids:
            return []
        parts = ("", "snapshot", "over")
        texts = iter(await self._texts([match_key(match_id, part) for match_id in ids for part in parts]))
        found, gone = [], []
        for match_id, spec, header, over in zip(ids, texts, texts, texts, strict=True):
            if not spec or over:
                gone.append(match_id)
            elif header:
                with suppress(Damaged, UnknownSchema), readable("a match"):
                    left, right = [player.name if player else "" for player in read_spec(spec).players]
                    found.append(Shown(match_id, (left, right), Standing.from_header(json.loads(header)).score))
        if gone:
            await self._client.zrem(WATCHABLE, *gone)
        return found

    async def lead(self, process: str) -> bool:
        """Whether `process` makes the pairs now. One that hung may think so as well; `pair` knows better."""
        if await self._client.set(LEADER, process, nx=True, px=LEADER_MS):
            return True
        if await self._client.get(LEADER) != process:
            return False
        return bool(await self._client.pexpire(LEADER, LEADER_MS))

    async def count(self, here: Collection[str], *, now: float) -> tuple[int, int]:
        """Note who is `here` at this process; how many are here and wait, everywhere."""
        async with self._client.pipeline(transaction=False) as pipe:
            if here:
                pipe.zadd(HERE, dict.fromkeys(here, now))
            pipe.zremrangebyscore(HERE, "-inf", now - HERE_SECONDS)
            pipe.zcard(HERE)
            pipe.zcard(QUEUE)
            answers: list[Any] = await pipe.execute()
        return answers[-2], answers[-1]


def _queue_ticket(pipe: Pipeline, ticket: Ticket) -> None:
    pipe.set(ticket_key(ticket.identity), _encode(ticket), ex=TICKET_SECONDS)
    pipe.zadd(QUEUE, {ticket.identity: ticket.since})
    pipe.expire(QUEUE, TICKET_SECONDS)


def _queue_met(pipe: Pipeline, met: Met) -> None:
    pipe.set(met_key(met.ticket.identity), _encode(met), ex=MET_SECONDS)
