"""The token of the lobby socket, for pages."""

from typing import Final

from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.players import player_aget
from lobby.protocol import Claim, lobby_token
from matches.api import address_of, endpoint, limit
from matches.limits import Limit
from ratings.models import Rating

URL: Final = "/ws/lobby"

# Asked for again on every reconnect, and by each page that shows who is here
TOKEN_BY_IDENTITY: Final = Limit("lobby:identity", count=60, window_s=60)
TOKEN_BY_ADDRESS: Final = Limit("lobby:address", count=600, window_s=60)


@endpoint("POST")
async def lobby(request: HttpRequest) -> HttpResponse:
    player = await player_aget(request)
    await limit(by_identity=TOKEN_BY_IDENTITY, by_address=TOKEN_BY_ADDRESS, player=player, request=request)
    rating = await Rating.objects.filter(user=player.user).afirst() if player.user else None
    claim = Claim(player.identity, player.name, rating.rating if rating else None, address_of(request))
    return JsonResponse({"url": URL, "token": lobby_token(claim)})
