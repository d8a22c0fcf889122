"""The lobby: who is here, who waits, and who meets whom. Served by the web processes, beside the pages.

From below to above:

    metrics    numbers
    pairing    who meets whom: a pure function of those who wait and the time
    protocol   the messages of the lobby socket, each one declaration, and the token that opens it
    queue      Valkey: tickets of who waits, pairs that have met, who is here, and which process makes the pairs
    session    one open socket: what it was told, what it may say
    hall       one process: its sockets, and the beat that tells them what Valkey knows
    socket     the ASGI app of /ws/lobby
    api        the token, for pages

Nothing depends on a message between processes: a socket that waits asserts its ticket again whenever it is gone, and
reads from Valkey whom it met. So a process that dies, or a Valkey that loses its last second, forgets nobody. The way
of a pair: docs/lobby.md; why not by a channel layer: docs/decisions/0021-lobby.md.
"""
