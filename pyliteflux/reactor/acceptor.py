"""A listening socket, and how it becomes connections.

Two things go wrong here in real life. The queue of new connections can be endless, so one
turn takes only so many and lets the others have their turn. And descriptors can run out
(EMFILE): the waiting connection then keeps the listener readable for ever, and a naive
server spins at 100 % CPU. So the listener is put aside for a moment and tried again.

And one thing goes wrong at the end: closing a listener resets every connection that the kernel
has accepted for us and we have not taken yet. `Acceptor.finish` takes them first.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable

from ..endpoint import Endpoint, Peer
from ..forking import after_fork
from ..log import framework as log
from .loop import READ, Reactor
from .timers import TimerHandle

# Out of something that others may give back. Anything else is about one connection.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LOOPBACK = ("127.0.0.1", "::1")
# What says that there is no IPv4, or no IPv6, here.
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, socket.EAI_FAMILY, socket.EAI_NONAME}
_TRIES = 16  # To find a port that is free on both.
_LOG_INTERVAL = 1.0  # seconds between two lines about the same trouble

# How long handshakes that have begun may take to end before a listener is closed, in seconds:
# a round trip within a continent. On loopback a handshake has no duration.
HANDSHAKE_TIME = 0.05
# "Drop a SYN that opens a connection, take all the rest", for the kernel's packet filter: load
# the flags of the TCP header, keep SYN and ACK, and compare with SYN alone.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # A = byte 13 of the header
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # if A != SYN: skip one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # take all of it
)
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER of Linux; the socket module has no name for it.


def listen(
    endpoint: Endpoint,
    backlog: int,
    reuse_port: bool = False,
    socket_factory: Callable[..., socket.socket] = socket.socket,
) -> socket.socket:
    """Return a non-blocking listening socket, or raise OSError with one line that says what to do.

    SO_REUSEADDR lets a restarted server have its port back at once. On Windows the option
    of that name would let a stranger share the port, so the exclusive one is used there.
    """
    sock: socket.socket | None = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket_factory(family, kind, proto)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        if reuse_port and hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
        return sock
    except (OSError, UnicodeError) as error:
        if sock is not None:
            sock.close()
        raise endpoint.explain(error) from None


def listen_on(
    endpoint: Endpoint,
    backlog: int,
    reuse_port: bool = False,
    socket_factory: Callable[..., socket.socket] = socket.socket,
) -> list[socket.socket]:
    """Return listening sockets: one as `listen` makes it, or for "localhost" one of each family.

    A client that is told "localhost" may try 127.0.0.1 or ::1 first, and what it reaches must be
    this server both times (RFC 6761 section 6.3). So the port is the same on both, also where it
    is 0; a family that this machine does not have is left out. Raises OSError as `listen` does.
    """
    if endpoint.host.lower() != "localhost":
        return [listen(endpoint, backlog, reuse_port, socket_factory)]
    found: list[socket.socket] = []
    for tries_left in reversed(range(1 if endpoint.port else _TRIES)):
        port = endpoint.port
        try:
            for host in _LOOPBACK:
                try:
                    sock = listen(Endpoint(host, port), backlog, reuse_port, socket_factory)
                except OSError as error:
                    if error.errno in _NO_SUCH_FAMILY and (found or host != _LOOPBACK[-1]):
                        continue
                    raise
                found.append(sock)
                port = sock.getsockname()[1]
            break
        except OSError as error:
            while found:
                found.pop().close()
            # The port that is free on the one is taken on the other: another one may not be.
            if error.errno != errno.EADDRINUSE or not tries_left:
                raise
    return found


def _refuse_handshakes(sock: socket.socket) -> bool:
    """Have the kernel drop what would open a connection to a listener; tell whether it does.

    Not a refusal: the client repeats its SYN after a second and meets who listens then, another
    process of the port or the next one. Linux only, and no privilege is needed. The filter holds
    for everybody who has a descriptor of this socket, so it must be ours alone.
    """
    if sys.platform != "linux":
        return False
    program = array.array("B", b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    try:
        sock.setsockopt(
            socket.SOL_SOCKET,
            _ATTACH_FILTER,
            struct.pack("HP", len(_DROP_SYN), program.buffer_info()[0]),
        )
    except OSError:  # A sandbox that forbids it.
        return False
    return True


class Acceptor:
    """Turns a listening socket into connections. Reactor thread only.

    on_connection: called with each new non-blocking socket and its peer; the socket is its
    own from then on, unless it raises.
    max_accepts: connections in one turn. pause: seconds to stay away when out of descriptors.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_connection: Callable[[socket.socket, Peer], None],
        max_accepts: int = 64,
        pause: float = 0.1,
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._on_connection = on_connection
        self._max_accepts = max_accepts
        self._pause = pause
        self._resume_timer: TimerHandle | None = None
        self._last_logged = float("-inf")
        self._most_last: int | None = None  # From `finish` on: how many are taken yet.
        self._handshakes_end = 0.0
        self.is_open = True
        after_fork(self.close_copy)
        reactor.register(self, READ)

    def fileno(self) -> int:
        """Return the listening descriptor."""
        return self._sock.fileno()

    def on_readable(self) -> None:
        """Accept what is waiting, up to `max_accepts`."""
        for _ in range(self._max_accepts):
            try:
                sock, address = self._sock.accept()
                sock.setblocking(False)
            except BlockingIOError:
                if self._most_last is not None and self._reactor.now >= self._handshakes_end:
                    self.close()  # Here, at once: who comes between these two calls is reset.
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._step_aside(error)
                    return
                continue  # ECONNABORTED, EPROTO ...: that peer has left already.
            if self._most_last is not None:
                self._most_last -= 1
                if self._most_last <= 0:
                    self.close()
            try:
                self._on_connection(sock, Peer.of(address))
            except BaseException:
                sock.close()  # Nobody has taken it.
                raise
            if not self.is_open:
                return

    def on_writable(self) -> None:
        """Never asked for."""

    def on_failure(self, error: BaseException) -> None:
        """A bug above us: go on accepting."""

    def _step_aside(self, error: OSError) -> None:
        if self._reactor.now - self._last_logged >= _LOG_INTERVAL:
            self._last_logged = self._reactor.now
            log.error(
                "cannot accept connections (%s): trying again every %g s; "
                "raise the limit of open files or lower max_connections",
                error.strerror,
                self._pause,
            )
        self._reactor.unregister(self)
        self._resume_timer = self._reactor.call_later(self._pause, self._come_back)

    def _come_back(self) -> None:
        self._resume_timer = None
        self._reactor.register(self, READ)
        if self._most_last is not None:
            self._take_last()

    def finish(self, most: int) -> None:
        """Take what the kernel has accepted, then stop listening: nobody is left in the queue.

        most: connections that are taken yet, so that it has an end where the kernel lets new
        ones in. `is_open` tells when it is over: as a rule before this returns, else in a few
        turns, after HANDSHAKE_TIME, or when there are descriptors again.
        """
        if not self.is_open or self._most_last is not None:
            return
        self._most_last = most
        here = Endpoint.of(self._sock.getsockname())
        if _refuse_handshakes(self._sock) and not here.is_loopback:
            self._handshakes_end = self._reactor.now + HANDSHAKE_TIME
            self._reactor.call_later(HANDSHAKE_TIME, self._take_last)
        self._take_last()

    def _take_last(self) -> None:
        if self.is_open and self._resume_timer is None:
            self.on_readable()

    def close_copy(self) -> None:
        """In a forked child: close its copy of the descriptor; the parent goes on listening."""
        self._sock.close()

    def close(self) -> None:
        """Stop listening at once: the kernel refuses further connections, and resets those that
        wait in its queue."""
        if not self.is_open:
            return
        self.is_open = False
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        else:
            self._reactor.unregister(self)
        self._sock.close()
