"""Deadlines in a heap: the reactor asks how long it may sleep, then which are due.

A cancelled timer stays in the heap as a husk until it comes up: cancelling is O(1), and the
heap never has to be searched. Deadlines that move with every request do not belong here:
they are numbers on a channel, looked at by one sweep (server/server.py).

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any


class TimerHandle:
    """What `call_later` returns. Reactor thread only."""

    __slots__ = ("deadline", "_callback", "_args")

    def __init__(
        self, deadline: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self.deadline = deadline
        self._callback: Callable[..., object] | None = callback
        self._args = args

    def cancel(self) -> None:
        """Never make the call. Idempotent; after the call it does nothing."""
        self._callback = None
        self._args = ()

    @property
    def is_active(self) -> bool:
        """True until it has been cancelled or taken."""
        return self._callback is not None

    def take(self) -> tuple[Callable[..., object] | None, tuple[Any, ...]]:
        """Return what to call with what, for the one time: None after that, or when cancelled."""
        callback, args = self._callback, self._args
        self.cancel()
        return callback, args


CLEAN_SIZE = 1000  # Timers: fewer are not worth looking for cancelled ones.


class TimerQueue:
    """The pending timers, soonest first; equal deadlines keep the order they were added in."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._order = count()  # Breaks ties, so that handles are never compared.
        self._clean_at = CLEAN_SIZE  # At this length the cancelled ones are taken out.

    def add(self, handle: TimerHandle) -> None:
        """Note a timer."""
        heap = self._heap
        if len(heap) >= self._clean_at:
            # Cancelled ones stay until they come up: a thousand a second that are set for half
            # a minute would be thirty thousand. At twice the size it costs nothing on average.
            heap[:] = [item for item in heap if item[2].is_active]
            heapq.heapify(heap)
            self._clean_at = max(CLEAN_SIZE, 2 * len(heap))
        heapq.heappush(heap, (handle.deadline, next(self._order), handle))

    def next_deadline(self) -> float | None:
        """Return the soonest deadline, or None if no timer is pending."""
        heap = self._heap
        while heap and not heap[0][2].is_active:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[TimerHandle]:
        """Take out and return every timer whose deadline is not after `now`."""
        heap = self._heap
        due = []
        while heap and heap[0][0] <= now:
            handle = heapq.heappop(heap)[2]
            if handle.is_active:
                due.append(handle)
        return due

    def __len__(self) -> int:
        return sum(handle.is_active for _, _, handle in self._heap)
