"""Seat tokens: signed, short-lived proof that an identity was given a seat of a match at a worker.

The pages issue them, the match socket reads them. They travel inside the first message, never in a URL.
"""

from dataclasses import dataclass, field

from django.core import signing

TOKEN_SECONDS = 60

_SALT = "matchpoint.live.seat"


class InvalidToken(Exception):
    """The token is forged, damaged or older than `TOKEN_SECONDS`."""


@dataclass(frozen=True, slots=True)
class SeatClaim:
    """What a valid token proves. `side` None is a spectator; `issued_at` is in seconds since 1970."""

    match_id: str
    identity: str
    side: int | None
    worker: str
    issued_at: int = field(default=0, compare=False)


def seat_token(*, match_id: str, identity: str, side: int | None, worker: str) -> str:
    """A token for `identity` on `side` of the match at `worker`, good for `TOKEN_SECONDS`."""
    return signing.dumps([match_id, identity, side, worker], salt=_SALT)


def seat_token_read(token: str) -> SeatClaim:
    """The claim of a token of `seat_token`. InvalidToken if it is none or too old."""
    try:
        match_id, identity, side, worker = signing.loads(token, salt=_SALT, max_age=TOKEN_SECONDS)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidToken(str(error)) from error
    issued_at = signing.b62_decode(token.rsplit(":", 2)[1])  # the signature, which is good, covers it
    return SeatClaim(match_id=match_id, identity=identity, side=side, worker=worker, issued_at=issued_at)
