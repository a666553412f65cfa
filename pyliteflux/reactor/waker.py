"""Wake a sleeping reactor from another thread: the self-pipe trick.

The reactor sleeps in ``select()`` and hears only file descriptors, so this module lends
other threads one: a socket pair whose near end the reactor watches. One byte written to
the far end ends the sleep. Signals use the same pipe: the interpreter writes the number of
the signal into it (`signal.set_wakeup_fd`), so a byte that is not zero is a signal.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import socket


def _private_pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected to each other, and to nobody else.

    Where the system has no socketpair() (Windows), older Pythons listen on a local port for a
    moment and take whoever connects first (CVE-2024-3219). So it is looked at who has.
    """
    near, far = socket.socketpair()
    is_local = near.family not in (socket.AF_INET, socket.AF_INET6)  # Names are then empty.
    if is_local or (near.getpeername(), far.getpeername()) == (
        far.getsockname(),
        near.getsockname(),
    ):
        return near, far
    near.close()
    far.close()
    raise ConnectionError("another program has connected to the self-pipe of the reactor")


class Waker:
    """The self-pipe. Any thread may `wake`; all the rest belongs to the reactor thread."""

    __slots__ = ("_near", "_far", "_pending")

    def __init__(self) -> None:
        self._near, self._far = _private_pair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._pending = False  # A byte is on its way: from wake() until drain().

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""
        return self._near.fileno()

    def signal_fileno(self) -> int:
        """Return the descriptor to hand to `signal.set_wakeup_fd`."""
        return self._far.fileno()

    def wake(self) -> None:
        """End the current or the next ``select()``. Never blocks, never raises."""
        if self._pending:
            return  # A thousand wake-ups cost one send.
        self._pending = True
        try:
            self._far.send(b"\0")
        except OSError:
            pass  # Full: the reactor is due to wake. Closed: nobody is asleep.

    def drain(self) -> bytes:
        """Take in the wake-ups, *then* let the caller empty the queue they announced.

        In this order no wake-up can be lost: what was queued under the raised flag is
        seen by the emptying that follows, and what is queued later sends a new byte.
        Returns the bytes: zeros from `wake`, signal numbers from the interpreter.
        """
        data = b""
        try:
            data = self._near.recv(4096)
        except BlockingIOError:
            pass
        self._pending = False
        return data

    def close(self) -> None:
        """Give both descriptors back. A late `wake` is then silent."""
        self._near.close()
        self._far.close()
