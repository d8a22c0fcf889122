"""After a change of SECRET_KEY: what the old one has encrypted or signed in the database, once more with the new one.

The old key stays in SECRET_KEY_FALLBACKS until this is done. Doing it twice is harmless.
"""

from dataclasses import dataclass
from importlib import import_module

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils.crypto import constant_time_compare

from accounts.models import User, WaitingMail


@dataclass(frozen=True, slots=True)
class Rekeyed:
    second_factors: int
    sessions: int
    mails: int


def rekey() -> Rekeyed:
    """What cannot be read with any of the keys stays as it is."""
    return Rekeyed(
        second_factors=sum(map(_second_factor, Authenticator.objects.values_list("pk", flat=True))),
        sessions=sum(map(_session, Session.objects.values_list("pk", flat=True))),
        mails=sum(map(_mail, WaitingMail.objects.all())),
    )


@transaction.atomic
def _second_factor(pk: int) -> bool:
    found = Authenticator.objects.select_for_update().filter(pk=pk).first()
    if found is None:
        return False
    adapter, data = get_adapter(), dict(found.data)
    for name in ("secret", "seed"):  # TOTP, recovery codes
        if name in data:
            data[name] = adapter.rotate(data[name])
    if "migrated_codes" in data:
        data["migrated_codes"] = [adapter.rotate(code) for code in data["migrated_codes"]]
    if data == found.data:
        return False
    found.data = data
    found.save(update_fields=["data"])
    return True


def _session(key: str) -> bool:
    """A session is signed with the key, and proves by a hash of it that its user still has the same password."""
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    content = store.load()
    user = User.objects.filter(pk=content[SESSION_KEY]).first() if content.get(SESSION_KEY) else None
    proof = content.get(HASH_SESSION_KEY, "")
    if user and any(constant_time_compare(proof, old) for old in user.get_session_auth_fallback_hash()):
        store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    elif not content:  # nobody's, or no more
        return False
    store.save(must_create=False)
    return True


def _mail(waiting: WaitingMail) -> bool:
    """Without a lock: its content never changes otherwise, and whoever sends it meanwhile can read both."""
    content = get_adapter().rotate(waiting.content)
    return content != waiting.content and WaitingMail.objects.filter(pk=waiting.pk).update(content=content) > 0
