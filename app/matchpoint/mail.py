"""Mail goes to the relay through a door of the host."""

import smtplib
import socket
from typing import Any

from django.conf import settings
from django.core.mail.backends import smtp


class _Through(smtplib.SMTP):
    """A connection that is opened to the door and speaks to the relay: TLS still asks for the relay's name."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection(settings.EMAIL_DOOR or (host, port), timeout)


class _ThroughWithTls(smtplib.SMTP_SSL, _Through):
    """The same, with TLS from the first byte: `SMTP_SSL` asks its parent for the plain socket."""


class EmailBackend(smtp.EmailBackend):
    """Django's own, with `settings.EMAIL_DOOR` (host, port) in between."""

    @property
    def connection_class(self) -> Any:
        kind = _ThroughWithTls if self.use_ssl else _Through

        def connect(*arguments: Any, **options: Any) -> smtplib.SMTP:
            # Not what the host calls itself: the game may ask no name server for the whole of it
            return kind(*arguments, **options | {"local_hostname": settings.DOMAIN})

        return connect
