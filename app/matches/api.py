"""The HTTP API of docs/protocol.md. Async, so that a slow page never delays a seat."""

import functools
import ipaddress
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from redis.exceptions import RedisError

from accounts.players import Player, player_aget
from live.directory import MatchOver, NoSuchMatch, NoWorker, SiteFull, get_directory
from live.protocol.canary import is_permission
from live.protocol.tokens import seat_token
from live.records import UnknownSchema
from matches.limits import Limit
from matches.models import Match
from matches.rules import CANARY_REQUEST, BadRequest, MatchRequest
from matches.selectors import match_replay, match_summary
from matches.services import match_create
from matchpoint.errors import RETRY_AFTER_S, api_error

logger = logging.getLogger(__name__)

BODY_MAX_BYTES = 1024

# A household or a school shares an address, so those limits are wider. Seats are asked for again on every reconnect.
CREATE_BY_IDENTITY = Limit("create:identity", count=10, window_s=60)
CREATE_BY_ADDRESS = Limit("create:address", count=60, window_s=60)
SEAT_BY_IDENTITY = Limit("seat:identity", count=60, window_s=60)
SEAT_BY_ADDRESS = Limit("seat:address", count=600, window_s=60)

View = Callable[..., Coroutine[Any, Any, HttpResponse]]


class TooMany(Exception):
    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s


def endpoint(*methods: str) -> Callable[[View], View]:
    """An API view that answers to `methods` only, and turns its errors into the API's error shape."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        async def wrapped(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                response: HttpResponse = api_error("method", f"Use {' or '.join(methods)}.", status=405)
                response.headers["Allow"] = ", ".join(methods)
                return response
            try:
                response = await view(request, **kwargs)
            except BadRequest as error:
                response = api_error("bad-request", str(error), status=400)
            except NoSuchMatch:
                response = api_error("no-such-match", "There is no such match, or it is long over.", status=404)
            except MatchOver:
                response = api_error("match-over", "This match is over.", status=409)
            except TooMany as error:
                detail = f"Too many requests; try again in {error.retry_after_s} s."
                response = api_error("too-many", detail, status=429, retry_after_s=error.retry_after_s)
            except SiteFull:
                detail = "All courts are taken; try again in a minute."
                response = api_error("full", detail, status=503, retry_after_s=RETRY_AFTER_S)
            except NoWorker:
                detail = "No server can take the match right now; try again in a moment."
                response = api_error("no-worker", detail, status=503, retry_after_s=RETRY_AFTER_S)
            except UnknownSchema as error:  # while releases change: another worker, asked next, can read it
                logger.warning("match of a newer release", extra={"view": view.__name__, "error": error})
                detail = "The site is being renewed; try again in a moment."
                response = api_error("unavailable", detail, status=503, retry_after_s=RETRY_AFTER_S)
            except (RedisError, TimeoutError) as error:
                logger.error("directory unavailable", extra={"view": view.__name__, "error": error})
                detail = "The match directory does not answer; try again in a moment."
                response = api_error("unavailable", detail, status=503, retry_after_s=RETRY_AFTER_S)
            response.headers["Cache-Control"] = "no-store"
            return response

        return wrapped

    return decorate


def body_json(request: HttpRequest) -> Any:
    """The decoded body. BadRequest when it is too long or not JSON."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_MAX_BYTES:
        raise BadRequest(f"The body must not be longer than {BODY_MAX_BYTES} bytes.")
    try:
        return json.loads(request.body or b"{}")
    except (ValueError, RecursionError) as error:  # brackets a thousand deep are within the length
        raise BadRequest("The body must be JSON.") from error


def address_of(request: HttpRequest) -> str:
    """The client's address; of IPv6 the /64, because a household has all of it."""
    text = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return text if address.version == 4 else str(ipaddress.ip_network(f"{address}/64", strict=False).network_address)


async def limit(*, by_identity: Limit, by_address: Limit, player: Player, request: HttpRequest) -> None:
    """Count the request; TooMany when it is one too many."""
    wait_s = max(
        await by_identity.exceeded_for_s(player.identity), await by_address.exceeded_for_s(address_of(request))
    )
    if wait_s:
        raise TooMany(wait_s)


def wish_of(body: Any) -> MatchRequest:
    """What the body asks for: a match of players, or that of the site's own canary."""
    if not (isinstance(body, dict) and "canary" in body):
        return MatchRequest.parse(body)
    if not is_permission(body["canary"], [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]):
        raise BadRequest("canary must be a fresh permission.")
    return CANARY_REQUEST


@endpoint("POST")
async def matches(request: HttpRequest) -> HttpResponse:
    player = await player_aget(request)
    wish = wish_of(body_json(request))
    await limit(by_identity=CREATE_BY_IDENTITY, by_address=CREATE_BY_ADDRESS, player=player, request=request)
    spec = await match_create(player=player, request=wish)
    return JsonResponse({"id": spec.id, "url": reverse("match", args=[spec.id])}, status=201)


@endpoint("GET", "HEAD")
async def match(request: HttpRequest, match_id: str) -> HttpResponse:
    player = await player_aget(request)
    summary = await match_summary(match_id, player=player)
    if summary is None:
        raise NoSuchMatch(match_id)
    return JsonResponse(summary)


@endpoint("GET", "HEAD")
async def replay(request: HttpRequest, match_id: str) -> HttpResponse:
    found = await match_replay(match_id)
    if found is None:
        raise NoSuchMatch(match_id)
    name = f'attachment; filename="matchpoint-{match_id}.json"'
    return JsonResponse(found, headers={"Content-Disposition": name})


@endpoint("POST")
async def seat(request: HttpRequest, match_id: str) -> HttpResponse:
    player = await player_aget(request)
    await limit(by_identity=SEAT_BY_IDENTITY, by_address=SEAT_BY_ADDRESS, player=player, request=request)
    try:
        seat = await get_directory().matches.seat(
            match_id, identity=player.identity, name=player.name, before=player.before
        )
    except NoSuchMatch:
        # The directory forgets a match some time after its end; the database does not.
        if await Match.objects.filter(public_id=match_id).aexists():
            raise MatchOver(match_id) from None
        raise
    token = seat_token(match_id=match_id, identity=seat.identity, side=seat.side, worker=seat.worker)
    url = f"/ws/{seat.worker}/match/{match_id}"
    return JsonResponse({"url": url, "token": token, "side": seat.side, "worker": seat.worker})
