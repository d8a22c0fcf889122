"""For schemathesis: the site's name leads to the address that the inventory says, with certificate and all."""

import os
import socket

_ask = socket.getaddrinfo


def _answer(name, *arguments, **options):
    known = name in (os.environ["AUDIT_NAME"], os.environ["AUDIT_NAME"].encode())
    return _ask(os.environ["AUDIT_ADDRESS"] if known else name, *arguments, **options)


socket.getaddrinfo = _answer
