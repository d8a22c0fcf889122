"""Tells systemd that the event loop turns, so that a process that hangs is ended and started again (WatchdogSec=)."""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress


async def beat(environment: Mapping[str, str] = os.environ) -> None:
    """Three times in the time that systemd allows, for as long as the loop runs; nothing where nobody listens.

    The protocol is sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. ValueError: WATCHDOG_USEC is no
    number.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    allowed_us = int(environment.get("WATCHDOG_USEC") or 0)
    if not address or not allowed_us:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
        while True:
            with suppress(OSError):  # systemd is being restarted, or slow: the next beat is in time
                notify.sendto(b"WATCHDOG=1", address.replace("@", "\0", 1) if address[0] == "@" else address)
            await asyncio.sleep(allowed_us / 3_000_000)
