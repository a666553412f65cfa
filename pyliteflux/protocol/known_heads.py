"""Heads that came before: the same bytes mean the same, and clients repeat themselves.

A browser that polls, a device that reports, a load generator: what has come twice is remembered
and not parsed again. What comes once (a path with a number in it, a cookie that is new each time)
must not push out what is of use, so it leaves no more than a trace of eight bits.

Chapter: docs/http.md.
"""

from __future__ import annotations

from typing import TypeVar

Head = TypeVar("Head")

# What is refused is not remembered, so what it holds is bounded: 1 to 2 MB of ordinary heads, 12
# where each is of a hundred tiny fields and all have been asked for.
MAX_KNOWN = 512  # heads
LONGEST_KNOWN = 1024  # bytes
_LAST_SLOT = 16 * 1024 - 1


class KnownHeads(dict[bytes, Head]):
    """Heads by their bytes, looked up as in any dict. Reactor thread only."""

    __slots__ = ("_traces",)

    def __init__(self) -> None:
        super().__init__()
        # Eight bits of the hash of the head that came last, by other bits of it; 0: none has
        # come. Enough to tell that a head has come before, wrong once in 256 times, which does
        # no harm.
        self._traces = bytearray(_LAST_SLOT + 1)

    def has_come(self, data: bytes, head: Head) -> None:
        """Take note of a head that was parsed; the second time it is kept."""
        mark = hash(data)
        slot, trace = mark & _LAST_SLOT, mark >> 20 & 0xFF or 1
        if self._traces[slot] != trace:
            self._traces[slot] = trace
        else:
            if len(self) >= MAX_KNOWN:
                self.clear()
            self[data] = head

    def forget(self) -> None:
        """Begin anew, as if nothing had come."""
        self.clear()
        self._traces = bytearray(_LAST_SLOT + 1)
