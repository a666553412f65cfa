"""A request body that the handler reads while it arrives: `stream=True` on a route.

The one place where a worker waits for the reactor. The reactor feeds pieces in and stops
reading the socket at the high mark; the worker takes them out, and when it has caught up it
posts one call that lets the reactor read on. So a 2 GB upload costs a few hundred kilobytes.

Chapter: docs/requests-and-responses.md.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

from ..errors import HTTPError

# Unread bytes at which the reactor stops reading, and at which it goes on.
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
# What an unread piece costs beside its bytes, about. Without it a client that sends single bytes
# could have us keep fifty times the memory that the mark allows.
PIECE_COST = 64


class BodyStream:
    """An iterator of the pieces of a request body, as they arrive.

    For the one thread that runs the handler. Iterating raises HTTPError where the client
    broke off or sent too much: let it pass, the server answers.
    """

    def __init__(self, resume: Callable[[], None]) -> None:
        self._resume = resume  # Any thread may call it.
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._is_paused = False
        self._is_complete = False
        self._error: HTTPError | None = None
        self._condition = threading.Condition()  # Guards the pieces; the handler waits on it.

    # --- reactor thread

    @property
    def is_paused(self) -> bool:
        """True from the high mark on, until the handler has caught up."""
        with self._condition:
            return self._is_paused

    def feed(self, data: bytes) -> bool:
        """Add a piece. Returns False at the high mark: read no more until `resume` is called."""
        with self._condition:
            self._pieces.append(data)
            self._size += len(data) + PIECE_COST
            self._is_paused = self._size >= HIGH_WATER
            self._condition.notify()
            return not self._is_paused

    def complete(self) -> None:
        """The body is whole."""
        with self._condition:
            self._is_complete = True
            self._condition.notify()

    def fail(self, error: HTTPError) -> None:
        """The body will never be whole; who reads it is told so. What is here is dropped."""
        with self._condition:
            if not self._is_complete:
                self._error = error
                self._pieces.clear()
                self._condition.notify()

    # --- the handler's thread

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        resume = False
        with self._condition:
            while not self._pieces:
                if self._error is not None:
                    raise self._error
                if self._is_complete:
                    raise StopIteration
                self._condition.wait()
            data = self._pieces.popleft()
            self._size -= len(data) + PIECE_COST
            if self._is_paused and self._size <= LOW_WATER:
                self._is_paused = False
                resume = True
        if resume:
            self._resume()
        return data

    def read(self) -> bytes:
        """Return all that is left as one value: as large as the client pleases to send."""
        return b"".join(self)
