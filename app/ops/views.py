from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from ops.health import probe


@require_safe
async def livez(request: HttpRequest) -> HttpResponse:
    """200 while this process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain", headers={"Cache-Control": "no-store"})


@require_safe
async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when this process can serve, else 503; the body names each check."""
    readiness = await probe.ask()
    body = {"ready": readiness.is_ready, "release": settings.RELEASE_ID, "checks": readiness.checks}
    return JsonResponse(body, status=200 if readiness.is_ready else 503, headers={"Cache-Control": "no-store"})


@require_safe
async def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask here when a page names no icon: the admin, and answers that are not HTML."""
    return redirect(static("img/favicon.svg"))
