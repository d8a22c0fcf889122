import re
from typing import Final, cast

from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from asgiref.sync import async_to_sync
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Max, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST
from redis.exceptions import RedisError

from accounts.models import User
from accounts.players import player_get
from live.directory.revocations import is_banned
from matches.api import address_of
from matches.limits import Limit
from matches.models import Seat
from moderation import services
from moderation.forms import ActionForm, EndForm, GuestForm, ReportForm
from moderation.models import Report
from ops.access import Staff, staff_page

REPORTS: Final = Limit("report", count=5, window_s=3600)
REPORTS_OF_ADDRESS: Final = Limit("report-address", count=20, window_s=3600)
SHOWN: Final = 50


@require_http_methods(["GET", "HEAD", "POST"])
def report(request: HttpRequest, public_id: str) -> HttpResponse:
    """Where players complain about one."""
    about = get_object_or_404(User, public_id=public_id, is_active=True)
    return _report(request, back=reverse("player", args=[public_id]), name=about.name, about=about)


@login_required
@require_POST
def block(request: HttpRequest, public_id: str) -> HttpResponse:
    """`block=yes`: not to meet somebody in the lobby any more; else to meet again."""
    about = get_object_or_404(User, public_id=public_id, is_active=True)
    try:
        services.block_set(user=cast(User, request.user), about=about, is_blocked=request.POST.get("block") == "yes")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("player", public_id)


@require_http_methods(["GET", "HEAD", "POST"])
def report_opponent(request: HttpRequest, match_id: str) -> HttpResponse:
    """Where players complain about the guest whom they have played against."""
    seats = Seat.objects.filter(match__public_id=match_id)
    player = player_get(request)
    own = seats.filter(user=player.user) if player.user else seats.filter(user=None, guest_id=player.guest_id)
    seat = seats.exclude(pk__in=own).filter(kind=Seat.Kind.HUMAN).select_related("user").first()
    if not own.exists() or seat is None:
        raise Http404
    if seat.user is not None:
        return redirect("report", seat.user.public_id)
    if not seat.guest_id:
        raise Http404
    return _report(request, back=reverse("history"), name=seat.name, about=None, guest=seat.guest_id)


def _report(request: HttpRequest, *, back: str, name: str, about: User | None, guest: str = "") -> HttpResponse:
    form = ReportForm(request.POST if request.method == "POST" else None)
    status = 200
    if form.is_valid():
        player = player_get(request)
        limits = ((REPORTS, player.identity), (REPORTS_OF_ADDRESS, address_of(request)))
        if max(async_to_sync(limit.exceeded_for_s)(key) for limit, key in limits):
            form.add_error(None, _("You have reported enough for now. Try again in an hour."))
            status = 429
        else:
            said = form.cleaned_data
            try:
                services.report_create(about=about, player=player, guest=guest, name=name, **said)
            except ValidationError as error:
                form.add_error(None, error)
            else:
                messages.success(request, _("Thank you. Somebody will look at it."))
                return redirect(back)
    return render(request, "moderation/report.html", {"form": form, "name": name, "back": back}, status=status)


def _acting(request: HttpRequest, staff: Staff) -> User:
    """Who acts: an administrator who proved that lately, while the database says so. PermissionDenied."""
    if not staff.may_silence or not staff.is_certain:
        raise PermissionDenied
    raise_if_reauthentication_required(request, app="allauth.account")
    return cast(User, request.user)


@staff_page
@require_http_methods(["GET", "HEAD", "POST"])
def players(request: HttpRequest, staff: Staff) -> HttpResponse:
    """What was reported, whom one looks for, and the end of a match."""
    form = EndForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        by = _acting(request, staff)
        if form.is_valid():
            match_id = form.cleaned_data["match"]
            try:
                services.match_end(match_id=match_id, by=by, request=request, reason=form.cleaned_data["reason"])
            except RedisError:
                form.add_error(None, "Valkey does not answer: nothing was ended, and nothing written down.")
            else:
                messages.success(request, f"The match {match_id} ends, if it is being played.")
                return redirect("ops:players")
    query = request.GET.get("q", "").strip()
    reported = User.objects.filter(reports__closed_at=None, reports__isnull=False).annotate(
        open_reports=Count("reports", filter=Q(reports__closed_at=None)), newest=Max("reports__at")
    )
    found = User.objects.none()
    if re.fullmatch(r"[a-z0-9]{12}", query):
        found = User.objects.filter(public_id=query)
    if query and not found:
        found = User.objects.filter(username__iexact=query) | User.objects.filter(display_name__iexact=query)
    guests = Report.objects.filter(closed_at=None).exclude(about_guest="").order_by().values("about_guest")
    context = {
        "staff": staff,
        "form": form,
        "query": query,
        "found": found[:SHOWN],
        "reported": reported.order_by("-newest")[:SHOWN],
        "guests": guests.annotate(open_reports=Count("pk"), newest=Max("at"), name=Max("about_name")).order_by(
            "-newest"
        )[:SHOWN],
    }
    return render(request, "moderation/players.html", context)


@staff_page
@require_http_methods(["GET", "HEAD", "POST"])
def player(request: HttpRequest, staff: Staff, public_id: str) -> HttpResponse:
    """One player, and what can be done."""
    shown = get_object_or_404(User, public_id=public_id)
    form = ActionForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        by = _acting(request, staff)
        if form.is_valid():
            try:
                messages.success(request, _act(form.cleaned_data, shown, by, request))
                return redirect("ops:player", public_id)
            except ValidationError as error:
                form.add_error(None, error)
    reports = Report.objects.filter(about=shown).select_related("by")[:SHOWN]
    context = {"staff": staff, "form": form, "shown": shown, "reports": reports}
    return render(request, "moderation/player.html", context)


@staff_page
@require_http_methods(["GET", "HEAD", "POST"])
def guest(request: HttpRequest, staff: Staff, guest_id: str) -> HttpResponse:
    """One guest, and what can be done."""
    reports = Report.objects.filter(about_guest=guest_id).select_related("by")[:SHOWN]
    if not reports:
        raise Http404
    form = GuestForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        by = _acting(request, staff)
        if form.is_valid():
            said = form.cleaned_data
            try:
                done = services.guest_act(
                    guest=guest_id, action=said["action"], by=by, request=request, reason=said["reason"]
                )
            except RedisError:
                form.add_error(None, "Valkey does not answer: nothing was done, and nothing written down.")
            else:
                messages.success(request, done)
                return redirect("ops:guest", guest_id)
    try:
        is_out = is_banned(f"g:{guest_id}")
    except RedisError:
        is_out = None
    context = {"staff": staff, "form": form, "name": reports[0].about_name, "reports": reports, "is_banned": is_out}
    return render(request, "moderation/guest.html", context)


def _act(said: dict[str, str], user: User, by: User, request: HttpRequest) -> str:
    """Do what was said; the sentence that says so. ValidationError."""
    reason = said["reason"]
    match said["action"]:
        case "ban":
            services.player_ban(user=user, by=by, request=request, reason=reason)
            return f"{user.name} is banned."
        case "unban":
            services.player_unban(user=user, by=by, request=request, reason=reason)
            return f"{user.name} may come in again."
        case "rename":
            services.player_rename(user=user, name=said["name"], by=by, request=request, reason=reason)
            return f"{user.name} has another name."
        case "recompute":
            count = services.rating_recompute(user=user, by=by, request=request, reason=reason)
            return f"{count} changes of ratings were worked out again."
    count = services.reports_close(user=user, by=by, request=request, reason=reason)
    return f"{count} reports are closed."
