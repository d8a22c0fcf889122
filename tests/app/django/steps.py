"""What people do in a browser, a line each."""

import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.test import Client

from accounts.mail import mails_send

PASSWORD = "correct horse 42"


def totp_code(secret: str, *, step: int = 0) -> str:
    """The code that a phone shows `step` half minutes from now."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step)))


def log_in(client: Client, login: str = "ada", password: str = PASSWORD, **query: str) -> Any:
    return client.post("/accounts/login/", {"login": login, "password": password}, query_params=query)


def proved(client: Client, password: str = PASSWORD) -> Any:
    """Types the password again, as before every change of what opens the account."""
    return client.post("/accounts/reauthenticate/", {"password": password})


def set_up_totp(client: Client) -> tuple[str, Any]:
    """Activate TOTP as a signed-in user does; the secret and the response."""
    proved(client)
    page = client.get("/accounts/2fa/totp/activate/")
    assert page.status_code == 200
    secret = page.context["form"].secret
    return secret, client.post("/accounts/2fa/totp/activate/", {"code": totp_code(secret)})


def delivered() -> list[Any]:
    """The mails that were received so far."""
    mails_send()
    return mail.outbox
