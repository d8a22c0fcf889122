"""Valkey in memory, behind the wire protocol: the real client parses its answers, on links that can be cut and slow.

It knows the commands that the directory uses, its transactions and script, and keys that expire by the turned clock.
"""

import asyncio
import copy
import fnmatch
import hashlib
import random
from collections.abc import Callable
from typing import Any, Final

from lupa.lua51 import LuaRuntime  # the version that Valkey has
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ValkeyConnectionError
from redis.exceptions import NoScriptError

from tests.sim.loop import Process

TIMEOUT_S: Final = 2.0  # as live.directory has it
CONNECTIONS: Final = 32
HISTORY_S: Final = 0.25
TICK_S: Final = 1e-6  # between two packets: timers of one moment have no order

Value = Any  # bytes, a list, a dict of scores, or a set


class Valkey:
    """One server. `is_away`: it refuses connections. `history` has its data as it was, oldest first."""

    def __init__(self, time: Callable[[], float], written: Callable[[str, str], None]) -> None:
        self._time = time
        self._written = written
        self.data: dict[str, Value] = {}
        self.expires: dict[str, float] = {}
        self.versions: dict[str, int] = {}
        self.version = 0
        self.is_away = False
        self.links: dict[Link, None] = {}
        self._lua = LuaRuntime(encoding=None)
        self.scripts: dict[str, Callable[..., Any]] = {}
        self.history: list[tuple[float, dict[str, Value], dict[str, float]]] = []

    def remember(self) -> None:
        """Keep a copy to go back to."""
        self.history.append((self._time(), copy.deepcopy(self.data), dict(self.expires)))
        del self.history[:-12]

    def roll_back(self, seconds: float) -> None:
        """It crashed, and its file lacks the last `seconds`. All connections are lost."""
        until = self._time() - seconds
        _, data, expires = next((kept for kept in reversed(self.history) if kept[0] <= until), self.history[0])
        self.data, self.expires = copy.deepcopy(data), dict(expires)
        self.scripts.clear()
        self.drop_all()

    def forget(self) -> None:
        """Its file is lost as well."""
        self.data, self.expires, self.history = {}, {}, []
        self.remember()
        self.scripts.clear()
        self.drop_all()

    def go(self) -> None:
        self.is_away = True
        self.drop_all()

    def drop_all(self) -> None:
        for link in list(self.links):
            link.drop()

    def touch(self, key: str) -> None:
        self.version += 1
        self.versions[key] = self.version

    def _expire(self) -> None:
        now = self._time()
        for key in [key for key, due in self.expires.items() if due <= now]:
            self._delete(key)

    def _delete(self, key: str) -> int:
        self.expires.pop(key, None)
        if key not in self.data:
            return 0
        del self.data[key]
        self.touch(key)
        return 1

    def find(self, pattern: str) -> list[str]:
        self._expire()
        return [key for key in self.data if fnmatch.fnmatch(key, pattern)]

    def do(self, words: list[bytes]) -> Any:
        self._expire()
        name, *rest = words
        call = getattr(self, f"_do_{name.decode().lower()}", None)
        if call is None:
            raise NotImplementedError(words)
        return call(*[word.decode() for word in rest])

    def _do_ping(self) -> Any:
        return "PONG"

    def _do_client(self, *words: str) -> Any:
        return "OK"

    def _do_script(self, load: str, text: str) -> Any:
        assert load == "LOAD"
        digest = hashlib.sha1(text.encode()).hexdigest()
        function = f"function(call, KEYS, ARGV) local redis = {{call = call}} {text} end"
        self.scripts[digest] = self._lua.eval(function.encode())
        return digest

    def _do_evalsha(self, digest: str, count: str, *words: str) -> Any:
        if digest not in self.scripts:
            raise NoScriptError
        keys, arguments = words[: int(count)], words[int(count) :]
        tables = [self._lua.table(*(word.encode() for word in each)) for each in (keys, arguments)]
        return list(self.scripts[digest](self._called, *tables).values())

    def _called(self, *words: bytes) -> Any:
        """`redis.call` of a script."""
        answer = self.do(list(words))
        return False if answer is None else answer

    def _do_get(self, key: str) -> Any:
        return self.data.get(key)

    def _do_mget(self, *keys: str) -> Any:
        return [self.data.get(key) for key in keys]

    def _do_exists(self, *keys: str) -> Any:
        return sum(key in self.data for key in keys)

    def _do_del(self, *keys: str) -> Any:
        return sum(self._delete(key) for key in keys)

    def _do_set(self, key: str, value: str, *options: str) -> Any:
        if "NX" in options and key in self.data:
            return None
        self._written(key, value)
        self.data[key] = value.encode()
        self.expires.pop(key, None)
        if "EX" in options:
            self.expires[key] = self._time() + int(options[options.index("EX") + 1])
        self.touch(key)
        return "OK"

    def _do_incr(self, key: str) -> Any:
        count = int(self.data.get(key, b"0")) + 1
        self._do_set(key, str(count))
        return count

    def _do_expire(self, key: str, seconds: str) -> Any:
        if key not in self.data:
            return 0
        self.expires[key] = self._time() + int(seconds)
        self.touch(key)  # whoever watches the key takes that for a change
        return 1

    def _do_sadd(self, key: str, *members: str) -> Any:
        self.data.setdefault(key, set()).update(members)
        self.touch(key)
        return len(members)

    def _do_srem(self, key: str, *members: str) -> Any:
        self.data.setdefault(key, set()).difference_update(members)
        return self._emptied(key, len(members))

    def _do_smembers(self, key: str) -> Any:
        return sorted(self.data.get(key, ()))

    def _do_rpush(self, key: str, *items: str) -> Any:
        self.data.setdefault(key, []).extend(item.encode() for item in items)
        self.touch(key)
        return len(self.data[key])

    def _do_lrange(self, key: str, first: str, last: str) -> Any:
        assert (first, last) == ("0", "-1")
        return list(self.data.get(key, ()))

    def _do_zadd(self, key: str, *words: str) -> Any:
        options = [word for word in words if word == "XX"]
        scores = self.data.setdefault(key, {})
        pairs = words[len(options) :]
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            if member in scores or not options:
                scores[member] = float(score)
        return self._emptied(key, 0)

    def _do_zrem(self, key: str, *members: str) -> Any:
        scores = self.data.setdefault(key, {})
        gone = sum(scores.pop(member, None) is not None for member in members)
        return self._emptied(key, gone)

    def _emptied(self, key: str, answer: int) -> int:
        self.touch(key)
        if not self.data[key]:
            self._delete(key)
        return answer

    def _do_xrevrange(self, key: str, *words: str) -> Any:
        return []  # nobody is logged out here

    _do_xrange = _do_xrevrange

    def _ranked(self, key: str) -> list[tuple[str, float]]:
        return sorted(self.data.get(key, {}).items(), key=lambda pair: (pair[1], pair[0]))

    def _do_zrange(self, key: str, first: str, last: str, *options: str) -> Any:
        assert (first, last, options) == ("0", "-1", ("WITHSCORES",))
        return [text for member, score in self._ranked(key) for text in (member, repr(score))]

    def _do_zcount(self, key: str, least: str, most: str) -> Any:
        return sum(float(least) <= score <= float(most) for _, score in self._ranked(key))

    def _do_zrangebyscore(self, key: str, least: str, most: str, *options: str) -> Any:
        found = [member for member, score in self._ranked(key) if float(least) <= score <= float(most)]
        return found[: int(options[2])] if options else found


class Wire:
    """What lies between one process and the server: both ways can be cut, by themselves, and be slow."""

    def __init__(self, rng: random.Random, time: Callable[[], float]) -> None:
        self._rng = rng
        self._time = time
        self.slow_s = 0.0
        self.cut_until = {"out": 0.0, "back": 0.0}  # out: requests do not arrive; back: answers do not

    def cut(self, way: str, seconds: float) -> None:
        self.cut_until[way] = max(self.cut_until[way], self._time() + seconds)

    def arrival(self, way: str) -> float:
        """When something that is sent now arrives. What is cut off is sent again when the way is open, as TCP does."""
        delay = self._rng.uniform(0.0002, 0.002) + (self._rng.uniform(0, self.slow_s) if self.slow_s else 0.0)
        return max(self._time(), self.cut_until[way]) + delay


class Link:
    """One connection: a reader for the client, and the writer that the client has."""

    def __init__(self, valkey: Valkey, wire: Wire) -> None:
        self.reader = asyncio.StreamReader()
        self.transport = self
        self._valkey = valkey
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._due = {"out": 0.0, "back": 0.0}
        self._queue: list[list[bytes]] | None = None
        self._watched: dict[str, int] = {}
        self._is_closed = False
        valkey.links[self] = None

    # The client's writer

    def get_extra_info(self, name: str) -> None:
        return None

    def writelines(self, chunks: Any) -> None:
        if self._is_closed:
            raise ConnectionResetError(104, "reset by peer")
        self._send("out", self._arrive, b"".join(chunks))

    async def drain(self) -> None: ...

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        """The client hangs up. What it has sent before arrives all the same, or late."""
        self._is_closed = True

    async def wait_closed(self) -> None: ...

    # The server's end

    def drop(self) -> None:
        self._valkey.links.pop(self, None)
        if not self._is_closed:
            self._is_closed = True
            self.reader.feed_eof()

    def _send(self, way: str, call: Any, data: bytes) -> None:
        self._due[way] = max(self._due[way] + TICK_S, self._wire.arrival(way))
        self._loop.call_at(self._due[way], call, data, context=_nobody)

    def _arrive(self, data: bytes) -> None:
        if self not in self._valkey.links:
            return
        self._buffer += data
        answers = b""
        while (words := self._next()) is not None:
            answers += self._answer(words)
        if answers:
            self._send("back", self._feed, answers)

    def _feed(self, data: bytes) -> None:
        if not self._is_closed:
            self.reader.feed_data(data)

    def _next(self) -> list[bytes] | None:
        head, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return None
        words = []
        for _ in range(int(head[1:])):
            size, _, rest = rest.partition(b"\r\n")
            length = int(size[1:])
            words.append(rest[:length])
            rest = rest[length + 2 :]
        self._buffer = rest
        return words

    def _answer(self, words: list[bytes]) -> bytes:
        name = words[0].upper()
        match name:
            case b"WATCH":
                for word in words[1:]:
                    self._watched[word.decode()] = self._valkey.versions.get(word.decode(), 0)
                self._valkey._expire()
                return b"+OK\r\n"
            case b"UNWATCH":
                self._watched.clear()
                return b"+OK\r\n"
            case b"MULTI":
                self._queue = []
                return b"+OK\r\n"
            case b"DISCARD":
                self._queue = None
                self._watched.clear()
                return b"+OK\r\n"
            case b"EXEC":
                return self._execute()
        if self._queue is not None:
            self._queue.append(words)
            return b"+QUEUED\r\n"
        try:
            return _encode(self._valkey.do(words))
        except NoScriptError:
            return b"-NOSCRIPT No matching script.\r\n"

    def _execute(self) -> bytes:
        self._valkey._expire()
        queued, self._queue = self._queue or [], None
        watched, self._watched = self._watched, {}
        if any(self._valkey.versions.get(key, 0) != version for key, version in watched.items()):
            return b"*-1\r\n"
        return b"*%d\r\n" % len(queued) + b"".join(_encode(self._valkey.do(words)) for words in queued)


def _encode(value: Any) -> bytes:
    match value:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % value
        case "OK" | "PONG":
            return b"+%s\r\n" % value.encode()
        case str() | bytes():
            data = value.encode() if isinstance(value, str) else value
            return b"$%d\r\n%s\r\n" % (len(data), data)
        case list():
            return b"*%d\r\n" % len(value) + b"".join(map(_encode, value))
    raise TypeError(value)


class _SimConnection(Connection):
    """redis-py's connection, up to the point where it would open a socket."""

    def __init__(self, *, valkey: Valkey, wire: Wire, **options: Any) -> None:
        super().__init__(**options)
        self._sim = valkey, wire

    async def _connect(self) -> None:
        valkey, wire = self._sim
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.socket_connect_timeout):
            there = wire.arrival("out")
            await asyncio.sleep(max(there, wire.arrival("back")) - loop.time())
        if valkey.is_away:
            raise ConnectionRefusedError(111, "refused")
        link = Link(valkey, wire)
        self._reader, self._writer = link.reader, link  # type: ignore[assignment]


_nobody = Process("network").context()


def client(valkey: Valkey, wire: Wire) -> Redis:
    """The client of live.directory, on a wire of the simulation."""
    pool = BlockingConnectionPool(
        connection_class=_SimConnection,
        valkey=valkey,
        wire=wire,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_S,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        protocol=2,
        driver_info=None,
        retry=Retry(NoBackoff(), 1, supported_errors=(ValkeyConnectionError,)),
    )
    return Redis.from_pool(pool)
