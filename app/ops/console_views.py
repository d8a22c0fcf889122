"""What nginx asks about every request for a console, and the way in."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ops.access import Staff, login_url, staff_of, staff_page
from ops.alertmanager import FIRING, Unavailable, alertmanager

CONSOLES = {"grafana": "Grafana", "prometheus": "Prometheus", "alertmanager": "Alertmanager"}


@never_cache
@require_safe
def auth(request: HttpRequest) -> HttpResponse:
    """204 with the name and role of staff, else 401, 403 or 503. nginx asks, and passes nothing on but for a 204."""
    staff = staff_of(request)
    if not isinstance(staff, Staff):
        return HttpResponse(status=staff)
    return HttpResponse(status=204, headers={"X-Ops-User": staff.console_name, "X-Ops-Role": staff.role})


@never_cache
@require_safe
def enter(request: HttpRequest) -> HttpResponse:
    """Somebody who is not logged in opened a page of a console: nginx says which, and the login leads back to it."""
    target = request.headers.get("X-Original-URI", "")
    if not target.startswith("/ops/") or not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = reverse("ops:index")
    return redirect(login_url(target))


@staff_page
@require_safe
def index(request: HttpRequest, staff: Staff) -> HttpResponse:
    """Where on-call starts."""
    try:
        alerts = alertmanager().alerts()
        firing = {
            severity: sum(alert.state == FIRING and alert.severity == severity for alert in alerts)
            for severity in ("page", "ticket")
        }
    except Unavailable:
        firing = None
    return render(request, "ops/index.html", {"staff": staff, "firing": firing})


@staff_page
@require_safe
def console(request: HttpRequest, staff: Staff, name: str, rest: str = "") -> HttpResponse:
    """What nginx did not take for a console: its address without the slash, or a console that is not there."""
    if name not in CONSOLES:
        raise Http404
    if not request.path.startswith(f"/ops/{name}/"):
        return redirect(f"/ops/{name}/")
    if name == "alertmanager" and not rest:
        return redirect("ops:oncall")  # Debian's Alertmanager has no pages of its own; links in notifications lead here
    context = {"staff": staff, "console": CONSOLES[name], "is_play": not settings.ALERTMANAGER_URLS}
    return render(request, "ops/no_console.html", context, status=404)
