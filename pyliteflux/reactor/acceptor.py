"""A listening socket, and how it becomes connections.

Two things go wrong here in real life. The queue of new connections can be endless, so one
turn takes only so many and lets the others have their turn. And descriptors can run out
(EMFILE): the waiting connection then keeps the listener readable for ever, and a naive
server spins at 100 % CPU. So the listener is put aside for a moment and tried again.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from ..log import framework as log
from .loop import READ, Reactor
from .timers import TimerHandle

# Out of something that others may give back. Anything else is about one connection.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LOG_INTERVAL = 1.0  # seconds between two lines about the same trouble


def listen(
    host: str,
    port: int,
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
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
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
    except UnicodeError:  # The resolver's codec knows no label longer than 63 bytes.
        raise OSError(
            errno.EINVAL, f"cannot listen on {host}:{port}: {host!r} is no host name"
        ) from None
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _explained(error, host, port) from None


def _explained(error: OSError, host: str, port: int) -> OSError:
    """Return an OSError of the same kind whose text names the address and what to do."""
    where = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        text = f"cannot listen on {where}: {host!r} is no known host name or address"
    elif error.errno == errno.EADDRINUSE:
        text = (
            f"cannot listen on {where}: the port is in use; stop the other program, "
            f"choose another port, or 0 for a free one"
        )
    elif error.errno == errno.EACCES:
        text = f"cannot listen on {where}: not allowed; ports below 1024 need privileges"
    elif error.errno == errno.EADDRNOTAVAIL:
        text = f"cannot listen on {where}: this machine has no such address"
    else:
        text = f"cannot listen on {where}: {error.strerror or error}"
    return OSError(error.errno, text)


class Acceptor:
    """Turns a listening socket into connections. Reactor thread only.

    on_connection: called with each new non-blocking socket and its peer's address.
    max_accepts: connections in one turn. pause: seconds to stay away when out of descriptors.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_connection: Callable[[socket.socket, Any], None],
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
        self._is_open = True
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
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._step_aside(error)
                    return
                continue  # ECONNABORTED, EPROTO ...: that peer has left already.
            self._on_connection(sock, address)
            if not self._is_open:
                return

    def on_writable(self) -> None:
        """Never asked for."""

    def on_failure(self, error: Exception) -> None:
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

    def close_copy(self) -> None:
        """In a forked child: close its copy of the descriptor; the parent goes on listening."""
        self._sock.close()

    def close(self) -> None:
        """Stop listening at once: the kernel refuses further connections."""
        if not self._is_open:
            return
        self._is_open = False
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        else:
            self._reactor.unregister(self)
        self._sock.close()
