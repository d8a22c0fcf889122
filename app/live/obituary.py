"""Tells the directory that a live worker is dead: `python3 -m live.obituary WORKER`, from systemd's ExecStopPost=.

Without it a dead worker looks alive for four seconds, and players who come back are sent to it. Reads
MATCHPOINT_VALKEY_URL. Speaks to Valkey by itself, because loading a client library takes longer than all the rest.
It always ends with 0: what it could not say, the expiry of the worker's key says a little later.
"""

import json
import os
import socket
import sys
from io import BufferedRWPair
from typing import Final
from urllib.parse import unquote, urlsplit

TIMEOUT_S: Final = 1.0

Answer = str | int | None


def bury(worker: str, url: str) -> str:
    """Remove the key of `worker` unless its process lives; what was done, in a few words. OSError, ValueError."""
    key = f"mp:worker:{worker}"
    with _dial(url) as connection, connection.makefile("rwb") as stream:
        parts = urlsplit(url)
        if parts.password:
            names = [unquote(parts.username)] if parts.username else []
            _ask(stream, "AUTH", *names, unquote(parts.password))
        database = parts.path.strip("/") if parts.scheme != "unix" else ""
        if database and database != "0":
            _ask(stream, "SELECT", database)
        text = _ask(stream, "GET", key)
        if not text:
            return "was not there any more"
        pid = json.loads(str(text)).get("pid")
        if pid and _is_alive(pid):
            return f"lives, as process {pid}"
        _ask(stream, "DEL", key)
        return "is gone"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _dial(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        local = socket.socket(socket.AF_UNIX)
        local.settimeout(TIMEOUT_S)
        local.connect(parts.path)
        return local
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("MATCHPOINT_VALKEY_URL is not the URL of a Valkey")
    host = parts.hostname or "127.0.0.1"
    plain = socket.create_connection((host, parts.port or 6379), TIMEOUT_S)
    if parts.scheme == "redis":
        return plain
    import ssl  # late: it takes a while to load

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _ask(stream: BufferedRWPair, *words: str) -> Answer:
    """One command of the Redis protocol and its answer."""
    encoded = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
    stream.flush()
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("Valkey has closed the connection")
    kind, rest = line[:1], line[1:-2]
    match kind:
        case b"+":
            return rest.decode()
        case b":":
            return int(rest)
        case b"$":
            size = int(rest)
            return None if size < 0 else stream.read(size + 2)[:-2].decode()
    raise ConnectionError(rest.decode(errors="replace"))


def main(arguments: list[str]) -> int:
    try:
        [worker] = arguments
        said = bury(worker, os.environ["MATCHPOINT_VALKEY_URL"])
        sys.stdout.write(f"worker {worker} {said}\n")
    except Exception as error:  # whatever it is: the worker is dead, and its unit must not fail over that as well
        sys.stdout.write(f"no obituary: {type(error).__name__}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
