"""One process of the lobby: its sockets, and the beat that reads from Valkey what they have to know."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from redis.exceptions import RedisError

from live.clock import SECOND, Clock
from live.directory import Directory, DirectoryError, Worker
from live.protocol.socket import Refused
from live.protocol.tokens import SeatClaim
from lobby import metrics, protocol
from lobby.pairing import Ticket, pairs
from lobby.queue import Met, Queue
from lobby.session import Session
from matches.services import match_create_for

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.2  # while somebody waits
SLOW_S: Final = 1.0  # between looks at what may be a second old: renewals, numbers, workers, who was logged out
WAITING_SILENCE_S: Final = 6.0  # a page that waits speaks every two seconds
SILENCE_S: Final = 75.0  # any other twice a minute
ABSENT_S: Final = 2.0  # after which somebody who does not know of the pair does not come
COUNTDOWN_S: Final = protocol.COUNTDOWN_MS / 1000
COUNTDOWN_LEAST_MS: Final = 1000  # of somebody who hears late
SOCKETS_MAX: Final = 4000
ADDRESS_MAX: Final = 128  # sockets: a school shares one
IDENTITY_MAX: Final = 8
STOP_S: Final = 1.0
LEFT_EARLY_S: Final = 0.5  # before the end of the countdown
TOGETHER_S: Final = 0.02  # in which others may begin to wait, for one beat
SHOWN_MAX: Final = 5  # matches to watch, on a page
AT_A_TIME: Final = 16  # half of the connections to the directory


async def nobody(identity: str) -> tuple[str, ...]:
    """Whom somebody avoids who avoids nobody."""
    return ()


class Hall:
    """The lobby sockets of this process. `coin` in [0, 1) decides who plays on the left.

    `avoided` answers with the identities that one does not want to meet.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        clock: Clock,
        coin: Callable[[], float],
        avoided: Callable[[str], Awaitable[tuple[str, ...]]] = nobody,
    ) -> None:
        self.clock = clock
        self.sessions: set[Session] = set()
        self._directory = directory
        self._queue = Queue(directory.store)
        self._coin = coin
        self._avoided = avoided
        self._process = secrets.token_hex(8)
        self._wakeup = asyncio.Event()
        self._position = ""  # in the stream of revocations
        self._slow_at = float("-inf")
        self._courts = "free"
        self._leads = False
        self.is_stopping = False

    def now(self) -> float:
        """Seconds since 1970."""
        return self.clock.wall().timestamp()

    async def run(self) -> None:
        """Beat until the process stops. What fails is tried again with the next beat."""
        while not self.is_stopping:
            await self._pause()
            try:
                await self.beat()
            except (RedisError, TimeoutError, DirectoryError) as error:
                self._failed(error)
            except Exception as error:  # the lobby goes on for everybody else
                self._failed(error)
                logger.exception("lobby beat failed")

    async def _pause(self) -> None:
        """Until the next beat is due, or somebody comes or begins to wait: an empty hall costs nothing."""
        waits = any(session.waits_since is not None for session in self.sessions)
        try:
            async with asyncio.timeout(BEAT_S if waits else SLOW_S if self.sessions else None):
                await self._wakeup.wait()
        except TimeoutError:
            return
        await asyncio.sleep(TOGETHER_S)
        self._wakeup.clear()

    def _failed(self, error: Exception) -> None:
        metrics.failures.inc()
        if self._courts != "away":
            logger.warning("lobby cannot see", extra={"error": error})
        self._courts = "away"
        for session in self.sessions:
            session.tell(protocol.site(here=0, waiting=0, matches=0, courts="away"))

    async def stop(self) -> None:
        """Close everything. Who waits keeps the place, and asserts it at another process."""
        self.is_stopping = True
        self._wakeup.set()
        for session in self.sessions:
            session.close(1012)
        for _ in range(20):
            if not self.sessions:
                break
            await asyncio.sleep(STOP_S / 20)

    # Sockets

    async def enter(self, session: Session) -> None:
        """Refused (4401, 4429), redis' errors."""
        claim = session.claim
        if not self._position:  # from before it is known whether this one may be here
            self._position = await self._directory.revocations.newest()
        session.avoids = await self._avoided(claim.identity)  # takes its time, in which they may be logged out
        revoked = SeatClaim("", claim.identity, None, "", issued_at=claim.issued_at)
        if await self._directory.revocations.include(revoked):
            raise Refused(4401, "logged out")
        addresses = sum(other.claim.address == claim.address for other in self.sessions)
        pages = sum(other.identity == claim.identity for other in self.sessions)
        if self.is_stopping:
            raise Refused(1012, "this server stops")
        if len(self.sessions) >= SOCKETS_MAX or addresses >= ADDRESS_MAX or pages >= IDENTITY_MAX:
            raise Refused(4429, "too many lobbies are open from here")
        self.sessions.add(session)
        self._wakeup.set()
        metrics.sockets.set(len(self.sessions))
        session.tell(protocol.welcome(claim.name))

    async def leave(self, session: Session, *, is_clean: bool) -> None:
        """The socket is gone; so is its player, unless this server sent them to another, or they are on their way.

        `is_clean`: the page has closed it, which it does not do before the end of the countdown.
        """
        self.sessions.discard(session)
        metrics.sockets.set(len(self.sessions))
        if session.waits_since is None or session.close_code == 1012:
            return
        try:
            if session.met is None or (is_clean and session.goes_over_in() > LEFT_EARLY_S):
                await self._give_up(session)
        except (RedisError, TimeoutError) as error:  # the ticket ends by itself
            logger.warning("lobby ticket stays", extra={"error": error})

    async def _give_up(self, session: Session) -> None:
        """Neither wait nor go over. Raises redis' errors."""
        met = session.met
        session.stop_waiting()
        if met is None:
            await self._queue.leave(session.identity, holder=session.holder)
        elif await self._queue.decline(met):
            metrics.pairs.labels("declined").inc()

    def wait(self, session: Session) -> None:
        if session.waits_since is None:
            session.waits_since = self.now()
            session.forget("you")
            self._wakeup.set()

    async def cancel(self, session: Session) -> None:
        try:
            await self._give_up(session)
        finally:
            session.forget("met")
            session.tell(protocol.you("idle"))

    async def coming(self, session: Session, match: str) -> None:
        if session.met is not None and session.met.match == match:
            session.is_coming = True
            await self._queue.confirm(session.identity, match)

    # The beat

    async def beat(self) -> None:
        """Everything once. Raises redis' errors."""
        is_slow = self.clock.now() - self._slow_at >= SLOW_S * SECOND
        if is_slow:
            self._hush()
        metrics.waiting.set(sum(session.is_waiting for session in self.sessions))  # also when Valkey is away
        await self._heed()
        waiting = [session for session in self.sessions if session.is_waiting]
        await self._look(waiting, renew=is_slow)
        self._leads = bool(waiting) and await self._queue.lead(self._process)
        if is_slow:
            self._slow_at = self.clock.now()
            await self._tell_site()
        if self._leads and self._courts == "free":
            await self.make_pairs()

    def _hush(self) -> None:
        """Who says nothing is not here: a tab that sleeps, a line that was cut."""
        for session in self.sessions:
            silence = session.silence()
            if silence > SILENCE_S or (session.is_waiting and silence > WAITING_SILENCE_S):
                session.close(1001)

    async def _heed(self) -> None:
        """Who was logged out or banned leaves, wherever that happened."""
        if not self._position:  # nobody was here yet
            return
        self._position, revoked = await self._directory.revocations.after(self._position)
        for session in self.sessions:
            # An empty hall reads nothing: what it hears first may be older than whoever is here by now
            if revoked.get(session.identity, -1) >= session.claim.issued_at:
                session.refuse(Refused(4401, "logged out"))

    async def _look(self, waiting: Sequence[Session], *, renew: bool) -> None:
        """Tell those who wait what became of it, and assert the tickets that are missing."""
        found = await self._queue.look([session.identity for session in waiting])
        renewed, new = [], []
        for session, (ticket, met) in zip(waiting, found, strict=True):
            if not session.is_waiting:  # it left meanwhile
                continue
            before = session.met
            if before is not None and met is None and not session.is_coming and self.now() - before.at >= ABSENT_S:
                session.close(1001)  # its page did not hear of the pair, so it would keep the next one waiting as well
                continue
            if before is not None and (met is None or met.match != before.match):
                session.met = None
                session.forget("met")
                session.tell(protocol.off(before.match))
                session.forget("you")
            if met is not None:
                await self._meet(session, met)
            elif ticket is None or session.ticket is None:  # a new page takes over what an older one had
                if before is None or self.now() - before.at < COUNTDOWN_S:
                    new.append(self._join(session, session.waits_since or self.now()))
                else:  # it has gone over, or could have
                    session.stop_waiting()
                    session.tell(protocol.you("idle"))
            elif ticket.holder != session.holder:
                session.stop_waiting()
                session.tell(protocol.you("elsewhere"))
            else:
                self._tell_waiting(session, ticket)
                renewed.append(ticket)
        if renew and renewed:
            await self._queue.renew(renewed)
        await _in_turn(new)

    async def _join(self, session: Session, since: float) -> None:
        ticket = await self._queue.join(session.new_ticket(since))
        if ticket is not None and session.is_waiting:
            self._tell_waiting(session, ticket)

    def _tell_waiting(self, session: Session, ticket: Ticket) -> None:
        if session.ticket != ticket:
            session.ticket = ticket
            waited_ms = max(0, round((self.now() - ticket.since) * 1000))
            session.tell(protocol.you("waiting", waited_ms))

    async def _meet(self, session: Session, met: Met) -> None:
        """Tell whom somebody has met; not for long, if that one does not come."""
        ago = self.now() - met.at
        if session.met is None:
            session.met, session.ticket, session.is_coming = met, None, False
            session.waits_since = met.ticket.since
            in_ms = max(COUNTDOWN_LEAST_MS, round((COUNTDOWN_S - ago) * 1000))
            session.goes_over_at = self.clock.now() + in_ms * 1000
            rating = None if met.other.rating is None else round(met.other.rating)
            is_rated = all(ticket.identity.startswith("u:") for ticket in (met.ticket, met.other))
            name = met.other.name
            session.tell(protocol.met(match=met.match, name=name, rating=rating, is_rated=is_rated, in_ms=in_ms))
        elif met.coming and ABSENT_S < ago < COUNTDOWN_S and await self._queue.miss(met):
            metrics.pairs.labels("absent").inc()
            logger.info("pair called off", extra={"match": met.match})

    async def _tell_site(self) -> None:
        """The numbers of the lobby, for everybody who has them open."""
        here = {session.identity for session in self.sessions}
        if not here:
            return
        count, waiting = await self._queue.count(here, now=self.now())
        workers = await self._directory.workers.alive()
        takers = [worker for worker in workers if not worker.draining]
        is_full = bool(takers) and all(worker.is_full for worker in takers)
        await self._tell_matches(workers)
        self._courts = "none" if not takers else "full" if is_full else "free"
        matches = sum(worker.matches for worker in workers)
        for session in self.sessions:
            session.tell(protocol.site(here=count, waiting=waiting, matches=matches, courts=self._courts))

    async def _tell_matches(self, workers: Sequence[Worker]) -> None:
        """What can be watched, for those who do not wait."""
        looking = [session for session in self.sessions if session.waits_since is None]
        if not looking:
            return
        watching = {match_id: count for worker in workers for match_id, count in worker.watched.items()}
        shown = [
            {"id": match.id, "names": match.names, "score": match.score, "watching": watching.get(match.id, 0)}
            for match in (await self._queue.shown())[:SHOWN_MAX]
        ]
        for session in looking:
            session.tell(protocol.courts(shown))

    async def make_pairs(self) -> None:
        """Let those meet who fit. A player who is in a pair by now, or has left, is in none of these."""
        found = pairs(await self._queue.waiting(), self.now())
        await _in_turn([self._make_pair(*pair) for pair in found])
        if found:
            await self._look([session for session in self.sessions if session.is_waiting], renew=False)

    async def _make_pair(self, one: Ticket, other: Ticket) -> None:
        left, right = (one, other) if self._coin() < 0.5 else (other, one)
        strength = (one.strength + other.strength) / 2
        spec = await match_create_for(
            left=(left.identity, left.name), right=(right.identity, right.name), strength=strength
        )
        now = self.now()
        if await self._queue.pair(one, other, match=spec.id, at=now):
            metrics.pairs.labels("made").inc()
            for ticket in (one, other):
                metrics.waited.observe(max(0.0, now - ticket.since))
            logger.info("players met", extra={"match": spec.id})


async def _in_turn(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run them, a few at a time; the first error of those, when they are done, ends it."""
    for begin in range(0, len(calls), AT_A_TIME):
        results = await asyncio.gather(*calls[begin : begin + AT_A_TIME], return_exceptions=True)
        for error in results:
            if isinstance(error, BaseException):
                for left in calls[begin + AT_A_TIME :]:
                    left.close()
                raise error


_installed: Hall | None = None


def install(hall: Hall | None) -> None:
    """The hall that this process serves sockets of."""
    global _installed
    _installed = hall


def installed() -> Hall | None:
    return _installed
