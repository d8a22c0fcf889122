"""Who is logged out leaves the court: at every worker, at once, and with tokens that open nothing any more."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from redis.exceptions import RedisError

from live.directory import Directory
from live.directory.revocations import called_off
from live.match.owner import MatchOwner
from live.protocol.socket import Refused, Socket
from live.protocol.tokens import SeatClaim

HEED_SECONDS: Final = 0.5  # after which who is logged out leaves the court


class Logouts:
    """What the directory tells one worker of revoked identities and of matches that staff end.

    `failed` hears when it does not answer.
    """

    def __init__(
        self,
        directory: Directory,
        sockets: Collection[Socket],
        owners: Mapping[str, MatchOwner],
        *,
        failed: Callable[[Exception], None],
    ) -> None:
        self._revocations = directory.revocations
        self._sockets = sockets
        self._owners = owners
        self._failed = failed
        self._position = ""  # of the last that was heeded

    async def include(self, claim: SeatClaim) -> bool:
        """Whether whoever has the token was logged out since. Without the directory nobody knows: then it counts."""
        try:
            return await self._revocations.include(claim)
        except (RedisError, TimeoutError) as error:
            self._failed(error)
            return False

    async def heed(self) -> None:
        """Close the sockets of who was logged out since the last look, wherever that happened."""
        identities: Mapping[str, int] = {}
        try:
            if self._position:
                self._position, identities = await self._revocations.after(self._position)
            else:
                self._position = await self._revocations.newest()
        except (RedisError, TimeoutError) as error:
            self._failed(error)
        for socket in [each for each in self._sockets if each.identity in identities]:
            socket.refuse(Refused(4401, "logged out"))
        for owner in [self._owners[match_id] for match_id in map(called_off, identities) if match_id in self._owners]:
            if not owner.is_over and not owner.is_parting:
                owner.judge(None)
