"""The load that needs nothing installed: clients that ask, wait for the answer, and ask again.

The rule: a figure counts answers that came in whole, never requests that went out. Each
client keeps `depth` requests under way (1, or 16 when pipelining), so a slow server is asked
less, not drowned. Run as `python -m tests.bench.load SPEC`, SPEC being JSON: the process
connects, warms up, prints READY, waits for a line on stdin, loads, prints its Result as JSON.
Several such processes are one load; `run.py` starts them.

How to read the figures: tests/bench/README.md.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

DRAIN = 2.0  # seconds after the end of the load in which what is under way may still arrive
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Response(NamedTuple):
    """One response as found at the start of a buffer. size: its bytes, head included."""

    status: int
    body: bytes
    size: int
    closes: bool


def parse_response(buffer: bytes, at_eof: bool = False) -> Response | None:
    """Return the first whole response in `buffer`, or None if more bytes are needed.

    Knows what the peers send: Content-Length, chunked without trailers, or all until the end.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, start = buffer[:end], end + 4
    status = int(head[9:12])
    closes = _CLOSE.search(head) is not None or head.startswith(b"HTTP/1.0")
    if length := _LENGTH.search(head):
        size = start + int(length[1])
        if len(buffer) < size:
            return None
        return Response(status, buffer[start:size], size, closes)
    if not _CHUNKED.search(head):
        return Response(status, buffer[start:], len(buffer), True) if at_eof else None
    body = b""
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(buffer[start:line_end].partition(b";")[0], 16)
        start = line_end + 2 + size + 2
        if len(buffer) < start:
            return None
        if size == 0:
            return Response(status, body, start, closes)
        body += buffer[line_end + 2 : start - 2]


class Result(NamedTuple):
    """What one load process saw. wrong: answers of another status than asked for."""

    answered: int
    seconds: float
    wrong: int
    lost: int


class Load(Protocol):
    """A kind of load, connected when made."""

    def run(self, seconds: float) -> Result: ...


class HttpClient:
    """One keep-alive connection that sends `burst` and waits for its `depth` answers."""

    __slots__ = ("port", "burst", "depth", "status", "socket", "buffer", "waiting", "stale")

    def __init__(self, port: int, burst: bytes, depth: int, status: int) -> None:
        self.port, self.burst, self.depth, self.status = port, burst, depth, status
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.waiting = 0
        self.stale = False  # The server has closed or will: the next burst needs a connection.

    def ask(self) -> None:
        # Blocking sockets: a burst is small, and recv is only called when there is something.
        self.waiting = self.depth
        self.socket.sendall(self.burst)

    def on_readable(self) -> tuple[int, int]:
        """Take in what came; return how many answers that completed, and how many were wrong."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.stale = not data
        self.buffer += data
        answers = wrong = 0
        while self.buffer:
            response = parse_response(self.buffer, at_eof=not data)
            if response is None:
                break
            self.buffer = self.buffer[response.size :]
            self.stale |= response.closes
            answers += 1
            wrong += response.status != self.status
        self.waiting -= answers
        return answers, wrong


class LineClient(HttpClient):
    """The same for TCP: an answer is a line."""

    __slots__ = ()

    def on_readable(self) -> tuple[int, int]:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.stale = not data
        answers = data.count(b"\n")
        self.waiting -= answers
        return answers, 0


class Asking:
    """Clients that each wait for their answers and ask again, until the time is up."""

    def __init__(self, clients: Iterable[HttpClient]) -> None:
        self.selector = selectors.DefaultSelector()
        self.clients = list(clients)
        for client in self.clients:
            self.selector.register(client.socket, selectors.EVENT_READ, client)

    def run(self, seconds: float) -> Result:
        """Load for `seconds`, then let what is under way come in."""
        answered = wrong = lost = 0
        begin = time.monotonic()
        end = begin + seconds
        for client in self.clients:
            self._ask(client)
        busy = len(self.clients)
        while busy and (now := time.monotonic()) < end + DRAIN:
            for key, _ in self.selector.select(0.1):
                client = key.data
                answers, bad = client.on_readable()
                answered += answers
                wrong += bad
                if client.stale:
                    lost += client.waiting
                    self.selector.unregister(client.socket)
                    client.socket.close()
                    client.connect()
                    self.selector.register(client.socket, selectors.EVENT_READ, client)
                if client.waiting == 0:
                    if now < end:
                        self._ask(client)
                    else:
                        busy -= 1
        lost += sum(client.waiting for client in self.clients)
        return Result(answered, time.monotonic() - begin, wrong, lost)

    @staticmethod
    def _ask(client: HttpClient) -> None:
        try:
            client.ask()
        except ConnectionError:
            pass  # It closed between two bursts; recv reports that as the end, and we reconnect.


class FanOut:
    """One client asks for a broadcast, all wait until each has it, and so on.

    In step, so that no two messages can share a send: what is counted is a delivery.
    """

    def __init__(self, port: int, connections: int, ask: bytes) -> None:
        self.selector = selectors.DefaultSelector()
        self.ask = ask
        self.sockets = []
        for _ in range(connections):
            client = socket.create_connection(("127.0.0.1", port), DRAIN)
            client.sendall(b'{"command": "subscribe", "data": null}\n')
            # The answer says that the server counts this client in.
            if not client.recv(4096).endswith(b"\n"):
                raise ConnectionError("the answer to subscribe did not come in one piece")
            client.settimeout(None)  # From here on we only receive what the selector announced.
            self.sockets.append(client)
            self.selector.register(client, selectors.EVENT_READ, client)

    def run(self, seconds: float) -> Result:
        """Broadcast for `seconds`; `answered` counts messages delivered, to all clients."""
        begin = time.monotonic()
        end = begin + seconds
        answered = lost = 0
        while not lost and time.monotonic() < end:
            self.sockets[0].sendall(self.ask)
            missing = len(self.sockets) + 1  # a push for each, and the answer to who asked
            deadline = time.monotonic() + DRAIN
            while missing > 0 and time.monotonic() < deadline:
                for key, _ in self.selector.select(0.1):
                    data = key.data.recv(65536)
                    if not data:
                        raise ConnectionError("the server closed a subscriber's connection")
                    missing -= data.count(b"\n")
            lost = missing
            answered += len(self.sockets) - lost
        return Result(answered, time.monotonic() - begin, 0, lost)


def make(spec: dict[str, Any]) -> Load:
    """Connect the load that `spec` describes."""
    port, connections = spec["port"], spec["connections"]
    burst = spec["request"].encode() * spec["depth"]
    if spec["kind"] == "push":
        return FanOut(port, connections, burst)
    client = HttpClient if spec["kind"] == "http" else LineClient
    return Asking(client(port, burst, spec["depth"], spec["status"]) for _ in range(connections))


def main() -> None:
    spec = json.loads(sys.argv[1])
    load = make(spec)
    load.run(spec["warm_up"])
    print("READY", flush=True)
    sys.stdin.readline()
    print(json.dumps(load.run(spec["seconds"])._asdict()), flush=True)


if __name__ == "__main__":
    main()
