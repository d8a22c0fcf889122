import tempfile
from datetime import timedelta
from typing import Final

from allauth.account.adapter import get_adapter
from allauth.account.decorators import reauthentication_required
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from accounts.models import User
from accounts.players import guest_read, player_get
from matches.limits import Limit
from privacy.export import write_archive
from privacy.models import Deletion
from privacy.services import deletion_cancel, deletion_request, guest_forget

EXPORT: Final = Limit("export", count=5, window_s=3600)
SECURITY_GOOD_FOR: Final = timedelta(days=183)  # RFC 9116 asks for less than a year
SPOOL_BYTES: Final = 4 * 2**20  # of an archive in memory; more goes to disk
# Pages for those who know their address, or who are logged in. Search engines have no use for the others.
PRIVATE_PATHS: Final = ("/accounts/", "/admin/", "/api/", "/m/", "/matches/", "/me/", "/ops/", "/u/*/report/")


def _user(request: HttpRequest) -> User:
    """Who is logged in; the views that ask require it."""
    return get_object_or_404(User, pk=request.user.pk)


@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    deletion = Deletion.objects.filter(user=request.user).first() if request.user.is_authenticated else None
    return render(request, "privacy/privacy.html", {"deletion": deletion, "site": settings})


@require_safe
def imprint(request: HttpRequest) -> HttpResponse:
    return render(request, "privacy/imprint.html", {"site": settings})


@require_POST
def export(request: HttpRequest) -> HttpResponseBase:
    player = player_get(request)
    if wait_s := async_to_sync(EXPORT.exceeded_for_s)(player.identity):
        minutes = -(-wait_s // 60)
        messages.error(
            request, _("That was often enough for now. Try again in %(minutes)s minutes.") % {"minutes": minutes}
        )
        return redirect("privacy")
    archive = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the response closes it
    write_archive(archive, player=player)
    archive.seek(0)
    response = FileResponse(archive, as_attachment=True, filename="matchpoint.zip", content_type="application/zip")
    response.headers["Cache-Control"] = "no-store"
    return response


@login_required
@reauthentication_required
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        user = _user(request)
        with transaction.atomic():  # the wish, and the mail that waits to tell the owner of it
            if deletion := deletion_request(user=user):
                context = {"due_at": deletion.due_at}
                get_adapter().send_notification_mail("account/email/deletion_requested", user, context)
        return redirect("privacy")
    return render(request, "privacy/delete.html", {"days": settings.DELETION_DAYS, "site": settings})


@login_required
@require_POST
def keep(request: HttpRequest) -> HttpResponse:
    if deletion_cancel(user=_user(request)):
        messages.success(request, _("Your account stays."))
    return redirect("privacy")


@require_POST
def forget_guest(request: HttpRequest) -> HttpResponse:
    """Forget the guest of this browser, whose account, if any, is another matter."""
    guest = guest_read(request)
    if guest is not None:
        guest_forget(guest_id=guest["id"])
    messages.success(request, _("This browser's guest is forgotten."))
    response = redirect("privacy")
    response.delete_cookie(settings.GUEST_COOKIE_NAME, samesite="Lax")
    return response


@require_GET
def robots(request: HttpRequest) -> HttpResponse:
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in PRIVATE_PATHS)]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain")


@require_GET
def manifest(request: HttpRequest) -> HttpResponse:
    """What a phone needs to keep the site beside its apps."""
    icons = [
        {"src": static(f"img/icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
        for size, purpose in ((192, "any"), (512, "any"), (512, "maskable"))
    ]
    body = {
        "name": "Matchpoint",
        "short_name": "Matchpoint",
        "description": _("Pong against a friend or the machine, in your browser, right now. No account needed."),
        "lang": request.LANGUAGE_CODE,
        "start_url": reverse("home"),
        "scope": reverse("home"),
        "display": "standalone",
        "orientation": "any",
        "background_color": "#07110d",
        "theme_color": "#07110d",
        "icons": icons,
    }
    return JsonResponse(body, content_type="application/manifest+json")


@require_GET
def change_password(request: HttpRequest) -> HttpResponse:
    """Where password managers look: https://w3c.github.io/webappsec-change-password-url/."""
    return redirect("account_change_password")


@require_safe
def security(request: HttpRequest) -> HttpResponse:
    """Where holes are reported: https://www.rfc-editor.org/rfc/rfc9116."""
    if not settings.SECURITY_CONTACT:
        raise Http404
    lines = {
        "Contact": settings.SECURITY_CONTACT,
        "Expires": f"{timezone.now() + SECURITY_GOOD_FOR:%Y-%m-%dT00:00:00Z}",
        "Preferred-Languages": ", ".join(code for code, _ in settings.LANGUAGES),
        "Canonical": f"{settings.MATCHPOINT_ORIGIN}{request.path}",
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
