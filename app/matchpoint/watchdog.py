"""Tells systemd that the event loop turns, so that a process that hangs is ended and started again.

The process asks for the watchdog itself. In the unit (WatchdogSec=) it would be there for the release before as well,
to which a rollback goes under the same unit, and which never beats.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

ALLOWED_S: Final = 60.0  # without a beat


async def beat(environment: Mapping[str, str] = os.environ, allowed_s: float = ALLOWED_S) -> None:
    """Three times in the time that is allowed, for as long as the loop runs; nothing where nobody listens.

    The protocol is sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    said = f"WATCHDOG_USEC={allowed_s * 1e6:.0f}\nWATCHDOG=1"  # again each time: systemd may have been away
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
        while True:
            with suppress(OSError):  # systemd is being restarted, or slow: the next beat is in time
                notify.sendto(said.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
            await asyncio.sleep(allowed_s / 3)
