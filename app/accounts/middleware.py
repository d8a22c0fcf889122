from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from accounts.players import guest_is_under_old_key, guest_read, guest_set_cookie, player_get
from matchpoint.middleware import hooks


def _offer(request: HttpRequest) -> None:
    """`request.player`, found out on first use. Async views use `player_aget`."""
    request.player = SimpleLazyObject(lambda: player_get(request))  # type: ignore[attr-defined]  # added here


def _remember(request: HttpRequest, response: HttpResponseBase) -> None:
    guest = getattr(request, "new_guest", None)
    if guest is None and guest_is_under_old_key(request):
        guest = guest_read(request)
    if guest is not None:
        guest_set_cookie(response, guest)


player = hooks(before=_offer, after=_remember)
