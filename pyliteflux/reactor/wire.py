"""What carries a connection's bytes: a socket, or what stands in for one.

The rule: the socket *is* the plain wire. A transport calls its `recv` and `send` directly; what
it wants rarely (a file sent, what the kernel still holds, a reset) is asked here, and this is the
only place that knows what a wire of the kernel's can do and another one cannot.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Any, Protocol

from ..filepiece import FilePiece
from ..why import CloseReason

# The most that is gathered from small pieces for one send, in bytes: a copy of this size
# costs less than a second system call.
GATHER = 64 * 1024
# The most one send_file() may send, in bytes. It bounds how long a cold disk can hold the loop.
SENDFILE_PIECE = 256 * 1024

OUR_FIN = 1  # The kernel counts it as a byte.

# What sendfile() says of a file system that cannot do it.
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 seconds

try:
    import fcntl
    import termios

    QUEUE_SIZE: int | None = termios.TIOCOUTQ  # On Linux the same number as SIOCOUTQ.
except ImportError:  # Windows
    QUEUE_SIZE = None

# What recv and send say where nobody has answered: the kernel's probes and repeats gave up.
_GONE = {
    getattr(errno, name)
    for name in ("ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN")
    if hasattr(errno, name)
}


class Wire(Protocol):
    """What a transport asks of a socket. Whatever answers alike can stand in its place.

    Nothing blocks: who cannot answer yet raises BlockingIOError, who never will an OSError.
    """

    def fileno(self) -> int:
        """Return the descriptor that the selector watches, -1 once it is closed."""

    def recv(self, size: int, /) -> bytes:
        """Return what has come, b"" at its end: all of it, as the kernel shows no more.

        size: how much to take from the kernel. What a wire that decodes finds in that is
        handed on at once: the selector cannot see what lies in a buffer of the wire's own.
        """

    def send(self, data: bytes | memoryview, /) -> int:
        """Return how many of these bytes the kernel has. After BlockingIOError they come again.

        The next call begins with the same bytes. So a wire that encodes keeps what the kernel
        did not take of them, and reports bytes as sent when it keeps nothing.
        """

    def shutdown(self, how: int, /) -> None:
        """With SHUT_WR: say that nothing follows (FIN). Comes again after BlockingIOError."""

    def setsockopt(self, level: int, name: int, value: int | bytes, /) -> None:
        """Set an option of the socket below."""

    def getsockname(self) -> Any:
        """Return our address as the kernel has it."""

    def getpeername(self) -> Any:
        """Return the peer's address as the kernel has it."""

    def close(self) -> None:
        """Give the descriptor back."""


class FileFailed(Exception):
    """A file could not be read, or became shorter, while it was being sent."""


def send_front(wire: Wire, unsent: list[bytes | memoryview | FilePiece]) -> int:
    """Send from the front of what waits, by one system call: small pieces go together.

    What was taken is taken out of the list. Returns its size; raises FileFailed.
    """
    piece = unsent[0]
    if isinstance(piece, FilePiece):
        sent = send_file(wire, piece)
        if piece.count == 0:
            piece.close()
            del unsent[0]
        return sent
    taken, size = 1, len(piece)
    while taken < len(unsent):
        following = unsent[taken]
        if isinstance(following, FilePiece) or size + len(following) > GATHER:
            break
        size += len(following)
        taken += 1
    if taken > 1:
        piece = b"".join(unsent[:taken])  # type: ignore[arg-type]
    sent = wire.send(piece)
    # A view: no copy of what remains.
    unsent[:taken] = [] if sent == size else [memoryview(piece)[sent:]]
    return sent


def send_file(wire: Wire, piece: FilePiece) -> int:
    """Send from a file, by the kernel where the wire is the kernel's. Return what was taken.

    Raises FileFailed.
    """
    count = min(piece.count, SENDFILE_PIECE)
    # Not isinstance(): past an ssl.SSLSocket, say, the kernel would send the file unencrypted.
    if type(wire) is socket.socket and hasattr(os, "sendfile"):  # Windows has none.
        try:
            sent = os.sendfile(wire.fileno(), piece.fd, piece.offset, count)
        except OSError as error:
            if error.errno == errno.EIO:  # Never said of a socket.
                raise FileFailed("the file cannot be read: the disk failed") from None
            if error.errno not in _NO_SENDFILE:
                raise
            sent = _copy_file(wire, piece, count)
    else:
        sent = _copy_file(wire, piece, count)
    if sent == 0:
        # The file has become shorter than we promised: the length cannot be kept, and
        # a body cut short must not look complete.
        raise FileFailed("the file shrank while it was being sent")
    piece.offset += sent
    piece.count -= sent
    return sent


def _copy_file(wire: Wire, piece: FilePiece, count: int) -> int:
    """Do by hand what sendfile() does; return 0 at the end of the file."""
    # Every range has a descriptor of its own, but dup() shares the position: it is set
    # before each read. (pread() would do, but Windows has none.)
    try:
        os.lseek(piece.fd, piece.offset, os.SEEK_SET)
        data = os.read(piece.fd, count)
    except OSError as error:
        raise FileFailed(f"the file cannot be read: {error.strerror}") from None
    return wire.send(data) if data else 0


def held_by_kernel(wire: Wire) -> int:
    """Return the bytes that the peer has not acknowledged yet; 0 where nobody can tell."""
    if QUEUE_SIZE is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(wire, QUEUE_SIZE, b"\0\0\0\0"), sys.byteorder)
    except OSError:
        return 0


def reset_on_close(wire: Wire) -> None:
    """Have the close that follows send RST, and the kernel keep nothing."""
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    except OSError:
        pass


def cause_of(error: OSError) -> CloseReason:
    """Return why a connection ends whose wire has raised this."""
    return CloseReason.PEER_GONE if error.errno in _GONE else CloseReason.PEER_RESET
