"""One tiny app per peer; each is run as `python -m tests.bench.peers.NAME [variant]`.

The rule: every app serves the same four things, the way its framework's own tutorial does,
with one process, access logs off and JSON by the framework's default encoder:

    GET  /hello                {"message": "Hello, World!"}
    GET  /user/{id}?page=&sort=    {"id": ..., "page": ..., "sort": ...}, all str
    POST /echo                 the JSON of the body, decoded and encoded again
    anything else              the framework's own 404

It prints `PORT http` or `PORT http tcp` (0 where it has no such port) and ends on SIGTERM.

How to read the figures: tests/bench/README.md.
"""

from __future__ import annotations

import socket


def listening_socket() -> socket.socket:
    """Return a socket that listens on a free port of 127.0.0.1, for servers that take one."""
    # Named TCP: asyncio turns Nagle off (TCP_NODELAY) only where the protocol number says so.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


def free_port() -> int:
    """Return a port that was free a moment ago, for servers that insist on binding."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def announce(http_port: int, tcp_port: int = 0) -> None:
    """Tell the runner where to connect."""
    print("PORT", http_port, tcp_port, flush=True)
