from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.models import User
from accounts.players import player_get
from matches.selectors import record_of
from moderation.models import Block
from ratings import charts
from ratings.selectors import head_to_head, leaderboard_page, leaderboard_rank, rating_of, recent_changes, recent_games


@require_safe
def leaderboard(request: HttpRequest) -> HttpResponse:
    """`?after=<public id>`: those below that player."""
    page = leaderboard_page(after=request.GET.get("after", ""))
    if page is None:
        raise Http404("no such player on the leaderboard")
    user = player_get(request).user
    own = rating_of(user) if user else None
    return render(
        request,
        "ratings/leaderboard.html",
        {"page": page, "own": own, "own_rank": leaderboard_rank(own) if own else None},
    )


@require_safe
def profile(request: HttpRequest, public_id: str) -> HttpResponse:
    """What anybody may see of an account: its name, and what came of its matches."""
    user = get_object_or_404(User, public_id=public_id, is_active=True)
    rating = rating_of(user)
    games = recent_games(user)
    changes = recent_changes(user) if rating else []
    viewer = player_get(request).user
    context = {
        "user_shown": user,
        "is_blocked": viewer is not None and Block.objects.filter(by=viewer, about=user).exists(),
        "rating": rating,
        "rank": leaderboard_rank(rating) if rating else None,
        "record": record_of(user=user),
        "games": games,
        "opponents": head_to_head(games),
        "rating_chart": charts.line([change.rating_after for change in changes]) if len(changes) > 1 else None,
        "rally_chart": charts.bars(charts.rally_bins(games)),
    }
    return render(request, "ratings/profile.html", context)
