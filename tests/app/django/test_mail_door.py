"""The relay is reached through the host's door, whatever the name of the relay leads to from here."""

import socket
import ssl
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

from matchpoint.mail import EmailBackend

RELAY = "relay.invalid"  # which no name server knows


@pytest.fixture
def door(settings: Any) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        settings.EMAIL_DOOR = listener.getsockname()
        settings.DOMAIN = "pong.example.com"
        yield listener


def test_a_mail_goes_through_the_door(door: socket.socket) -> None:
    heard: list[bytes] = []

    def relay() -> None:
        connection, _ = door.accept()
        with connection, connection.makefile("rwb") as line:
            line.write(b"220 relay\r\n")
            line.flush()
            heard.append(line.readline())
            line.write(b"250 relay\r\n")
            line.flush()
            heard.append(line.readline())

    thread = Thread(target=relay)
    thread.start()
    backend = EmailBackend(host=RELAY, port=25, username="", password="", use_tls=False, use_ssl=False, timeout=10)
    assert backend.open()
    backend.connection.ehlo()
    backend.connection.sock.close()
    backend.connection.close()
    thread.join(10)
    assert heard[0] == b"ehlo pong.example.com\r\n", "relays may want the whole name"


def test_tls_asks_for_the_relay_and_not_for_the_door(door: socket.socket) -> None:
    asked: list[str | None] = []

    def relay() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda sock, name, context: asked.append(name)
        connection, _ = door.accept()
        with connection, pytest.raises(ssl.SSLError):  # it has no certificate
            context.wrap_socket(connection, server_side=True)

    thread = Thread(target=relay)
    thread.start()
    backend = EmailBackend(host=RELAY, port=465, username="", password="", use_tls=False, use_ssl=True, timeout=10)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        backend.open()
    thread.join(10)
    assert asked == [RELAY]
