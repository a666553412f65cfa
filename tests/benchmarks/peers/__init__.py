"""One tiny app per peer; each is run as `python -m tests.benchmarks.peers.NAME [variant]`.

The rule: every app serves the same things, the way its framework's own tutorial does,
with one process, access logs off and JSON by the framework's default encoder:

    GET  /hello            {"message": "Hello, World!"}, whatever the query says
    GET  /user/{id}        {"id": ...}, a str
    GET  /search?q=&page=  {"q": ..., "page": ...}, both str
    POST /echo             the JSON of the body, decoded and encoded again
    GET  /large            `LARGE`, known in advance
    GET  /stream           `PIECES`, made while they are sent: chunked
    GET  /file             the file that BENCHMARK_FILE names, by sendfile where it can
    anything else          the framework's own 404

Where BENCHMARK_MIDDLEWARES is 3 the app has as many middlewares; each adds one field to the
response, `x-middleware-1` and so on. It prints `PORT http` or `PORT http tcp` (0 where it has no
such port) and ends on SIGTERM. Servers that are no Python run the same way: the module
writes their settings and becomes them.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys

LARGE = b"0123456789abcdef" * 640  # 10 KB
PIECES = [bytes([letter]) * 4096 for letter in b"abcdefghijklmnop"]  # 64 KB
FILE = os.environ.get("BENCHMARK_FILE", "")
MOST_CONNECTIONS = 100_000  # For servers that have a limit: descriptors are to be the only one.
MIDDLEWARES = int(os.environ.get("BENCHMARK_MIDDLEWARES", "0"))


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


def program(name: str) -> str:
    """Return the path of an installed program, or end with the word that there is none."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path is None:
        sys.exit(f"not installed: {name}")
    return path
