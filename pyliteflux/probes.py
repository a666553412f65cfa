"""What the kernel is asked to find out about a peer that is silent, or gone without a word.

A machine that has lost its power, and a cable that is pulled, send nothing, so only a question
tells. Two clocks of the kernel's are needed. SO_KEEPALIVE asks where all is still: after a minute
of silence a probe each ten seconds, and the peer is given up after two. But it waits while
something is on its way: then TCP sends that again and again, for a quarter of an hour.
TCP_USER_TIMEOUT (RFC 5482; Linux) bounds that wait to the same two minutes.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

# Seconds after which a peer that answers nothing is given up.
PATIENCE = 120
# In seconds, seconds and a count: 60 + 6 * 10 of them.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))

# (level, option, value) to nothing, as `socket.setsockopt`.
SetOption = Callable[[int, int, int], object]


def probe_silence(set_option: SetOption) -> None:
    """Have the kernel ask a peer that has long been silent whether it is there."""
    set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        option = getattr(socket, name, None)  # Not every system has all of them.
        if option is not None:
            set_option(socket.IPPROTO_TCP, option, value)


def bound_silence(set_option: SetOption, at_least: float = 0.0) -> None:
    """Have the kernel give up a peer that acknowledges nothing of what it was sent.

    at_least: seconds. Where a peer may be slow for longer than `PATIENCE`, so must this be: a
    window that stays shut counts as well.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        set_option(socket.IPPROTO_TCP, option, int(max(PATIENCE, at_least) * 1000))
