"""Addresses of both families in one form: (host, port).

The rule: who is at the other end is said in one way in the whole server, whatever socket it came
by. Requests, limits, logs and the ids of clients are made of it.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

from typing import Any

_MAPPED = "::ffff:"


def address_of(address: Any) -> tuple[str, int]:
    """Return what the kernel says of one end of a connection as (host, port).

    On IPv6 that has four members, of which two mean something to this machine only. And where
    one socket listens on both families an IPv4 peer is shown as ``::ffff:10.0.0.1``: who counts
    or trusts addresses must not see two of one client (RFC 4291 section 2.5.5.2).
    """
    host, port = address[:2]
    if host.startswith(_MAPPED) and "." in host:
        host = host[len(_MAPPED) :]
    return host, port
