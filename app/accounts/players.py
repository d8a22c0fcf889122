"""Who is playing: a signed-in user, or a guest who is remembered by a signed cookie.

A guest costs nothing until a page needs the name; then the answer carries the cookie.
"""

import secrets
from dataclasses import dataclass
from typing import TypedDict

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.models import User

GUEST_MAX_AGE_S = 365 * 24 * 3600
_SALT = "accounts.guest"

_ADJECTIVES = """
Amber Bold Brave Bright Brisk Calm Clever Cosmic Crisp Daring Deft Eager Fair Fleet Gentle Golden Happy Jolly Keen Kind
Lively Lucky Lunar Mellow Merry Mighty Neat Nimble Noble Polar Proud Quick Quiet Rapid Royal Silver Sly Snappy Solar
Spry Steady Sunny Swift Tidy Vivid Warm Wise Witty Zesty
"""
_ANIMALS = """
Badger Beaver Bison Crane Dingo Dolphin Eagle Falcon Ferret Finch Fox Gecko Hare Heron Ibex Ibis Jackdaw Jaguar Kestrel
Kiwi Koala Lark Lemur Lynx Magpie Marten Mole Moose Newt Ocelot Orca Osprey Otter Owl Panda Pelican Puffin Quail Raven
Robin Seal Shrew Sparrow Stoat Swan Tapir Tern Tiger Toad Wombat Wren Yak
"""


class Guest(TypedDict):
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Player:
    """`identity` is `u:<user pk>` or `g:<guest id>`, as live.records has it.

    `before` is the guest's identity that a signed-in browser had, and has seats under; empty when there was none.
    """

    name: str
    identity: str
    user: User | None = None
    guest_id: str = ""
    before: str = ""

    @property
    def identities(self) -> tuple[str, ...]:
        return (self.identity, self.before) if self.before else (self.identity,)

    @property
    def is_guest(self) -> bool:
        return self.user is None


def guest_name_new() -> str:
    """A friendly name such as "Swift Otter 42"; not unique."""
    return f"{secrets.choice(_ADJECTIVES.split())} {secrets.choice(_ANIMALS.split())} {secrets.randbelow(90) + 10}"


def guest_read(request: HttpRequest) -> Guest | None:
    """The guest in the request's cookie; None when there is no cookie, or it is forged or too old."""
    try:
        data = signing.loads(request.COOKIES.get(settings.GUEST_COOKIE_NAME, ""), salt=_SALT, max_age=GUEST_MAX_AGE_S)
        return Guest(id=str(data["id"]), name=str(data["name"]))
    except (signing.BadSignature, KeyError, TypeError):
        return None


def guest_is_under_old_key(request: HttpRequest) -> bool:
    """Whether the guest's cookie is good, but signed with a key that will not be known for long."""
    cookie = request.COOKIES.get(settings.GUEST_COOKIE_NAME, "")
    if not cookie or not settings.SECRET_KEY_FALLBACKS:
        return False
    try:
        signing.loads(cookie, salt=_SALT, fallback_keys=[])
    except signing.BadSignature:
        return True
    return False


def guest_set_cookie(response: HttpResponseBase, guest: Guest) -> None:
    response.set_cookie(
        settings.GUEST_COOKIE_NAME,
        signing.dumps(guest, salt=_SALT),
        max_age=GUEST_MAX_AGE_S,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )


def _guest_of(request: HttpRequest) -> Guest:
    """The request's guest; a new one is noted on the request, for the middleware to set the cookie."""
    guest = guest_read(request) or getattr(request, "new_guest", None)
    if guest is None:
        guest = Guest(id=secrets.token_hex(8), name=guest_name_new())
        request.new_guest = guest  # type: ignore[attr-defined]  # a note from this module to its middleware
    return guest


def guest_rename(request: HttpRequest, name: str) -> None:
    """Give the request's guest, who stays the same one, a name; the answer carries it."""
    request.new_guest = Guest(id=_guest_of(request)["id"], name=name)  # type: ignore[attr-defined]  # as above


def _player_of(request: HttpRequest, user: User | AnonymousUser) -> Player:
    if isinstance(user, User):
        before = guest_read(request)
        return Player(name=user.name, identity=f"u:{user.pk}", user=user, before=f"g:{before['id']}" if before else "")
    guest = _guest_of(request)
    return Player(name=guest["name"], identity=f"g:{guest['id']}", guest_id=guest["id"])


def player_get(request: HttpRequest) -> Player:
    """The request's player. May read the session and the user from the database."""
    user = request.user
    return _player_of(request, user if user.is_authenticated else AnonymousUser())


async def player_aget(request: HttpRequest) -> Player:
    """As `player_get`, for async views."""
    user = await request.auser()
    return _player_of(request, user if user.is_authenticated else AnonymousUser())
