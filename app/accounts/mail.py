"""Mails wait in the database until the relay takes them.

Whoever asks for one is answered at once, whether or not there is a relay, and an account under the address. The texts
are encrypted, since links that open accounts would stand in the write-ahead log and in every backup; a mail is deleted
as soon as the relay has it.
"""

import json
import logging
import threading
import time
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any, Final

from allauth.mfa.adapter import get_adapter as mfa_adapter
from cryptography.fernet import InvalidToken
from django.core.mail import EmailMultiAlternatives
from django.db import DatabaseError, InterfaceError, close_old_connections, transaction
from django.db.models import Min
from django.utils import timezone
from prometheus_client import Counter, Gauge

from accounts.models import WaitingMail

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
LEASE: Final = timedelta(minutes=1)  # of who sends it: longer than the relay's timeout
RETRY: Final = timedelta(seconds=30)  # doubled each time
RETRY_MAX: Final = timedelta(minutes=15)
GIVE_UP: Final = timedelta(days=1)  # links are stale by then

MAILS_SENT = Counter("matchpoint_mails_sent_total", "Mails that the relay took.")
MAILS_FAILED = Counter("matchpoint_mails_failed_total", "Tries to send a mail that failed.")
MAIL_OLDEST = Gauge(
    "matchpoint_mail_oldest_seconds",
    "Age of the oldest mail that waits for the relay, 0 if none does; of the last look, where the sender hangs.",
)
HANGS: Final = 60.0  # seconds without a look

_wake = threading.Event()
_waits_since: float | None = None  # the oldest mail of the last look, on the clock of time.monotonic
_looked_at: float | None = None  # on the same clock; none before the first


def mail_queue(message: EmailMultiAlternatives) -> None:
    """Have `message` sent once the transaction is through. Without a recipient it costs the same and goes nowhere."""
    about = {
        "to": [address for address in message.to if address],
        "subject": message.subject,
        "body": message.body,
        "from": message.from_email,
        "others": [[str(content), str(kind)] for content, kind in message.alternatives],
    }
    WaitingMail.objects.create(content=mfa_adapter().encrypt(json.dumps(about)))
    transaction.on_commit(_wake.set)


def mails_send() -> int:
    """Send what is due; how many were taken off the queue. Several processes may do so at a time. DatabaseError."""
    global _waits_since, _looked_at
    done = 0
    while (mail := _claim()) is not None:
        done += _try(mail)
    oldest = WaitingMail.objects.aggregate(at=Min("created_at"))["at"]
    _looked_at = time.monotonic()
    _waits_since = _looked_at - (timezone.now() - oldest).total_seconds() if oldest else None
    return done


def _oldest_seconds() -> float:
    """What MAIL_OLDEST tells, whatever the thread that sends is at."""
    now = time.monotonic()
    if _waits_since is not None:
        return now - _waits_since
    silent = now - _looked_at if _looked_at is not None else 0.0
    return silent if silent > HANGS else 0.0


MAIL_OLDEST.set_function(_oldest_seconds)


@transaction.atomic
def _claim() -> WaitingMail | None:
    """A mail that is due, put off for everybody else while it is tried."""
    due = WaitingMail.objects.select_for_update(skip_locked=True).filter(due_at__lte=timezone.now())
    mail = due.order_by("due_at").first()
    if mail is not None:
        mail.due_at = timezone.now() + LEASE
        mail.tries += 1
        mail.save(update_fields=["due_at", "tries"])
    return mail


def _try(mail: WaitingMail) -> bool:
    """Whether the mail is off the queue: sent, refused for good, or too old."""
    try:
        message = _message(mail)
        if message.to:
            message.send()
            MAILS_SENT.inc()
    except (OSError, SMTPException, InvalidToken, ValueError, KeyError) as error:
        MAILS_FAILED.inc()
        is_final = _is_final(error) or timezone.now() - mail.created_at > GIVE_UP
        logger.error("mail failed", extra={"mail": mail.pk, "tries": mail.tries, "final": is_final, "error": error})
        if not is_final:
            mail.due_at = timezone.now() + min(RETRY * 2 ** min(mail.tries - 1, 10), RETRY_MAX)
            mail.save(update_fields=["due_at"])
            return False
    mail.delete()
    return True


def _is_final(error: Exception) -> bool:
    """Whether another try is in vain: no such recipient (RFC 3463, 5.1.x), or the text cannot be read any more.

    Whatever else a relay refuses may be its own fault, or ours, and waits for a repair.
    """
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 and b"5.1." in reason for code, reason in error.recipients.values())
    return isinstance(error, InvalidToken | ValueError | KeyError)


def _message(mail: WaitingMail) -> EmailMultiAlternatives:
    about = json.loads(mfa_adapter().decrypt(mail.content))
    message = EmailMultiAlternatives(about["subject"], about["body"], about["from"], about["to"])
    for content, kind in about["others"]:
        message.attach_alternative(content, kind)
    return message


def sender_start() -> None:
    """Send mails in a thread of this process, from now until it ends. What it was at is sent by another one later."""
    threading.Thread(target=_send_for_ever, name="mail-sender", daemon=True).start()


def _send_for_ever() -> Any:
    while True:
        try:
            close_old_connections()
            mails_send()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("mails wait for the database", extra={"error": error})
        except Exception:
            logger.exception("mails could not be sent")
        finally:
            close_old_connections()
        _wake.wait(LOOK_SECONDS)
        _wake.clear()
