"""What was pushed and nobody has taken yet, and what happens when that is too much.

The rule: over the limit the reader stops reading, so that the server feels it. But not while a
call waits: its answer is behind those pushes, and the thread that calls may be the very one
that should take them. Then it reads on, up to `HARD_LIMIT` times the limit; over that the
oldest are given up, counted, and the count is told at their place.

Chapter: docs/client.md.
"""

from __future__ import annotations

from collections import deque

from .events import Event, Push

HARD_LIMIT = 16  # Times the limit, while a call waits for its answer.
ITEM_COST = 100  # Bytes that an item costs beside its message, about.


class ItemQueue:
    """Pushes and events in order. Guarded by the lock of its client.

    limit: bytes of messages, as they came. has_taker: somebody has asked for pushes: else none
    will be missed, and it is no reason to stop reading.
    """

    __slots__ = ("_given_up", "_items", "_size", "has_taker", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.has_taker = False
        self._items: deque[tuple[Push | Event, int]] = deque()
        self._size = 0
        self._given_up = 0

    def put(self, item: Push | Event, size: int = 0) -> None:
        """Add an item whose message had so many bytes."""
        size += ITEM_COST
        self._items.append((item, size))
        self._size += size
        limit = self.limit * (HARD_LIMIT if self.has_taker else 1)
        while self._size > limit and len(self._items) > 1:
            self._size -= self._items.popleft()[1]
            self._given_up += 1

    def take(self) -> Push | Event | None:
        """Return the next item; None where there is none."""
        if self._given_up:
            count, self._given_up = self._given_up, 0
            return Event("dropped", topic=None, count=count, by="client")
        if not self._items:
            return None
        item, size = self._items.popleft()
        self._size -= size
        return item

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()
        self._size = self._given_up = 0

    @property
    def is_full(self) -> bool:
        """The reader should stop."""
        return self.has_taker and self._size > self.limit

    @property
    def has_room(self) -> bool:
        """The reader may go on: later than `is_full` ends, or it would stop at each message."""
        return self._size <= self.limit // 2
