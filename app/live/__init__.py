"""The live servers: match sockets, match owners and the directory that says which worker owns a match.

From below to above; a package knows those before it and none after it (tests/app/live/test_layers.py):

    clock, metrics            time and numbers
    events, records           the values that everybody stores and sends
    obituary                  what a dead worker's unit tells the directory: a program of its own
    protocol                  messages of the socket (each one declaration), seat tokens, the canary's permission
    match                     one match: its owner, its course in time, its seats, who is away, what a lag may cost
    directory                 Valkey: matches, leases (the one comparison of epochs), workers, results that wait
    worker                    one process: its owners, the beat, takeovers, the drain, the outbox, results, the spool
    transport                 what carries sockets: Daphne, the ASGI app, the queue of a connection
    bot                       players without a screen: of the gate, the canary and the probe

An input: transport.socket → protocol.codec → match.owner → match.course → match.room → transport.connection.
A result: match.owner → worker.ending (asks the lease) → worker.results (spool, then database) → directory.results.
A worker dies: worker.takeover of another one → directory.matches.pass_on → worker.worker → match.owner, from the
checkpoint that worker.outbox has kept in directory.leases.

Nothing here touches the database but the result writer (`live.worker.results`).
"""
