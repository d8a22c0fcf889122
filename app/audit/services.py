import logging

from django.http import HttpRequest

from accounts.models import User
from audit.models import Entry

logger = logging.getLogger(__name__)


def note(kind: Entry.Kind, *, user: User | None, request: HttpRequest | None, what: str = "") -> None:
    """Keep who did what, in the table and in the journal. Never secrets, nor what strangers typed."""
    name = user.get_username() if user else ""
    address = request.META.get("REMOTE_ADDR") or None if request else None
    Entry.objects.create(kind=kind, user_pk=user.pk if user else None, name=name, address=address, what=what)
    logger.info("audit", extra={"kind": str(kind), "user": name, "address": address or "", "what": what})
