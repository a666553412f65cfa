"""The load that needs nothing installed: clients that ask, wait for the answer, and ask again.

The rule: a figure counts answers that came in whole, never requests that went out. Each
client keeps `depth` requests under way (1, or 10 when pipelining), so a slow server is asked
less, not drowned. Where a request holds the text ``{n}``, each one carries another number
there, so that no server answers from memory what it has seen before.

Run as `python -m tests.benchmarks.load SPEC`, SPEC being JSON: the process connects, warms up,
prints READY, waits for a line on stdin, loads, prints its Result as JSON. Several such
processes are one load; `generators.py` starts them.

How to read the figures: tests/benchmarks/README.md.
"""

from __future__ import annotations

import itertools
import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

DRAIN = 2.0  # seconds after the end of the load in which what is under way may still arrive
SAMPLE = 1000  # latencies that one process reports, evenly out of all it has seen
NUMBER = "{n}"  # stands in a request for a number that no other request of the load has
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
    """What one load process saw. wrong: answers of another status than asked for.

    latencies: seconds from question to answer, sorted, a sample. received: bytes of bodies,
    where they are what counts.
    """

    answered: int
    seconds: float
    wrong: int
    lost: int
    latencies: tuple[float, ...] = ()
    received: int = 0


def add_up(results: Iterable[Result]) -> Result:
    """Return what several load processes saw together."""
    answered, seconds, wrong, lost, latencies, received = zip(*results)
    together = sorted(itertools.chain(*latencies))
    return Result(
        sum(answered), max(seconds), sum(wrong), sum(lost), tuple(together), sum(received)
    )


def thinned(latencies: list[float]) -> tuple[float, ...]:
    """Return about `SAMPLE` of them, sorted, the shortest and the longest included."""
    latencies.sort()
    if len(latencies) <= SAMPLE:
        return tuple(latencies)
    step = (len(latencies) - 1) / (SAMPLE - 1)
    return tuple(latencies[round(index * step)] for index in range(SAMPLE))


def bursts(request: str, depth: int, first: int = 0) -> Callable[[], bytes]:
    """Return what gives the bytes of the next `depth` requests each time it is called."""
    if NUMBER not in request:
        constant = request.encode() * depth
        return lambda: constant
    pieces = [piece.encode() for piece in request.split(NUMBER)]
    numbers = itertools.count(first)

    def varied() -> bytes:
        return b"".join((b"%d" % next(numbers)).join(pieces) for _ in range(depth))

    return varied


class Load(Protocol):
    """A kind of load, connected when made."""

    def run(self, seconds: float) -> Result: ...


class HttpClient:
    """One keep-alive connection that sends a burst and waits for its `depth` answers."""

    __slots__ = (
        "port", "next_burst", "depth", "status", "socket", "buffer", "waiting", "stale", "asked",
    )  # fmt: skip

    def __init__(
        self, port: int, next_burst: Callable[[], bytes], depth: int = 1, status: int = 200
    ) -> None:
        self.port, self.next_burst, self.depth, self.status = port, next_burst, depth, status
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.waiting = 0
        self.asked = 0.0  # When the burst went out that is under way.
        self.stale = False  # The server has closed or will: the next burst needs a connection.

    def ask(self) -> None:
        # Blocking sockets: a burst is small, and recv is only called when there is something.
        self.waiting = self.depth
        self.asked = time.monotonic()
        self.socket.sendall(self.next_burst())

    def on_readable(self) -> tuple[int, int]:
        """Take in what came; return how many answers that completed, and how many were wrong."""
        data = self.receive()
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

    def receive(self) -> bytes:
        """Return what came, b"" at the end, which leaves the client stale."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self.stale = not data
        return data


class LineClient(HttpClient):
    """The same for TCP: an answer is a line."""

    __slots__ = ()

    def on_readable(self) -> tuple[int, int]:
        answers = self.receive().count(b"\n")
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
        latencies: list[float] = []
        begin = time.monotonic()
        end = begin + seconds
        for client in self.clients:
            self._ask(client)
        busy = len(self.clients)
        while busy and time.monotonic() < end + DRAIN:
            for key, _ in self.selector.select(0.1):
                client = key.data
                answers, bad = client.on_readable()
                now = time.monotonic()
                answered += answers
                wrong += bad
                if client.stale:
                    lost += client.waiting
                    client.waiting = 0
                    self.selector.unregister(client.socket)
                    client.socket.close()
                    client.connect()
                    self.selector.register(client.socket, selectors.EVENT_READ, client)
                elif not client.waiting:
                    latencies.append(now - client.asked)
                if client.waiting == 0:
                    if now < end:
                        self._ask(client)
                    else:
                        busy -= 1
        lost += sum(client.waiting for client in self.clients)
        return Result(answered, time.monotonic() - begin, wrong, lost, thinned(latencies))

    def close(self) -> None:
        self.selector.close()
        for client in self.clients:
            client.socket.close()

    @staticmethod
    def _ask(client: HttpClient) -> None:
        try:
            client.ask()
        except ConnectionError:
            pass  # It closed between two bursts; recv reports that as the end, and we reconnect.


class Downloads:
    """Clients that fetch a large body over and over. What they receive is counted, not kept.

    `answered` counts bodies that came whole, `received` all bytes, those of the last ones too.
    """

    def __init__(self, port: int, connections: int, request: bytes) -> None:
        self.selector = selectors.DefaultSelector()
        self.request = request
        self.room = bytearray(1 << 20)
        self.missing: dict[socket.socket, int] = {}
        for _ in range(connections):
            client = socket.create_connection(("127.0.0.1", port))
            self.missing[client] = 0
            self.selector.register(client, selectors.EVENT_READ)

    def run(self, seconds: float) -> Result:
        """Fetch for `seconds`, and let the bodies under way come in."""
        begin = time.monotonic()
        end = begin + seconds
        answered = received = 0
        busy = set(self.missing)
        for client in busy:
            client.sendall(self.request)
        while busy and time.monotonic() < end + DRAIN:
            for key, _ in self.selector.select(0.1):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                if not self.missing[client]:
                    self.missing[client] = self._length_after_head(client)
                size = client.recv_into(self.room)
                if not size:
                    raise ConnectionError("the server closed the connection within a body")
                received += size
                self.missing[client] -= size
                if not self.missing[client]:
                    answered += 1
                    if time.monotonic() < end:
                        client.sendall(self.request)
                    else:
                        busy.discard(client)
        return Result(answered, time.monotonic() - begin, 0, len(busy), (), received)

    @staticmethod
    def _length_after_head(client: socket.socket) -> int:
        """Take the head, and not a byte more, and return the length it names."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            seen = client.recv(4096, socket.MSG_PEEK)
            if not seen:
                raise ConnectionError("the server closed the connection instead of an answer")
            end = seen.find(b"\r\n\r\n")
            head += client.recv(end + 4 if end >= 0 else len(seen))
        if int(head[9:12]) != 200:
            raise ConnectionError(f"answers with status {int(head[9:12])}, not 200")
        length = _LENGTH.search(head)
        if length is None:
            raise ConnectionError("an answer without Content-Length")
        return int(length[1])


class Wire(NamedTuple):
    """How a server of publish and subscribe is spoken to.

    pushed, answered: a byte that each delivery, and each answer to who asked, holds once.
    """

    subscribe: bytes
    pushed: bytes
    answered: bytes


# Of RESP, the protocol of Redis: `*` begins a delivery, `:` the answer to PUBLISH.
WIRES = {
    "json": Wire(b'{"command": "subscribe", "data": null}\n', b"\n", b"\n"),
    "resp": Wire(b"*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nbench\r\n", b"*", b":"),
}


class FanOut:
    """One client asks for a burst of broadcasts, all wait until each has them, and so on.

    In step, so that only what one burst holds can share a send: what is counted is a delivery.
    Who asks is a client of its own; with the JSON servers, which push to every connection, it
    gets the messages too, so those are counted in.
    """

    def __init__(
        self, port: int, connections: int, ask: bytes, burst: int = 1, wire: str = "json"
    ) -> None:
        self.selector = selectors.DefaultSelector()
        self.wire, self.ask, self.burst = WIRES[wire], ask * burst, burst
        self.sockets = []
        for number in range(connections + 1):
            client = socket.create_connection(("127.0.0.1", port), DRAIN)
            self.sockets.append(client)
            self.selector.register(client, selectors.EVENT_READ, number == 0)
            if number or wire == "json":
                client.sendall(self.wire.subscribe)
                # The answer says that the server counts this client in.
                if not client.recv(4096).endswith(b"\n"):
                    raise ConnectionError("the answer to subscribe did not come in one piece")
            client.settimeout(None)  # From here on we only receive what the selector announced.
        self.deliveries = (connections + (wire == "json")) * burst

    def run(self, seconds: float) -> Result:
        """Broadcast for `seconds`; `answered` counts messages delivered, to all clients."""
        begin = time.monotonic()
        end = begin + seconds
        answered = lost = 0
        pushed = self.wire.pushed
        while not lost and time.monotonic() < end:
            self.sockets[0].sendall(self.ask)
            missing = self.deliveries + self.burst  # Its answers, too.
            deadline = time.monotonic() + DRAIN
            while missing > 0 and time.monotonic() < deadline:
                for key, _ in self.selector.select(0.1):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        raise ConnectionError("the server closed a subscriber's connection")
                    missing -= data.count(self.wire.answered if key.data else pushed)
            lost = missing
            answered += self.deliveries - lost
        return Result(answered, time.monotonic() - begin, 0, lost)

    def close(self) -> None:
        self.selector.close()
        for client in self.sockets:
            client.close()


class Idle:
    """Kept connections that have asked once and then say nothing. `lost`: closed by the server."""

    def __init__(self, port: int, connections: int, request: bytes) -> None:
        self.sockets = []
        for _ in range(connections):
            client = socket.create_connection(("127.0.0.1", port), DRAIN)
            self.sockets.append(client)
            client.sendall(request)
            received = b""
            while parse_response(received) is None:
                data = client.recv(65536)
                if not data:
                    raise ConnectionError("the server does not keep the connection")
                received += data

    def run(self, seconds: float) -> Result:
        """See which are still open; `seconds` is not used, idling needs no help."""
        lost = sum(self._is_closed(client) for client in self.sockets)
        return Result(len(self.sockets) - lost, seconds, 0, lost)

    @staticmethod
    def _is_closed(client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            return not client.recv(1)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True


def make(spec: dict[str, Any]) -> Load:
    """Connect the load that `spec` describes."""
    port, connections, request = spec["port"], spec["connections"], spec["request"]
    depth = spec.get("depth", 1)
    kind = spec["kind"]
    if kind == "push":
        return FanOut(port, connections, request.encode(), depth, spec.get("wire", "json"))
    if kind == "file":
        return Downloads(port, connections, request.encode())
    if kind == "idle":
        return Idle(port, connections, request.encode())
    client = HttpClient if kind == "http" else LineClient
    next_burst = bursts(request, depth, spec.get("first", 0))
    status = spec.get("status", 200)
    return Asking(client(port, next_burst, depth, status) for _ in range(connections))


def main() -> None:
    spec = json.loads(sys.argv[1])
    load = make(spec)
    load.run(spec["warm_up"])
    print("READY", flush=True)
    sys.stdin.readline()
    print(json.dumps(load.run(spec["seconds"])._asdict()), flush=True)


if __name__ == "__main__":
    main()
