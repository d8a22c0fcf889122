from itertools import groupby

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ops.access import Staff, staff_page
from ops.alertmanager import HEARTBEAT
from ops.runbooks import runbook_get, runbook_search


@staff_page
@require_safe
def runbooks(request: HttpRequest, staff: Staff) -> HttpResponse:
    """All of them by component, or those with the words asked for."""
    words = request.GET.get("q", "")[:100]
    found = sorted(runbook_search(words), key=lambda runbook: (runbook.component, runbook.name))
    groups = [(component, list(books)) for component, books in groupby(found, key=lambda runbook: runbook.component)]
    return render(request, "ops/runbooks.html", {"staff": staff, "groups": groups, "words": words, "found": len(found)})


@staff_page
@require_safe
def runbook(request: HttpRequest, staff: Staff, name: str) -> HttpResponse:
    book = runbook_get(name)
    if book is None:
        raise Http404
    context = {"staff": staff, "book": book, "may_be_silenced": name != HEARTBEAT}
    return render(request, "ops/runbook.html", context)
