"""When to log what may happen a thousand times a second: once in a while, and with a count.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

import threading
from math import inf


class Sparing:
    """One line at most in so many seconds. Any thread."""

    __slots__ = ("_interval", "_last", "_left_out", "_lock")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()  # Guards the count and when the last line was due.
        self._last = -inf  # When a line was due last.
        self._left_out = 0  # Since then.

    def left_out(self, now: float) -> int | None:
        """Return None where there is to be no line now, else how many had none before this one."""
        with self._lock:
            if now < self._last + self._interval:
                self._left_out += 1
                return None
            self._last = now
            count, self._left_out = self._left_out, 0
            return count
