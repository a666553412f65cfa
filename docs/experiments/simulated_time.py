"""A timeout of ten seconds, tried without waiting: the clock is ours, and so is the sleep."""

import selectors
import socket
import threading

from pyliteflux import Router, Server


class SimulatedTime(selectors.DefaultSelector):
    """A selector and its clock. The reactor never sleeps: time jumps to its next deadline."""

    def __init__(self):
        super().__init__()
        self.now = self.limit = 0.0
        self.changed = threading.Condition()

    def select(self, timeout=None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        with self.changed:
            if timeout is not None and self.now + timeout <= self.limit:
                self.now += timeout
                return []
            self.now = self.limit
            self.changed.notify_all()
        return super().select(0.001)  # Really: until time may go on.

    def advance(self, seconds):
        """Let time pass; return when the reactor has done all that was due."""
        with self.changed:
            self.limit += seconds
            self.changed.wait_for(lambda: self.now == self.limit, 10)


time = SimulatedTime()
server = Server(
    Router(),
    selector_factory=lambda: time,
    clock=lambda: time.now,
    http_port=0,
    tcp_port=0,
    info=False,
    header_timeout=10,
)
server.start()
with socket.create_connection(server.http_address, timeout=10) as client:
    client.sendall(b"GET / HTTP/1.1\r\nHost: exam")  # And not a byte more: "slowloris".
    for seconds in (9, 2):
        time.advance(seconds)
        client.settimeout(0.1)
        try:
            answer = client.recv(4096).split(b"\r\n")[0].decode()
        except TimeoutError:
            answer = "nothing"
        print(f"after {time.now:4.1f} s of the server's time: {answer}")
time.limit = float("inf")
server.stop()
