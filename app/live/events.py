"""The events of a match as they are kept: as their JSON, which is what everybody gets, and a quarter of the memory."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Self, overload

import msgspec

BLOCK: Final = 64  # events that are kept in one piece, once as many came after them

_encode: Final = msgspec.json.Encoder().encode
_split: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


def array(events: Sequence[bytes]) -> bytes:
    """The JSON array of encoded events."""
    return b"[" + b",".join(events) + b"]"


class EventLog:
    """Events in order of their versions, from 1 on. It only grows."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._open: list[bytes] = []

    def __len__(self) -> int:
        return BLOCK * len(self._blocks) + len(self._open)

    def add(self, event: dict[str, Any]) -> bytes:
        """Keep an event; answers with its JSON."""
        encoded = _encode(event)
        self._open.append(encoded)
        if len(self._open) == 2 * BLOCK:
            self._blocks.append(array(self._open[:BLOCK]))
            del self._open[:BLOCK]
        return encoded

    def encoded(self, first: int, last: int) -> list[bytes]:
        """The JSON of each event after version `first` and up to version `last`."""
        closed = BLOCK * len(self._blocks)
        found: list[bytes] = []
        for number in range(first // BLOCK, min(-(-last // BLOCK), len(self._blocks))):
            begin = BLOCK * number
            block = _split(self._blocks[number])
            found += [bytes(event) for event in block[max(first - begin, 0) : last - begin]]
        return found + self._open[max(first - closed, 0) : max(last - closed, 0)]


class Events(Sequence[dict[str, Any]]):
    """The first `count` events of a log, whatever is added to it later."""

    def __init__(self, log: EventLog, count: int) -> None:
        self._log = log
        self._count = count

    @classmethod
    def of(cls, events: Iterable[dict[str, Any]]) -> Self:
        log = EventLog()
        for event in events:
            log.add(event)
        return cls(log, len(log))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return _decode(self.json())[index]

    def __eq__(self, other: object) -> bool:
        return self[:] == (other[:] if isinstance(other, Events) else other)

    __hash__ = None  # type: ignore[assignment]  # as lists

    def upto(self, version: int) -> "Events":
        """Those up to a version."""
        return Events(self._log, min(version, self._count))

    def log(self) -> EventLog:
        """A log of its own that begins with these."""
        log = EventLog()
        for event in self[:]:
            log.add(event)
        return log

    def json(self, first: int = 0) -> bytes:
        """Those after version `first` as a JSON array."""
        return array(self._log.encoded(first, self._count))
