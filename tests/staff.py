"""Accounts on a deployed site, for as long as a test needs them, and the codes of their second factors."""

import base64
import hmac
import json
import secrets
import struct
import time
from dataclasses import dataclass, field

MAKE = """
import json
from accounts.models import User
from allauth.mfa.totp.internal.auth import TOTP
for name, password, is_staff, secret in json.loads({accounts!r}):
    user = User.objects.create_user(name, password=password, is_staff=is_staff, is_superuser=bool(secret))
    if secret:
        TOTP.activate(user, secret)
"""
REMOVE = "from accounts.models import User; User.objects.filter(username__in={names!r}).delete()"


@dataclass(frozen=True)
class Account:
    """Somebody with a password; staff, when told so, and with a second factor when there is a secret."""

    name: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    is_staff: bool = False
    secret: str = ""

    @classmethod
    def on_call(cls) -> "Account":
        return cls(is_staff=True, secret=base64.b32encode(secrets.token_bytes(20)).decode())

    @property
    def code(self) -> str:
        """The code of this half minute; each is good for one login."""
        digest = hmac.digest(base64.b32decode(self.secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
        offset = digest[-1] & 15
        return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def code_to_make(*accounts: Account) -> str:
    """What `matchpoint-manage shell -c` is told to make them."""
    rows = [[each.name, each.password, each.is_staff, each.secret] for each in accounts]
    return MAKE.format(accounts=json.dumps(rows))


def code_to_remove(*accounts: Account) -> str:
    return REMOVE.format(names=[each.name for each in accounts])
