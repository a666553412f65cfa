"""The kernel of a simulated world: sockets that note what happens, a selector that gives way.

The rule: built on tests/fakes.py, which knows what a kernel does; this module adds what
needs a scheduler. The selector's sleep is a point at which other threads run, readiness may
be reported where there is none, the self-pipe is a pair of byte counters that can be full.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import random
import selectors
import socket
import types
from collections.abc import Callable
from typing import Any

from pyliteflux.reactor.loop import Reactor
from tests.fakes import FakeSelector, FakeSocket, Network
from tests.simulation.threads import Threads

RACY = 0.3  # Of the turns, so many are taken away where the reactor hears its waker.
PIPE_CAPACITY = 3  # Bytes: the self-pipe must do its work when it is full, too.


class SimSocket(FakeSocket):
    """A FakeSocket with a name, and with times at which the server did something with it."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.name = "listener"
        self.accepted_at: float | None = None
        self.received_at = 0.0  # The server took bytes.
        self.sent_at = 0.0  # The server's kernel took bytes, or had none.
        self.fin_at = 0.0

    @property
    def _kernel(self) -> SimNetwork:
        assert isinstance(self.network, SimNetwork)
        return self.network

    def accept(self) -> tuple[FakeSocket, tuple[str, int]]:
        sock, address = super().accept()
        assert isinstance(sock, SimSocket)
        sock.accepted_at = sock.received_at = sock.sent_at = self._kernel.reactor.now
        self._kernel.note(f"{sock.name} is accepted")
        return sock, address

    def recv(self, size: int) -> bytes:
        data = super().recv(size)
        self.received_at = self._kernel.reactor.now
        self._kernel.note(f"{self.name}: the server receives {len(data) or 'EOF'}")
        if not data and self.reads_of_eof > 2:
            self.network.faults.append(f"{self.name}: EOF was read {self.reads_of_eof} times")
        return data

    def send(self, data: Any) -> int:
        if self.fin_is_sent and self.fd >= 0:
            self.network.faults.append(f"{self.name}: bytes were sent after FIN")
        count = super().send(data)
        self.sent_at = self._kernel.reactor.now
        self._kernel.note(f"{self.name}: the server sends {count} of {len(data)}")
        return count

    def shutdown(self, how: int) -> None:
        super().shutdown(how)
        self.fin_at = self._kernel.reactor.now
        self._kernel.note(f"{self.name}: the server sends FIN")

    def close(self) -> None:
        if self.fd >= 0 and self.is_listening:
            self._kernel.left_waiting += [str(getattr(s, "name", s)) for s in self.backlog]
        elif self.fd >= 0:
            how = "resets" if self.resets_on_close else "closes"
            self._kernel.note(f"{self.name}: the server {how}")
        super().close()


class SimNetwork(Network):
    """A Network whose `random` is that of the current step."""

    socket_class = SimSocket

    reactor: Reactor  # Set once there is one: its `now` is the time of what the server does.

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self.random = random.Random(0)
        self.note = note
        self.left_waiting: list[str] = []  # Clients in the queue of a port that was closed.


class PipeEnd:
    """One end of the self-pipe: bytes go from the far end to the near one."""

    family = "a pair that only we know"

    def __init__(self, network: Network, threads: Threads) -> None:
        self._network = network
        self._threads = threads
        self.fd = network.new_descriptor()
        network.sockets[self.fd] = self  # type: ignore[assignment]
        self.other: PipeEnd | None = None
        self.incoming = bytearray()

    def fileno(self) -> int:
        return self.fd

    def setblocking(self, flag: bool) -> None:
        pass

    def ready(self) -> int:
        return selectors.EVENT_READ if self.incoming else 0

    def recv(self, size: int) -> bytes:
        self._threads.point(RACY)
        if not self.incoming:
            raise BlockingIOError
        data = bytes(self.incoming[:size])
        del self.incoming[:size]
        self._threads.point()
        return data

    def send(self, data: bytes) -> int:
        self._threads.point()
        assert self.other is not None
        if self.fd < 0:
            raise OSError("closed")
        if len(self.other.incoming) >= PIPE_CAPACITY:
            raise BlockingIOError
        self.other.incoming += data
        return len(data)

    def close(self) -> None:
        if self.fd >= 0:
            del self._network.sockets[self.fd]
            self.fd = -1


def sim_socket_module(network: Network, threads: Threads) -> Any:
    """Stand in for the module `socket` in the waker: its pair is one of ours."""

    def socketpair() -> tuple[PipeEnd, PipeEnd]:
        near, far = PipeEnd(network, threads), PipeEnd(network, threads)
        near.other, far.other = far, near
        return near, far

    return types.SimpleNamespace(**{**vars(socket), "socketpair": socketpair})


class SimSelector(FakeSelector):
    """A FakeSelector whose sleep gives the turn away, and that tells lies now and then.

    lies: how probable it is that something is called ready that is not. The kernel may do
    that: the segment had a wrong checksum, another process took the connection.
    """

    def __init__(self, network: SimNetwork, threads: Threads, on_sleep: Callable[[], None]) -> None:
        super().__init__(network)
        self._kernel = network
        self._threads = threads
        self._on_sleep = on_sleep  # Between two turns.
        self.lies = 0.0
        self.is_asleep = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.sleep = timeout
        self._on_sleep()
        self.is_asleep = True
        self._threads.wait(self.is_ready, timeout)
        self.is_asleep = False
        ready = self.poll()
        if self._keys and self._kernel.random.random() < self.lies:
            key = self._kernel.random.choice(list(self._keys.values()))
            if all(key is not other for other, _ in ready):
                ready.append((key, key.events))
        return ready

    def is_ready(self) -> bool:
        """True where `select` would return at once."""
        sockets = self._kernel.sockets
        return any(sockets[fd].ready() & key.events for fd, key in self._keys.items())
