"""What bad neighbours do. Each fault is begun, stepped again and again, and ended.

The rule: a fault runs in one thread and never blocks, so that a test can step it between two
requests of a good client, and `python -m tests.soak.faults NAME HTTP_PORT TCP_PORT` can step it
in a process of its own: it says "ready", goes on until its stdin ends, and says what it did.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import sys
import time
from typing import Any, ClassVar

from tests.support import Client

_RESET = struct.pack("ii", 1, 0)
Address = tuple[str, int]


class Fault:
    """One kind of trouble. interval: seconds between two steps. count: how many of it."""

    name: ClassVar[str]
    sentence: ClassVar[str]
    interval = 0.05
    count = 1

    def __init__(self, http: Address, tcp: Address, count: int | None = None) -> None:
        self.http = http
        self.tcp = tcp
        if count is not None:
            self.count = count
        self.socks: list[socket.socket] = []
        self.done: dict[str, int] = {}

    def tally(self, what: str, times: int = 1) -> None:
        """Count what happened."""
        self.done[what] = self.done.get(what, 0) + times

    def connect(self, address: Address, receive_buffer: int | None = None) -> socket.socket:
        """Return a connected socket that does not block."""
        sock = socket.socket()
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(10)
            sock.connect(address)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self.socks.append(sock)
        return sock

    def begin(self) -> None:
        """Bring the trouble about."""

    def step(self) -> None:
        """Keep it going."""

    @property
    def is_over(self) -> bool:
        """True where it has an end of its own, and that has come."""
        return False

    def end(self) -> None:
        """Go away. May be called twice."""
        while self.socks:
            self.socks.pop().close()

    def reset(self, sock: socket.socket) -> None:
        """Go away as a crashed client does."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
        if sock in self.socks:
            self.socks.remove(sock)


class Dribble(Fault):
    """Sends a byte to each connection at each step; who is closed comes again."""

    opening: ClassVar[bytes]
    byte: ClassVar[bytes]

    @property
    def address(self) -> Address:
        return self.http

    def begin(self) -> None:
        for _ in range(self.count):
            self.connect(self.address).send(self.opening)

    def step(self) -> None:
        for sock in list(self.socks):
            try:
                sock.send(self.byte)
                self.tally("bytes")
            except OSError:
                self.replace(sock)
        for sock in select.select(self.socks, [], [], 0)[0]:
            self.replace(sock)  # An answer: 408. Or the end.

    def replace(self, sock: socket.socket) -> None:
        if sock in self.socks:
            self.socks.remove(sock)
            sock.close()
            self.tally("closed by the server")
            self.connect(self.address).send(self.opening)


class SlowHeaders(Dribble):
    name = "headers"
    sentence = "200 connections dribbling headers"
    count = 200
    interval = 0.1
    opening = b"GET /hello HTTP/1.1\r\nHost: slow\r\nX-Dribble: "
    byte = b"x"


class SlowUploads(Dribble):
    name = "uploads"
    sentence = "50 uploads a byte at a time"
    count = 50
    interval = 0.01
    opening = b"POST /upload HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n"
    byte = b"x"


class SlowMessages(Dribble):
    name = "messages"
    sentence = "200 TCP clients dribbling messages"
    count = 200
    interval = 0.1
    opening = b'{"command": "echo", "data": "'
    byte = b"x"

    @property
    def address(self) -> Address:
        return self.tcp


class NoReaders(Fault):
    name = "readers"
    sentence = "20 readers that never read 50 MB"
    count = 20

    def begin(self) -> None:
        for _ in range(self.count):
            self.connect(self.http, 4096).send(b"GET /big HTTP/1.1\r\nHost: slow\r\n\r\n")


class DeafClients(Fault):
    """Beside the deaf ones there are two who listen, and who must get every message in order."""

    name = "pushes"
    sentence = "20 TCP clients that never read 2000 broadcasts of 10 KB"
    count = 20
    messages = 2000
    interval = 0.002

    def begin(self) -> None:
        for _ in range(self.count):
            self.connect(self.tcp, 4096)
        self.listeners = [self.connect(self.tcp) for _ in range(2)]
        self.buffers = [b"", b""]
        self.next = [0, 0]
        with Client(self.http) as client:  # Until the server knows them all.
            while client.get("/stats").json["clients"] < self.count + 2:
                time.sleep(0.01)
        self.asker = self.connect(self.http)
        self.asker.send(b"GET /broadcast/%d HTTP/1.1\r\nHost: a\r\n\r\n" % self.messages)

    def step(self) -> None:
        for index, sock in enumerate(self.listeners):
            with contextlib.suppress(BlockingIOError):
                while data := sock.recv(262_144):
                    *lines, self.buffers[index] = (self.buffers[index] + data).split(b"\n")
                    for line in lines:
                        number = json.loads(line)["data"]["n"]
                        if number != self.next[index]:
                            raise AssertionError(f"{number} instead of {self.next[index]}")
                        self.next[index] += 1
                else:
                    raise AssertionError("a client that reads was closed")

    @property
    def is_over(self) -> bool:
        return self.next == [self.messages] * 2

    def end(self) -> None:
        self.done["messages in order"] = sum(self.next)
        super().end()


class Sleepers(Fault):
    name = "handlers"
    sentence = "50 handlers asleep"
    count = 50
    request = b"GET /sleep/2.0 HTTP/1.1\r\nHost: a\r\n\r\n"

    def begin(self) -> None:
        for _ in range(self.count):
            self.connect(self.http).send(self.request)

    def step(self) -> None:
        for sock in select.select(self.socks, [], [], 0)[0]:
            if not sock.recv(65536).startswith(b"HTTP/1.1 200 "):
                raise AssertionError("a handler that slept was not answered")
            self.tally("answered")
            sock.send(self.request)


class Resets(Fault):
    name = "resets"
    sentence = "500 resets in all states"
    count = 500
    interval = 0.005
    states: ClassVar[list[tuple[str, bytes]]] = [
        ("http", b""),
        ("http", b"GET /he"),
        ("http", b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http", b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * 20),
        ("http", b"GET /sleep/0.05 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http", b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http", b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http", b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("http", b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxxx"),
        ("http", b"\0\0\0\r\n\r\n"),
        ("tcp", b""),
        ("tcp", b"ec"),
        ("tcp", b"echo a\n"),
        ("tcp", b"count\n"),
        ("tcp", b'{"command": "echo", "data": "'),
    ]

    def step(self) -> None:
        for _ in range(2):
            done = self.done.get("resets", 0)
            if done >= self.count:
                return
            protocol, data = self.states[done % len(self.states)]
            sock = self.connect(self.http if protocol == "http" else self.tcp, 4096)
            sock.send(data)
            if done // len(self.states) % 2:  # Every other round it has time to be answered.
                select.select([sock], [], [], 0.003)
            self.reset(sock)
            self.tally("resets")

    @property
    def is_over(self) -> bool:
        return self.done.get("resets", 0) >= self.count


class Connects(Fault):
    name = "connects"
    sentence = "2000 connects and closes"
    count = 2000
    interval = 0.005

    def step(self) -> None:
        for _ in range(8):
            if not self.is_over:
                self.connect(self.http).close()
                self.socks.pop()
                self.tally("connects")

    @property
    def is_over(self) -> bool:
        return self.done.get("connects", 0) >= self.count


class NoDescriptors(Fault):
    """The application takes every descriptor, then clients come. For a process with few."""

    name = "descriptors"
    sentence = "a process out of file descriptors"
    count = 20

    def begin(self) -> None:
        self.hog = Client(self.http)
        self.tally("hogged", self.hog.get("/hog/100000").json["hogged"])
        for _ in range(self.count):
            self.connect(self.http).send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")

    def end(self) -> None:
        """Give them back: now all who waited are to be answered."""
        if not self.socks:
            return
        self.hog.get("/release")
        self.hog.close()
        for sock in self.socks:
            sock.settimeout(10)
            if sock.recv(65536).startswith(b"HTTP/1.1 200 "):
                self.tally("answered after it")
        super().end()


FAULTS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        SlowHeaders,
        SlowUploads,
        SlowMessages,
        NoReaders,
        DeafClients,
        Sleepers,
        Resets,
        Connects,
        NoDescriptors,
    )
}


def main() -> None:
    name, http_port, tcp_port = sys.argv[1:]
    fault = FAULTS[name](("127.0.0.1", int(http_port)), ("127.0.0.1", int(tcp_port)))
    fault.begin()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], fault.interval)[0]:
        if fault.is_over:
            print("over", flush=True)
            sys.stdin.read()
            break
        fault.step()
    fault.end()
    done: Any = ", ".join(f"{times} {what}" for what, times in fault.done.items())
    print(done or "nothing to count", flush=True)


if __name__ == "__main__":
    main()
