"""The straight way of a socket: over a real handshake with Daphne's protocol, on a real pair of sockets."""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import main, tcp
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from live.transport import wire
from live.transport.connection import INPUT_BURST
from live.transport.server import INBOUND_MAX, MatchpointProtocol, pace
from tests.every import every

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: testserver\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


class Reactor:
    """Notes who wants to write; the test calls them."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.later: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)

    def callLater(self, seconds: float, call: Any) -> None:
        self.later.append(call)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)


class Daphne:
    """As much of Daphne's server as a protocol asks for."""

    root_path = ""
    proxy_forwarded_address_header = None

    def __init__(self) -> None:
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def protocol_connected(self, protocol: Any) -> None: ...
    def protocol_disconnected(self, protocol: Any) -> None: ...
    def log_action(self, *action: Any) -> None: ...
    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[dict[str, Any]]:
        return self.queue


class Line:
    """A socket that the server has accepted, and the client's end of it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.client = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.settimeout(5)
        self.reactor = Reactor()
        factory = WebSocketFactory(Daphne())
        factory.protocol = MatchpointProtocol
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, maxMessagePayloadSize=1024)
        self.protocol: Any = factory.buildProtocol(None)
        self.protocol._raw_query_string = b""
        self.transport = tcp.Server(ours, self.protocol, ("127.0.0.1", 1), None, 1, self.reactor)  # type: ignore[arg-type]
        self.transport.getPeer = self.transport.getHost = lambda: None  # type: ignore[method-assign, assignment, return-value]
        self.protocol.makeConnection(self.transport)
        self.heard: list[str | None] = []
        self.waited: list[int] = []
        self.is_gone = False
        self.says(HANDSHAKE)
        self.protocol.serverAccept()
        self.writes()
        assert self.client.recv(4096).startswith(b"HTTP/1.1 101")
        assert self.protocol.application_queue.get_nowait() == {"type": "websocket.connect"}

    def listen(self) -> "Line":
        assert self.protocol.is_straight
        self.protocol.listen(self.hear, lambda: setattr(self, "is_gone", True))
        return self

    def hear(self, text: str | None, waited: int) -> None:
        self.heard.append(text)
        self.waited.append(waited)

    def says(self, data: bytes) -> None:
        self.client.sendall(data)
        assert self.transport.doRead() is None

    def writes(self) -> None:
        """What the reactor would do while the socket takes more."""
        for writer in list(self.reactor.writers):
            writer.doWrite()

    def hears(self) -> bytes:
        """All that the client gets until nothing more comes."""
        found = b""
        self.client.setblocking(False)
        while True:
            try:
                found += self.client.recv(1 << 20)
            except BlockingIOError:
                if not self.reactor.writers:
                    return found
                self.writes()


def masked(kind: int, payload: bytes, mask: bytes = b"\x01\x82\x03\xf4") -> bytes:
    head = bytes((kind, 0x80 | len(payload))) if len(payload) < 126 else struct.pack(">BBH", kind, 0xFE, len(payload))
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def code_of(frame: bytes) -> int:
    assert frame[0] == CLOSE
    return int.from_bytes(frame[2:4], "big")


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.client.close()


PLACES = [("transport", name) for name in wire.OF_TWISTED]
PLACES += [("protocol", name) for name in (*wire.OF_AUTOBAHN, *wire.OF_DAPHNE)]


@every(PLACES)
def test_private_names_are_where_they_are_expected(place: tuple[str, str]) -> None:
    """An upgrade that moves one is seen here; without it sockets would go the slow way."""
    part, name = place
    assert hasattr(getattr(Line(), part), name)


def test_private_names_mean_what_they_did(line: Line) -> None:
    protocol, transport = line.listen().protocol, line.transport
    assert (transport.dataBuffer, transport._tempDataLen, transport.TLS) == (b"", 0, False)
    transport.write(b"12345")
    assert transport._tempDataLen == 5
    line.writes()
    assert (transport.dataBuffer, transport._tempDataLen) == (b"", 0)
    assert (protocol.data, protocol.current_frame, protocol.inside_message) == (b"", None, False)
    line.says(masked(0x01, b"first"))  # a fragment
    assert protocol.inside_message
    line.says(masked(0x80, b" and last")[:4])
    assert protocol.data
    protocol._sendAutoPing()
    assert protocol.autoPingPending


@pytest.mark.parametrize("name", [*wire.OF_TWISTED, *wire.OF_AUTOBAHN, *wire.OF_DAPHNE])
def test_without_a_private_name_sockets_go_the_way_of_asgi(
    line: Line, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for names in ("OF_TWISTED", "OF_AUTOBAHN", "OF_DAPHNE"):
        known = getattr(wire, names)
        monkeypatch.setattr(wire, names, tuple(f"{each}_of_old" if each == name else each for each in known))
    assert not line.protocol.is_straight


def test_messages_of_every_form_are_heard_in_order(line: Line) -> None:
    line.says(masked(TEXT, b"before"))
    line.listen()
    whole = masked(TEXT, b"short") + masked(TEXT, "ünder".encode()) + masked(TEXT, b"") + masked(TEXT, b"x" * 300)
    whole += masked(0x01, b"in ") + masked(0x80, b"parts") + masked(BINARY, b"\x00") + masked(TEXT, b"last")
    line.says(whole)
    expected = ["before", "short", "ünder", "", "x" * 300, "in parts", None, "last"]
    assert line.heard == expected
    line.heard.clear()
    for at in range(0, len(whole), 3):  # as the network may cut it
        line.says(whole[at : at + 3])
    assert line.heard == expected[1:]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (masked(TEXT, b"\xff\xfe"), 1007),
        (bytes((TEXT, 2)) + b"hi", 1002),  # not masked
        (masked(0xC1, b"hi"), 1002),  # of an extension that nobody agreed on
        (masked(0x83, b"hi"), 1002),  # reserved
        (masked(TEXT, b"x" * 1025), 1009),
    ],
)
def test_broken_frames_are_refused_as_before(line: Line, frame: bytes, code: int) -> None:
    line.listen().says(masked(TEXT, b"good") + frame + masked(TEXT, b"never"))
    assert line.heard == ["good"]
    assert code_of(line.hears()) == code


def test_frames_come_whole_and_in_order_however_full_the_socket_is(line: Line) -> None:
    protocol = line.listen().protocol
    line.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    room = []
    protocol.on_room = lambda: room.append(protocol.is_full)
    sent, count = b"", 0
    while protocol.write(message := f"{count:05d}".encode() + b"x" * (count * 37 % 900)):
        sent += wire.frame(message)
        count += 1
        assert count < 10_000, "it was never full"
    assert protocol.is_full
    assert line.hears() == sent
    assert room == [False]
    assert protocol.write(b"again")
    assert not line.reactor.writers, "with room it goes to the socket at once"
    assert line.hears() == wire.frame(b"again")


def test_a_frame_goes_behind_what_twisted_still_has(line: Line) -> None:
    line.listen().transport.write(wire.frame(b"first"))
    assert line.protocol.write(b"second")
    assert line.hears() == wire.frame(b"first") + wire.frame(b"second")


def test_a_message_inside_another_is_refused(line: Line) -> None:
    line.listen().says(masked(0x01, b"half"))
    line.says(masked(TEXT, b"new"))
    assert line.heard == []
    assert code_of(line.hears()) == 1002


@every([0, 125, 126, 65535, 65536])
def test_frames_have_the_head_of_their_size(size: int) -> None:
    head = {0: b"\x81\x00", 125: b"\x81\x7d"}.get(size) or (
        struct.pack(">BBH", 0x81, 126, size) if size < 65536 else struct.pack(">BBQ", 0x81, 127, size)
    )
    assert wire.frame(b"x" * size) == head + b"x" * size


def test_the_server_measures_the_round_trip(line: Line) -> None:
    protocol = line.listen().protocol
    assert protocol.rtt() is None
    ping = line.hears()
    assert ping[0] == PING
    line.says(masked(PONG, ping[2:]) + masked(PONG, b"of somebody's own"))
    assert 0 <= protocol.rtt() < 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when bytes came")
def test_a_message_says_how_long_it_was_not_read(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.listen().says(masked(TEXT, b"at once") + masked(0x01, b"in "))
    line.client.sendall(masked(0x80, b"parts") + masked(TEXT, b"behind"))
    monkeypatch.setattr("live.transport.wire._arrivals.waited", lambda stamp: (time.time_ns() - stamp) // 1000 + 80_000)
    line.transport.doRead()
    at_once, parts, behind = line.waited
    assert 0 <= at_once < 500_000
    assert 80_000 <= parts == behind < 500_000


def test_a_wall_clock_that_is_set_is_nobodys_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unlike a stall, however long: that goes on all clocks."""
    second, hour = 1_000_000_000, 3600 * 1_000_000_000
    walls, steady = 1_000 * hour, 5 * hour
    monkeypatch.setattr("live.transport.wire.time.time_ns", lambda: walls)
    monkeypatch.setattr("live.transport.wire.time.monotonic_ns", lambda: steady)
    arrivals = wire.Arrivals()
    stamp, walls, steady = walls, walls + 4 * second, steady + 4 * second
    assert arrivals.waited(stamp) == 4_000_000
    assert arrivals.waited(walls + 1) == 0, "a stamp of the future"
    assert arrivals.waited(walls - 11 * second) == 0, "who waits for so long was closed"
    for jump in (second, -second, hour):
        stamp, walls, steady = walls, walls + jump, steady + 1_000_000
        assert arrivals.waited(stamp) == 0
        assert arrivals.waited(stamp) == 0, "what came before the jump and is read after another"
        assert arrivals.waited(walls - second) == 0
        walls, steady = walls + 10 * second, steady + 10 * second
        assert arrivals.waited(walls - second) == 1_000_000


def test_a_peer_that_goes_ends_the_socket(line: Line) -> None:
    line.listen()
    assert line.transport.doRead() is None, "nothing there yet"
    line.client.close()
    assert line.transport.doRead() is main.CONNECTION_DONE
    line.transport.socket.close()
    assert line.transport.doRead() is main.CONNECTION_LOST


def test_the_end_of_a_socket_is_told_once(line: Line) -> None:
    protocol = line.listen().protocol
    line.says(masked(CLOSE, struct.pack(">H", 1000)))
    protocol.connectionLost(tcp.failure.Failure(tcp.error.ConnectionDone()))  # type: ignore[attr-defined]
    assert line.is_gone
    line.is_gone = False
    protocol.onClose(True, 1000, "")
    assert not line.is_gone
    assert protocol.write(b"nobody hears this")


def test_an_end_while_messages_wait_comes_after_them(line: Line) -> None:
    line.says(masked(TEXT, b"one") + masked(TEXT, b"two"))
    line.protocol.onClose(False, 1006, "")
    line.protocol.listen(line.hear, lambda: line.heard.append("gone"))
    assert line.heard == ["one", "two", "gone"]


def test_more_messages_than_a_socket_may_send_do_not_pile_up_before_the_match_is_found(line: Line) -> None:
    line.says(masked(TEXT, b"hello") * (INBOUND_MAX + 5))
    assert line.protocol.application_queue.qsize() == INBOUND_MAX
    answer = line.hears()
    assert b'"code":4429' in answer
    assert answer.endswith(struct.pack(">BBH", CLOSE, 2, 4429))


@pytest.mark.parametrize("is_heard", [False, True])
@pytest.mark.parametrize("frame", [masked(PING, b""), masked(PONG, b"x"), masked(0x01, b"") + masked(0x00, b"")])
def test_frames_that_are_no_messages_count_as_such(line: Line, frame: bytes, is_heard: bool) -> None:
    """Pings, pongs and endless parts of a message, before the match is found and after it."""
    if is_heard:
        line.listen()
    part = masked(0x00, b"") if frame[0] == 0x01 else frame
    line.says(frame + part * (INPUT_BURST // 2))
    assert b'"code":4429' not in line.hears()
    line.says(part * INPUT_BURST)
    answer = line.hears()
    assert answer.endswith(struct.pack(">BBH", CLOSE, 2, 4429))
    assert answer.count(b'"code":4429') == 1


def test_options_stand_on_the_class_and_are_those_of_the_factory() -> None:
    """Autobahn copies them to each socket; an upgrade that does otherwise would leave sockets without limits."""
    factory = WebSocketFactory(Daphne())
    factory.setProtocolOptions(maxMessagePayloadSize=1024, failByDrop=False)
    assert {"maxMessagePayloadSize", "maxFramePayloadSize", "failByDrop"} <= set(MatchpointProtocol.CONFIG_ATTRS)
    kind = wire.with_options(MatchpointProtocol, factory)
    factory.protocol = kind
    protocol = factory.buildProtocol(None)
    for name in MatchpointProtocol.CONFIG_ATTRS:
        assert getattr(protocol, name) == getattr(factory, name), name
    assert protocol.maxMessagePayloadSize == 1024
    assert not set(kind.CONFIG_ATTRS)


def test_nothing_of_the_handshake_is_kept(line: Line) -> None:
    """It was 13 kB a socket. Afterwards the socket still closes as it should."""
    line.listen()
    held = {name: getattr(line.protocol, name) for name in (*wire.REMAINS, "send_queue")}
    assert not any(held.values()), held
    assert not line.protocol.request.headers
    line.protocol.serverClose(1012)
    assert code_of(line.hears()) == 1012
    line.protocol.connectionLost(Failure(main.CONNECTION_DONE))
    assert line.is_gone


def test_many_who_come_at_once_are_let_in_a_few_at_a_time() -> None:
    reactor, accepted = Reactor(), []
    factory = Factory()
    factory.buildProtocol = accepted.append  # type: ignore[method-assign, assignment]  # and hangs up
    port = tcp.Port(0, factory, interface="127.0.0.1", reactor=reactor)  # type: ignore[arg-type]
    port.startListening()
    pace(port)
    clients = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(5)]
    try:
        for count in (2, 4, 5, 5):
            assert port in reactor.readers
            port.doRead()
            assert len(accepted) == count
            assert port not in reactor.readers, "the matches have their turn"
            reactor.later.pop()()
        port.doRead()
        port.disconnecting = True
        reactor.later.pop()()
        assert port not in reactor.readers, "a port that closes stays closed"
    finally:
        for client in clients:
            client.close()
        port.socket.close()
