"""One connection of a client: lines in, bytes out, and how long to wait before the next one.

The rule: one thread reads, any thread sends, and the one that reads never waits for room to
send. Else the two ends could stand still for good, each with its buffers full and waiting for
the other one to read.

Chapter: docs/client.md.
"""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING

from ..errors import FrameTooLong
from ..probes import bound_silence, probe_silence

if TYPE_CHECKING:
    import ssl

# Seconds that the kernel is asked to wait at once: it cannot count to infinity.
LONGEST_WAIT = 3600.0
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
RECV_SIZE = 64 * 1024  # Bytes asked of the kernel at once.
# Opened for one wait, so rather one that costs no descriptor.
_Selector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)


class Link:
    """One connection. `lines` is for one thread; `send` and `abort` for any.

    limit: the longest line accepted, in bytes.
    """

    def __init__(self, sock: socket.socket, limit: int) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._limit = limit
        # What a socket raises that cannot go on yet; with TLS it may want the other direction.
        self._wants_read: tuple[type[OSError], ...] = (BlockingIOError,)
        self._wants_write: tuple[type[OSError], ...] = (BlockingIOError,)
        # Any thread.
        self._io = threading.Lock()  # Held for one call of the socket, which never blocks.
        self._writing = threading.Lock()  # Held for a whole message; guards `_unsent`.
        self._unsent = bytearray()
        self._later: deque[bytes] = deque()  # What the reader has to say, as soon as it can be.
        # The ids of what was sent and is not answered, in the order in which it was sent.
        self.in_flight: dict[int, None] = {}

    @classmethod
    def open(
        cls,
        host: str,
        port: int,
        timeout: float,
        limit: int,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Link:
        """Connect, with TLS if there is a context. Raises OSError."""
        sock = socket.create_connection((host, port), min(timeout, LONGEST_WAIT))
        try:
            # While nobody listens on a port of the ephemeral range, a client that tries and
            # tries is sooner or later given that very port, and connects to itself.
            if sock.getsockname() == sock.getpeername():
                raise ConnectionRefusedError(f"nobody listens on {host}:{port}")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            probe_silence(sock.setsockopt)
            bound_silence(sock.setsockopt)
            if ssl_context is not None:
                sock = ssl_context.wrap_socket(sock, server_hostname=host)
            link = cls(sock, limit)
        except BaseException:
            sock.close()
            raise
        if ssl_context is not None:
            from ssl import SSLWantReadError, SSLWantWriteError  # Costs time: only who needs it.

            link._wants_read = (BlockingIOError, SSLWantReadError)
            link._wants_write = (BlockingIOError, SSLWantWriteError)
        return link

    def lines(
        self,
        deadline: float = inf,
        patience: float = inf,
        on_silence: Callable[[int], object] = lambda times: None,
    ) -> Iterator[bytes]:
        """Yield each line without its LF, until the peer closes.

        on_silence: called whenever nothing has come for `patience` seconds, with how many times
        that is in a row; what it raises ends this. Raises OSError where the connection breaks or
        ends inside a line, TimeoutError at the deadline (`time.monotonic`), FrameTooLong for a
        line over the limit.
        """
        line = bytearray()
        while data := self._receive(deadline, patience, on_silence):
            head, *more = data.split(b"\n")
            line += head
            if len(line) > self._limit:
                raise FrameTooLong(f"a message over {self._limit} bytes")
            if more:
                yield bytes(line)
                yield from more[:-1]
                line = bytearray(more[-1])
        if line:
            raise ConnectionResetError("the connection ended inside a message")

    def _receive(
        self, deadline: float, patience: float, on_silence: Callable[[int], object]
    ) -> bytes:
        """Return what came, b"" at the end."""
        # From here on, and not from the last byte: while nobody reads, nothing can be heard.
        heard_until = time.monotonic() + patience
        times = 0
        while True:
            if time.monotonic() >= heard_until:
                if not self._writing.locked():  # Else the peer has not been told all yet.
                    times += 1
                    on_silence(times)
                heard_until = time.monotonic() + patience
            self._send_later()
            wanted = READ
            try:
                with self._io:
                    return self._sock.recv(RECV_SIZE)
            except self._wants_read:
                pass
            except self._wants_write:
                wanted = WRITE
            # Not for the rest of a message whose sender is at it. But what the reader has to say
            # itself, and nobody else will, comes after that, and there must be room for it.
            if self._later or (self._unsent and not self._writing.locked()):
                wanted |= WRITE
            try:
                self._wait(wanted, min(deadline, heard_until))
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise

    def send(self, data: bytes, deadline: float, id: int | None = None) -> None:
        """Hand a message to the kernel: after those of other threads, and whole.

        id: is put `in_flight` when its turn has come. Raises TimeoutError at the deadline: it
        may then be sent later, if a part of it is with the kernel already, but never in part
        only. Raises OSError where the connection is broken.
        """
        if not self._writing.acquire(timeout=seconds_until(deadline)):
            raise TimeoutError("other messages are still being sent")
        try:
            self._flush(deadline)  # What is left of a message whose sender has given up.
            if id is not None:
                self.in_flight[id] = None
            self._unsent += data
            self._flush(deadline)
        finally:
            self._writing.release()

    def send_soon(self, data: bytes) -> None:
        """Have a message sent without waiting. For the thread that reads."""
        self._later.append(data)
        self._send_later()

    def _send_later(self) -> None:
        """Send as much as the kernel takes; nothing while another message is being sent."""
        if not (self._later or self._unsent) or not self._writing.acquire(blocking=False):
            return
        try:
            while self._later:
                self._unsent += self._later.popleft()
            while self._unsent and self._send_some():
                pass
        except OSError:
            pass  # The connection is broken: reading will tell.
        finally:
            self._writing.release()

    def _flush(self, deadline: float) -> None:
        while self._unsent:
            if not self._send_some():
                self._wait(self._send_wants, deadline)

    _send_wants = WRITE  # With TLS it may be READ.

    def _send_some(self) -> bool:
        """Return False where nothing could be sent now."""
        try:
            with self._io:
                sent = self._sock.send(self._unsent[:RECV_SIZE])
        except self._wants_write:
            self._send_wants = WRITE
            return False
        except self._wants_read:
            self._send_wants = READ
            return False
        del self._unsent[:sent]
        return True

    def _wait(self, events: int, deadline: float) -> None:
        timeout = min(seconds_until(deadline), LONGEST_WAIT)
        if timeout <= 0:
            raise TimeoutError("timed out")
        with _Selector() as selector:
            try:
                selector.register(self._sock, events)
            except ValueError:  # The thread that reads has closed it.
                raise ConnectionResetError("the connection is closed") from None
            selector.select(timeout)

    def abort(self) -> None:
        """End the conversation; `lines` sees the end, and closes. Any thread."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It has ended already.

    def close_copy(self) -> None:
        """In a forked child: close its copy of the descriptor; the connection is the parent's."""
        self._sock.close()  # No shutdown: that would end it for both.

    def close(self) -> None:
        """Close. For the thread that reads, when it has read."""
        self.abort()  # Who waits for room to send would not notice a close.
        with self._io:  # Nobody is inside a call of the socket: its number may be given away.
            self._sock.close()


def seconds_until(deadline: float) -> float:
    """Return the seconds that are left, as a lock can wait for them: infinity is very long."""
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)


def reason_of(error: Exception) -> str:
    """Return an error's text without its number, which says nothing to most."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Backoff:
    """How long to wait before the next attempt: longer and longer, and never quite the same.

    first, longest: seconds; each wait is twice the one before. A random part of up to a half
    is taken off, so that a thousand clients of a server that has come back do not all come at
    once. jitter: returns 0 to 1.
    """

    def __init__(
        self,
        first: float = 0.1,
        longest: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.first = first
        self.longest = longest
        self._jitter = jitter
        self._next = first

    def next_delay(self) -> float:
        """Return the seconds to wait now."""
        delay = self._next
        self._next = min(2 * delay, self.longest)
        return delay * (1 - self._jitter() / 2)

    def reset(self) -> None:
        """An attempt has succeeded: begin again with the first."""
        self._next = self.first
