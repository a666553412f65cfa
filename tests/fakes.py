"""A simulated world: clock, network, selector, pool. The server in it is the real one.

The rule: nothing here runs by itself. Time passes, bytes move and handlers run when a test
says so, in one thread, so that a test that fails once fails always. What the kernel forbids
is forbidden here too, and noted in `Network.faults`: closing a descriptor that is still
watched, watching one that is closed.

`Simulation` puts a `Server` into such a world by the four factories that it takes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any
from unittest import mock

from pyliteflux import Router, Server
from pyliteflux.channels.channel import Channel, State
from pyliteflux.errors import PoolFull, ReactorClosed
from pyliteflux.reactor.loop import Reactor

FIRST_FAKE_DESCRIPTOR = 1_000_000  # The self-pipe has a real one, below.
MOST_TURNS = 5000  # Until a loop that does not come to rest has failed.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FakeClock:
    """Monotonic seconds that pass when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Network:
    """The kernel: sockets by descriptor, listeners by port, and faults to order."""

    socket_class: type[FakeSocket]  # Below: what `socket` and `connect` make.

    def __init__(self, seed: int | None = None) -> None:
        self.sockets: dict[int, FakeSocket] = {}  # Open ones.
        self.listeners: dict[tuple[str, int], FakeSocket] = {}
        self.watched: set[int] = set()  # Fake descriptors in a selector.
        self.faults: list[str] = []
        self.accept_errors: deque[int] = deque()  # errno of the next accepts.
        self.random = None if seed is None else random.Random(seed)
        self._next_descriptor = FIRST_FAKE_DESCRIPTOR
        self._next_port = 40000

    def socket(self, *_: Any) -> FakeSocket:
        """Stand in for `socket.socket`."""
        return self.socket_class(self)

    def connect(self, address: Any, host: str = "127.0.0.1", capacity: int = 1 << 40) -> Peer:
        """Return the client end of a new connection. capacity: bytes it takes unread."""
        listener = self.listeners.get(tuple(address[:2]))
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        sock = self.socket_class(self)
        peer = Peer(sock, (host, self.new_port()), capacity)
        sock.peer = peer
        listener.backlog.append(sock)
        return peer

    def new_port(self) -> int:
        """Return a port that nobody had."""
        self._next_port += 1
        return self._next_port

    def new_descriptor(self) -> int:
        """Return a number that was never used: a mix-up then shows."""
        self._next_descriptor += 1
        return self._next_descriptor


class FakeSocket:
    """The server's end of a connection, or a listening socket. It behaves as the kernel's do."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.fd = network.new_descriptor()
        network.sockets[self.fd] = self
        self.address: tuple[str, int] = ("127.0.0.1", 0)
        self.backlog: deque[FakeSocket] = deque()
        self.is_listening = False
        self.peer: Peer | None = None
        self.incoming = bytearray()
        self.eof_is_here = False
        self.reset_is_here = False
        self.fin_is_sent = False
        self.resets_on_close = False
        self.sends = 0  # Calls of send.
        self.reads_of_eof = 0

    def fileno(self) -> int:
        return self.fd

    def _check_open(self) -> None:
        if self.fd < 0:
            raise OSError(errno.EBADF, "bad file descriptor")

    # --- what the selector asks

    def ready(self) -> int:
        """Return READ and WRITE as far as a call would not block."""
        if self.is_listening:
            return selectors.EVENT_READ if self.backlog or self.network.accept_errors else 0
        if self.reset_is_here:
            return selectors.EVENT_READ | selectors.EVENT_WRITE
        mask = 0
        if self.incoming or self.eof_is_here:
            mask |= selectors.EVENT_READ
        if self._room() > 0:
            mask |= selectors.EVENT_WRITE
        return mask

    def _room(self) -> int:
        assert self.peer is not None
        if self.peer.is_closed:
            return 1 << 30
        return self.peer.capacity - len(self.peer.unread)

    # --- a listener

    def bind(self, address: Any) -> None:
        self._check_open()
        host, port = address[0], address[1] or self.network.new_port()
        if (host, port) in self.network.listeners:
            raise OSError(errno.EADDRINUSE, "address already in use")
        self.address = (host, port)

    def listen(self, backlog: int) -> None:
        self.is_listening = True
        self.network.listeners[self.address] = self

    def accept(self) -> tuple[FakeSocket, tuple[str, int]]:
        self._check_open()
        if self.network.accept_errors:
            number = self.network.accept_errors.popleft()
            raise OSError(number, os.strerror(number))
        if not self.backlog:
            raise BlockingIOError
        sock = self.backlog.popleft()
        assert sock.peer is not None
        return sock, sock.peer.address

    # --- a connection

    def recv(self, size: int) -> bytes:
        self._check_open()
        if self.reset_is_here:
            raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
        if self.incoming:
            if self.network.random is not None:
                size = self.network.random.randint(1, size)
            data = bytes(self.incoming[:size])
            del self.incoming[:size]
            return data
        if self.eof_is_here:
            self.reads_of_eof += 1
            return b""
        raise BlockingIOError

    def send(self, data: Any) -> int:
        self._check_open()
        assert self.peer is not None
        if self.fin_is_sent:
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        if self.reset_is_here:
            raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
        self.sends += 1
        room = self._room()
        if room <= 0:
            raise BlockingIOError
        if self.peer.is_closed:
            self.reset_is_here = True  # The kernel takes them, and the answer is RST.
            return len(data)
        if self.network.random is not None:
            room = min(room, self.network.random.randint(1, 4096))
        taken = bytes(data[:room])
        self.peer.unread += taken
        return len(taken)

    def shutdown(self, how: int) -> None:
        self._check_open()
        if self.reset_is_here:
            raise OSError(errno.ENOTCONN, "not connected")
        assert self.peer is not None
        self.fin_is_sent = True
        self.peer.saw_fin = True

    def close(self) -> None:
        if self.fd < 0:
            return
        if self.fd in self.network.watched:
            self.network.faults.append(f"descriptor {self.fd} was closed while it was watched")
        del self.network.sockets[self.fd]
        self.fd = -1
        if self.is_listening:
            del self.network.listeners[self.address]
            for waiting in self.backlog:
                waiting.resets_on_close = True
                waiting.close()
        elif self.peer is not None:
            if self.resets_on_close or self.incoming:
                # Unread input makes the kernel send RST, which takes the peer's unread data too.
                self.peer.saw_reset = True
                self.peer.unread.clear()
            elif not self.reset_is_here:
                self.peer.saw_fin = True

    def setblocking(self, flag: bool) -> None:
        if flag:
            self.network.faults.append("a socket was made blocking")

    def setsockopt(self, level: int, name: int, value: Any) -> None:
        self._check_open()
        if self.reset_is_here:
            raise OSError(errno.EINVAL, "invalid argument")
        if name == socket.SO_LINGER and level == socket.SOL_SOCKET:
            self.resets_on_close = value == _RESET_ON_CLOSE

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def getpeername(self) -> tuple[str, int]:
        if self.reset_is_here or self.peer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self.peer.address


Network.socket_class = FakeSocket


class Peer:
    """A client. What the server sends lies in `unread`, up to `capacity`, until `take`."""

    def __init__(self, sock: FakeSocket, address: tuple[str, int], capacity: int) -> None:
        self.sock = sock
        self.address = address
        self.capacity = capacity
        self.unread = bytearray()
        self.saw_fin = False
        self.saw_reset = False
        self.is_closed = False

    @property
    def client_id(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def is_over(self) -> bool:
        """True once the server has given the connection's descriptor back."""
        return self.sock.fd < 0

    def send(self, data: bytes) -> None:
        """Send; a server that has closed answers with a reset."""
        if self.is_over:
            self.saw_reset = True
        elif not self.is_closed:
            self.sock.incoming += data

    def take(self) -> bytes:
        """Read all that is here."""
        data = bytes(self.unread)
        self.unread.clear()
        return data

    def half_close(self) -> None:
        """Send FIN, go on reading."""
        self.sock.eof_is_here = True

    def close(self) -> None:
        """Close in good order."""
        self.is_closed = True
        self.sock.eof_is_here = True

    def reset(self) -> None:
        """Send RST."""
        self.is_closed = True
        self.sock.incoming.clear()
        self.sock.reset_is_here = True


class FakeSelector(selectors.BaseSelector):
    """Polls a Network, and real descriptors with `select`. Never sleeps."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.sleep: float | None = None  # How long the last select might have slept.

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd < 0:
            raise ValueError(f"invalid file descriptor {fd}")
        if fd in self._keys:
            raise KeyError(f"{fd} is registered already")
        if fd >= FIRST_FAKE_DESCRIPTOR:
            if fd not in self._network.sockets:
                raise OSError(errno.EBADF, "bad file descriptor")
            self._network.watched.add(fd)
        self._keys[fd] = key = selectors.SelectorKey(fd, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys.pop(fd)
        self._network.watched.discard(fd)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.sleep = timeout
        return self.poll()

    def poll(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now."""
        ready = []
        for fd, key in self._keys.items():
            if fd >= FIRST_FAKE_DESCRIPTOR:
                mask = self._network.sockets[fd].ready() & key.events
            else:
                mask = selectors.EVENT_READ if select.select([fd], [], [], 0)[0] else 0
            if mask:
                ready.append((key, mask))
        if self._network.random is not None:
            self._network.random.shuffle(ready)
        return ready

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._network.watched.clear()
        self._keys.clear()


class InlinePool:
    """Takes the place of a WorkerPool: runs a job when told to, on the calling thread."""

    def __init__(self, reactor: Reactor, name: str, max_threads: int, queue_limit: int) -> None:
        self.name = name
        self._reactor = reactor
        self._queue_limit = queue_limit
        self.jobs: deque[tuple[Callable[[Any], Any], Any, Any]] = deque()
        self.replacements = 0
        self.on_orphan: Any = None
        self.is_stopped = False
        self.running = 0
        self.dead = 0
        self.max_wait = inf
        self.is_late = False
        self.threads = 0
        self.owns_current_thread = False

    def submit(
        self,
        run: Callable[[Any], Any],
        argument: Any,
        deliver: Any = None,
        may_refuse: bool = True,
    ) -> None:
        if may_refuse and (self.is_late or len(self.jobs) >= self._queue_limit):
            raise PoolFull(f"{self._queue_limit} jobs are waiting for the {self.name} pool")
        if self.is_stopped:
            raise ReactorClosed(f"the {self.name} pool has been stopped")
        self.jobs.append((run, argument, deliver))

    @property
    def waiting(self) -> int:
        return len(self.jobs)

    def begin(self) -> None:
        """From now on what waits is taken for handlers that have begun and are at work."""
        for _, request, _ in self.jobs:
            request.has_begun = True

    def run_one(self, index: int = 0) -> None:
        """Run the job at this place of the queue to its end; its result is posted."""
        run, argument, deliver = self.jobs[index]
        del self.jobs[index]
        try:
            result = run(argument)
        except BaseException as error:
            result = error
        if deliver is not None:
            self._reactor.post(deliver, result)

    def run_all(self) -> bool:
        """Run what waits now; tell whether there was any."""
        count = len(self.jobs)
        for _ in range(count):
            self.run_one()
        return count > 0

    def stack_of(self, argument: Any) -> str:
        """A job that waits is taken for one that hangs."""
        is_here = any(job[1] is argument for job in self.jobs)
        return "  File handler.py, line 1, in stuck\n" if is_here else ""

    def running_jobs(self) -> list[Any]:
        return []

    def note_dead(self) -> None:
        self.dead += 1

    def add_replacement(self) -> None:
        self.replacements += 1

    def stop(self) -> list[Any]:
        self.is_stopped = True
        dropped = [job[1] for job in self.jobs]
        self.jobs.clear()
        return dropped


class Simulation:
    """A server in a simulated world. Use it with `with`: the end checks that nothing is left.

    pool_factory: another pool, `WorkerPool` say. seed: the kernel cuts what it receives and
    sends at random, and reports what is ready in any order.
    """

    def __init__(
        self,
        router: Router | None = None,
        *,
        pool_factory: Callable[..., Any] | None = None,
        protocol: str = "both",
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        self.network = Network(seed)
        self.pools: dict[str, Any] = {}
        self._pool_factory = InlinePool if pool_factory is None else pool_factory
        self._has_begun = False
        self._is_over = False
        self.selector = FakeSelector(self.network)
        self.turns = 0
        self.server = Server(
            Router() if router is None else router,
            selector_factory=lambda: self.selector,
            clock=self.clock,
            socket_factory=self.network.socket,  # type: ignore[arg-type]
            pool_factory=self._make_pool,
            **{"http_port": 0, "tcp_port": 0, "info": False, **settings},
        )
        runtime = self.server._build(protocol, {})
        assert runtime is not None
        self.runtime = runtime
        self.reactor = runtime.reactor

    def _make_pool(self, reactor: Reactor, name: str, *limits: int) -> Any:
        self.pools[name] = pool = self._pool_factory(reactor, name, *limits)
        return pool

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.end()
        if error is None:
            self.check_nothing_is_left()

    # --- what happens

    def http(self, **options: Any) -> Peer:
        """Connect to the HTTP port."""
        return self.network.connect(self.server.http_address, **options)

    def tcp(self, **options: Any) -> Peer:
        """Connect to the TCP port."""
        return self.network.connect(self.server.tcp_address, **options)

    def channel(self, peer: Peer) -> Any:
        """Return the channel that talks to this client."""
        for channel in self.runtime.connections:
            if channel.address == peer.address:
                return channel
        raise AssertionError(f"no channel for {peer.address}")

    def turn(self) -> None:
        """Make one turn of the loop."""
        self.turns += 1
        self.reactor.thread_id = threading.get_ident()  # As run() does: this thread is it, now.
        try:
            self.reactor.run_once()
        finally:
            self.reactor.thread_id = None

    @property
    def is_at_rest(self) -> bool:
        """True where the reactor would sleep, and only time or a client can wake it."""
        return self.reactor._sleep_time() > 0 and not self.selector.poll()

    def settle(self, jobs: bool = True) -> int:
        """Turn until there is nothing to do; return the turns. jobs: run what is queued, too.

        Fails where the loop does not come to rest: it spins.
        """
        for turns in range(MOST_TURNS):
            self.turn()
            if self.reactor._stopping:
                return turns
            ran = [pool.run_all() for pool in self.pools.values()] if jobs else []
            if any(ran):
                continue
            if self.is_at_rest:
                return turns
        raise AssertionError(f"the loop is busy after {MOST_TURNS} turns: {self.selector.poll()}")

    def advance(self, seconds: float, jobs: bool = True) -> None:
        """Let time pass; every timer on the way is called at its time."""
        self.settle(jobs)
        end = self.clock.now + seconds
        while not self.reactor._stopping:
            deadline = self.reactor._timers.next_deadline()
            if deadline is None or deadline > end:
                break
            self.clock.now = max(self.clock.now, deadline)
            self.settle(jobs)
        self.clock.now = max(self.clock.now, end)
        if not self.reactor._stopping:
            self.settle(jobs)

    # --- the end

    def end(self) -> None:
        """Stop the server as `stop` does, and let it take the time it wants."""
        if self._is_over:
            return
        self._is_over = True
        if not self.reactor._stopping:
            self.server.stop()
            with contextlib.suppress(StopIteration):
                self.advance(self.server.config.shutdown_timeout + 2)
        if not self.reactor._stopping:
            raise AssertionError("the server did not stop within its grace")
        self.server._serve(self.runtime)

    def check_nothing_is_left(self) -> None:
        """Fail where a descriptor, a channel or a queue entry has survived the end."""
        left = self.network.sockets
        # A connection that nobody has accepted belongs to the kernel.
        if left or self.network.watched or self.network.faults:
            raise AssertionError(f"left: {left}, {self.network.watched}, {self.network.faults}")
        if self.runtime.connections or len(self.server.clients):
            raise AssertionError("channels have survived the end of the server")


@contextlib.contextmanager
def noted_moves() -> Iterator[list[tuple[State, State]]]:
    """List each move of a channel's state where it is set: the hot paths do so by themselves."""
    moves: list[tuple[State, State]] = []
    slot: Any = Channel.state

    def note(channel: Channel, new: State) -> None:
        with contextlib.suppress(AttributeError):  # A new channel has no state yet.
            moves.append((slot.__get__(channel), new))
        slot.__set__(channel, new)

    noting = property(lambda channel: slot.__get__(channel), note)
    with mock.patch.object(Channel, "state", noting):
        yield moves


def run_until(reactor: Reactor, condition: Callable[[], Any], what: str, turns: int = 200) -> None:
    """Turn a reactor until a condition holds; fail where it does not after so many turns."""
    for _ in range(turns):
        if condition():
            return
        reactor.run_once()
    raise AssertionError(f"not within {turns} turns: {what}")
