"""The two ends of a connection, of whatever family, in one form: (host, port).

The rule: where we listen and who has come is said in one way in the whole server, whatever socket
it came by. The kernel's word is turned into it once, where a socket is opened or accepted;
requests, limits, logs and the ids of clients are made of that.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, NamedTuple, TypeVar

_MAPPED = "::ffff:"
# Why one cannot listen, and what to do.
_WHY = {
    errno.EADDRINUSE: "the port is in use; stop the other program, choose another port, or 0 for "
    "a free one",
    errno.EACCES: "not allowed; ports below 1024 need privileges",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}
_Made = TypeVar("_Made", bound="Endpoint")


class Endpoint(NamedTuple):
    """Where somebody listens. A pair like those of the socket module, and shown as one."""

    host: str
    port: int

    @classmethod
    def of(cls: type[_Made], address: Any) -> _Made:
        """Return what the kernel says of one end of a connection.

        On IPv6 that has four members, of which two mean something to this machine only. And where
        one socket listens on both families an IPv4 peer is shown as ``::ffff:10.0.0.1``: who counts
        or trusts addresses must not see two of one client (RFC 4291 section 2.5.5.2).
        """
        host, port = address[:2]
        if host.startswith(_MAPPED) and "." in host:
            host = host[len(_MAPPED) :]
        return cls(host, port)

    @property
    def is_loopback(self) -> bool:
        """True where only this machine can be at the other end."""
        return self.host == "::1" or self.host.startswith("127.")

    @property
    def netloc(self) -> str:
        """The pair as a URL has it: an IPv6 host in brackets (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def explain(self, error: OSError | UnicodeError) -> OSError:
        """Return an OSError of the same kind: one line that says why one cannot listen here."""
        where = f"cannot listen on {self.host}:{self.port}"
        if isinstance(error, UnicodeError):  # The resolver's codec knows no label over 63 bytes.
            return OSError(errno.EINVAL, f"{where}: {self.host!r} is no host name")
        why = _WHY.get(error.errno or 0) or error.strerror or str(error)
        if isinstance(error, socket.gaierror):
            why = f"{self.host!r} is no known host name or address"
        return OSError(error.errno, f"{where}: {why}")

    def __repr__(self) -> str:
        return f"({self.host!r}, {self.port})"


class Peer(Endpoint):
    """Who came: the other end of a connection that was accepted."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """What the peer is called."""
        return id_of(self)


def id_of(address: tuple[str, int]) -> str:
    """Return what a client is called: "host:port". Users compute it themselves (T8)."""
    return f"{address[0]}:{address[1]}"
