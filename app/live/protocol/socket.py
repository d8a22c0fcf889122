"""A socket as the messages and the matches know it, whatever carries it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Refused(Exception):
    """The socket must close with `code` (docs/protocol.md); `detail` is a sentence for its `error` message."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code} {detail}")
        self.code = code
        self.detail = detail


class Frame(NamedTuple):
    """A message to clients, built once, however many sockets it goes to."""

    name: str  # its `t`
    data: bytes  # its JSON


class Socket(Protocol):
    """The server's end of a socket that is open. None of its methods blocks or raises.

    `rtt` answers with the last round trip (µs) that the server itself has measured, or None; `line_rtt` is what the
    kernel of the edge measured when the socket opened. `silence` is for how long (µs) nothing was heard.
    """

    rtt: Callable[[], int | None]
    line_rtt: int | None
    identity: str
    protocol: int
    told_by: str  # the owner whose events the client holds
    waited: int  # (µs) for how long the message that is heard has been here unread

    def send(self, frame: Frame) -> None: ...

    def silence(self) -> int: ...

    def refuse(self, refused: Refused) -> None:
        """Say why, and close."""

    def close(self, code: int) -> None:
        """Close with `code` after the frames that are sent; the first code wins."""
