"""Alerts and silences, for whoever is on call: Debian's Alertmanager has no pages of its own."""

import logging
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from audit.models import Entry
from audit.services import note
from ops.access import Staff, staff_page
from ops.alertmanager import FIRING, HEARTBEAT, Alert, Matcher, Refused, Unavailable, alertmanager
from ops.forms import SilenceForm, labels_read
from ops.runbooks import runbook_names

logger = logging.getLogger(__name__)

_TELLS_NOTHING = {"replica", "site"}
"""Labels that are the same for every alert of the site."""


@dataclass(frozen=True, slots=True)
class Row:
    """An alert on the page, with the query of the form that silences it, and the name of its runbook, if it has one."""

    alert: Alert
    silence: str
    runbook: str


def _silence_link(alert: Alert) -> str:
    """The query of the form that silences it."""
    return urlencode({name: value for name, value in alert.labels.items() if name not in _TELLS_NOTHING})


@staff_page
@require_safe
def oncall(request: HttpRequest, staff: Staff) -> HttpResponse:
    """What is firing, silenced and inhibited, and the silences."""
    books = set(runbook_names())
    context: dict[str, Any] = {"staff": staff, "now": timezone.now()}
    try:
        manager = alertmanager()
        alerts, silences = manager.alerts(), manager.silences()
    except Unavailable as error:
        return render(request, "ops/oncall.html", context | {"unavailable": error.reasons}, status=503)
    rows = [
        Row(alert, _silence_link(alert), alert.name if alert.name in books else "")
        for alert in alerts
        if alert.name != HEARTBEAT
    ]
    context |= {
        "firing": [row for row in rows if row.alert.state == FIRING],
        "quiet": [row for row in rows if row.alert.state != FIRING],
        "silences": silences,
        "has_heartbeat": any(alert.name == HEARTBEAT for alert in alerts),
    }
    return render(request, "ops/oncall.html", context)


@staff_page
@require_http_methods(["GET", "HEAD", "POST"])
def silence_new(request: HttpRequest, staff: Staff) -> HttpResponse:
    """The form and its target; the address has the labels of the alert."""
    if not staff.may_silence:
        raise PermissionDenied
    try:
        labels = labels_read(request.GET.dict())
    except ValidationError as error:
        messages.error(request, error.message)
        return redirect("ops:oncall")
    form = SilenceForm(labels, request.POST or None)
    status = 200
    if request.method == "POST" and form.is_valid():
        try:
            _silence_create(request, staff, form)
            return redirect("ops:oncall")
        except Unavailable as error:
            form.add_error(None, f"Nothing is silenced: no Alertmanager answers. {error}")
            status = 503
        except Refused as error:
            form.add_error(None, f"Nothing is silenced: Alertmanager says: {error}")
            status = 422
    context = {"staff": staff, "form": form, "name": Matcher("alertname", labels["alertname"])}
    return render(request, "ops/silence.html", context, status=status)


def _silence_create(request: HttpRequest, staff: Staff, form: SilenceForm) -> None:
    starts_at = timezone.now()
    ends_at = starts_at + form.length
    matchers, comment = form.matchers, form.cleaned_data["comment"]
    silence = alertmanager().silence_create(
        matchers=matchers, starts_at=starts_at, ends_at=ends_at, author=staff.username, comment=comment
    )
    _audit(request, f"created {silence} for {' '.join(map(str, matchers))}: {comment}")
    logger.info(
        "silence created",
        extra={
            "user": staff.username,
            "silence": silence,
            "matchers": " ".join(map(str, matchers)),
            "ends_at": ends_at.isoformat(timespec="seconds"),
            "comment": comment,
        },
    )
    messages.success(request, f"{' '.join(map(str, matchers))} is silent until {ends_at:%d %B, %H:%M} UTC.")


def _audit(request: HttpRequest, what: str) -> None:
    """Silences work while the database is away, which is when they are needed most: then the journal alone has them."""
    try:
        note(Entry.Kind.SILENCE, user=cast(User, request.user), request=request, what=what)
    except (OperationalError, InterfaceError):
        logger.warning("audit table unavailable", extra={"what": what})


@staff_page
@require_POST
def silence_expire(request: HttpRequest, staff: Staff, silence_id: UUID) -> HttpResponse:
    """End a silence: what it held back is heard again within a minute."""
    if not staff.may_silence:
        raise PermissionDenied
    try:
        alertmanager().silence_expire(str(silence_id))
    except (Unavailable, Refused) as error:
        messages.error(request, f"The silence goes on: {error}")
    else:
        _audit(request, f"ended {silence_id}")
        logger.info("silence expired", extra={"user": staff.username, "silence": silence_id})
        messages.success(request, "The silence is over.")
    return redirect("ops:oncall")
