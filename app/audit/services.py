import logging
import threading
from typing import Final

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.http import HttpRequest
from prometheus_client import Gauge

from accounts.models import User
from audit.models import Entry

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 15.0
STAFF_CHANGED: Final = Gauge(
    "matchpoint_staff_changed_timestamp_seconds",
    "When something that opens an account of staff was last changed; 0 if never, or before the first look.",
)
# Of staff, these are changes of what opens an account that can do much
_OPENING: Final = {Entry.Kind.PASSWORD, Entry.Kind.PASSWORD_RESET, Entry.Kind.ADDRESS, Entry.Kind.FACTOR}


def note(
    kind: Entry.Kind,
    *,
    user: User | None,
    request: HttpRequest | None,
    what: str = "",
    name: str = "",
    on_staff: bool = False,
) -> None:
    """Keep who did what, in the table and in the journal. Never secrets, nor what strangers typed.

    `name` is of who has no account here. `on_staff`: it changed who is staff, or what opens such an account.
    """
    name = user.get_username() if user else name
    address = request.META.get("REMOTE_ADDR") or None if request else None
    on_staff = on_staff or (user is not None and user.is_staff and kind in _OPENING)
    Entry.objects.create(
        kind=kind, user_pk=user.pk if user else None, name=name, address=address, what=what, on_staff=on_staff
    )
    logger.info("audit", extra={"kind": str(kind), "user": name, "address": address or "", "what": what})


def staff_changed_look() -> None:
    """Tell the monitoring of the newest change, by whichever process. DatabaseError."""
    newest = Entry.objects.filter(on_staff=True).order_by("-at").values_list("at", flat=True).first()
    STAFF_CHANGED.set(newest.timestamp() if newest else 0)


def watch_start() -> None:
    """Look every now and then, in a thread of this process, until it ends."""
    threading.Thread(target=_watch, name="audit-watch", daemon=True).start()


def _watch() -> None:
    pause = threading.Event()
    while True:
        try:
            close_old_connections()
            staff_changed_look()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("changes of staff wait for the database", extra={"error": error})
        except Exception:
            logger.exception("changes of staff could not be looked at")
        finally:
            close_old_connections()
        pause.wait(LOOK_SECONDS)
