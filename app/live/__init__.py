"""The live servers: match sockets, match owners and the directory that says which worker owns a match.

Nothing here touches the database but the result writer (`live.worker.results`).
"""
