from asgiref.sync import sync_to_async
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError

from accounts.players import player_aget, player_get
from live.directory import get_directory
from matches.invitations import qr_code
from matches.selectors import match_summary, matches_of, record_of
from ratings.selectors import rating_of

PAGE_SIZE = 20
POINTS_OFFERED = (3, 5, 7, 11)  # of a match of friends


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    user = player_get(request).user
    return render(request, "home.html", {"rating": rating_of(user) if user else None})


@require_safe
async def match(request: HttpRequest, match_id: str) -> HttpResponse:
    player = await player_aget(request)
    summary = await match_summary(match_id, player=player)
    if summary is None:
        raise Http404("no such match")
    match_url = request.build_absolute_uri(reverse("match", args=[match_id]))
    is_invitation = summary["status"] == "waiting" and summary["you"] is not None
    context = {
        "match": summary,
        "match_url": match_url,
        "qr_code": qr_code(match_url) if is_invitation else None,
        "points": POINTS_OFFERED,
    }
    # The template asks the session and the database, which only a thread may do.
    return await sync_to_async(render)(request, "match.html", context)


@require_safe
async def replay(request: HttpRequest, match_id: str) -> HttpResponse:
    player = await player_aget(request)
    summary = await match_summary(match_id, player=player)
    if summary is None:
        raise Http404("no such match")
    if summary["status"] != "finished":
        return redirect("match", match_id)
    return await sync_to_async(render)(request, "matches/replay.html", {"match": summary})


@require_safe
def history(request: HttpRequest) -> HttpResponse:
    player = player_get(request)
    paginator = Paginator(matches_of(player), PAGE_SIZE)
    if player.user:
        paginator.count = record_of(user=player.user).played  # a cached property: nobody counts
    page = paginator.get_page(request.GET.get("page"))
    return render(request, "matches/history.html", {"matches": page})


@require_safe
async def connection(request: HttpRequest) -> HttpResponse:
    """What a visitor's network lets through to the live worker with most room; without one the page says so."""
    try:
        workers = [worker for worker in await get_directory().workers.alive() if not worker.draining]
    except (RedisError, TimeoutError):
        workers = []
    echo = f"/ws/{min(workers, key=lambda worker: worker.load).name}/echo" if workers else ""
    return await sync_to_async(render)(request, "matches/connection.html", {"echo": echo})
