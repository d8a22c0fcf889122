"""The wire format of the lobby socket (docs/lobby.md), and the token that opens it.

Each message of a client is one declaration; what is not one of them is refused with a sentence before anybody sees it.
"""

from typing import Annotated, Any, Final

import msgspec
from django.core import signing
from msgspec import Meta, Struct

from live.protocol.socket import Refused

PROTOCOL: Final = 1
MESSAGE_BYTES: Final = 1024  # the largest message of a client
TOKEN_SECONDS: Final = 60
COUNTDOWN_MS: Final = 3000  # of two who have met, before they go over

_SALT: Final = "matchpoint.lobby"


class Message(Struct, frozen=True):
    """A message of clients."""


class Hello(Message, frozen=True, tag_field="t", tag="hello"):
    """First message. Later fields pass."""

    protocol: int
    token: str


class Wait(Message, frozen=True, tag_field="t", tag="wait", forbid_unknown_fields=True):
    """Wait for another player; again after a reconnect, which keeps the place."""


class Cancel(Message, frozen=True, tag_field="t", tag="cancel", forbid_unknown_fields=True):
    """Wait no longer; decline, if there is a pair already."""


class Coming(Message, frozen=True, tag_field="t", tag="coming", forbid_unknown_fields=True):
    """The page has seen whom it met in `match`, and counts down."""

    match: Annotated[str, Meta(min_length=1, max_length=32)]


class Here(Message, frozen=True, tag_field="t", tag="here", forbid_unknown_fields=True):
    """The page is still there: every two seconds while it waits, else twice a minute."""


_decoder: Final = msgspec.json.Decoder(Hello | Wait | Cancel | Coming | Here)
_encode: Final = msgspec.json.Encoder().encode


def decode(text: str | None) -> Message:
    """The client's message; None is a binary one. Refused with 1009 or 4400."""
    if text is None:
        raise Refused(4400, "binary messages are not part of the protocol")
    if len(text.encode()) > MESSAGE_BYTES:
        raise Refused(1009, f"a message has at most {MESSAGE_BYTES} bytes")
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise Refused(4400, f"no message of the lobby: {error}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(4400, "not JSON") from error


class Frame(Struct, frozen=True):
    """A message to a client. A later one of the same kind takes the place of one that is not sent yet."""

    kind: str
    text: str


def _frame(kind: str, **fields: Any) -> Frame:
    return Frame(kind, _encode({"t": kind, **fields}).decode())


def welcome(name: str) -> Frame:
    return _frame("welcome", protocol=PROTOCOL, name=name)


def site(*, here: int, waiting: int, matches: int, courts: str) -> Frame:
    """`courts`: `free`, `full`, `none` (no live worker) or `away` (the lobby cannot see)."""
    return _frame("site", here=here, waiting=waiting, matches=matches, courts=courts)


def courts(matches: list[dict[str, Any]]) -> Frame:
    """Matches to watch, the best first: `id`, `names` and `score` by side, and how many are `watching`."""
    return _frame("courts", matches=matches)


def you(state: str, waited_ms: int = 0) -> Frame:
    """`state`: `idle`, `waiting`, or `elsewhere`: another page of the same player waits instead."""
    return _frame("you", state=state, waited_ms=waited_ms)


def met(*, match: str, name: str, rating: int | None, is_rated: bool, in_ms: int) -> Frame:
    return _frame("met", match=match, name=name, rating=rating, rated=is_rated, in_ms=in_ms)


def off(match: str) -> Frame:
    """The pair is none any more: the other one declined, or did not come."""
    return _frame("off", match=match)


def here() -> Frame:
    """The server is still there."""
    return _frame("here")


def error(code: int, detail: str) -> Frame:
    return _frame("error", code=code, detail=detail)


class InvalidToken(Exception):
    """The token is forged, damaged or older than `TOKEN_SECONDS`."""


class Claim(Struct, frozen=True):
    """What a valid token proves. `address` is the client's, of IPv6 the /64; `issued_at` in seconds since 1970."""

    identity: str
    name: str
    rating: float | None
    address: str
    issued_at: int = 0


def lobby_token(claim: Claim) -> str:
    return signing.dumps([claim.identity, claim.name, claim.rating, claim.address], salt=_SALT)


def lobby_token_read(token: str) -> Claim:
    """The claim of a token of `lobby_token`. InvalidToken if it is none or too old."""
    try:
        identity, name, rating, address = signing.loads(token, salt=_SALT, max_age=TOKEN_SECONDS)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidToken(str(error)) from error
    issued_at = signing.b62_decode(token.rsplit(":", 2)[1])  # the signature, which is good, covers it
    return Claim(identity, name, rating, address, issued_at)
