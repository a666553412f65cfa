"""One line per request, written where it cannot hold anybody up.

The rule: the reactor only notes that a request has ended. Formatting and writing happen on a
worker, a batch at a time, because a terminal or a pipe that nobody reads would otherwise stop
the loop. What is not written fast enough is counted, not kept.

Chapter: docs/running.md.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..errors import PoolFull, ReactorClosed
from ..log import access as log
from ..log import console, escape
from ..reactor.loop import Reactor
from ..reactor.workers import WorkerPool

MAX_LINES = 10_000  # Lines that wait to be written. Beyond it the newest are dropped.

BATCH = 256  # Lines written at once.


class AccessLog:
    """Notes ended requests, and has a worker of `pool` write them. Reactor thread."""

    def __init__(self, reactor: Reactor, pool: WorkerPool) -> None:
        self._reactor = reactor
        self._pool = pool
        self._lines: deque[tuple[Any, ...]] = deque()  # Appended here, popped by the worker.
        self._dropped = 0
        self._is_writing = False

    def note(self, request: Any, status: int, size: int) -> None:
        """A request has been answered. size: bytes of content."""
        if len(self._lines) >= MAX_LINES:
            self._dropped += 1
            return
        milliseconds = (self._reactor.now - request.started) * 1000
        who = request.client_id
        if request.peer_address is not request.client_address:
            who = f"{who} via {request.connection_id}"  # Behind a proxy: what the log's closes say.
        # What the line says, and not the request: with it its body would wait to be written.
        asked = request.method, request.target
        self._lines.append((who, *asked, status, size, milliseconds, request.request_id))
        if not self._is_writing:
            self._is_writing = True
            self._reactor.call_at_turn_end(self._write)

    def _write(self) -> None:
        try:
            self._pool.submit(write_lines, self._lines, self._on_written)
        except (PoolFull, ReactorClosed):
            self._is_writing = False

    def _on_written(self, _: Any) -> None:
        self._is_writing = False
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warning("%d access lines were dropped: they were not written fast enough", dropped)
        if self._lines:
            self._is_writing = True
            self._write()


def write_lines(waiting: deque[tuple[Any, ...]]) -> None:
    """Write every line that waits. On a worker."""
    lines = []
    while waiting:
        who, method, target, status, size, milliseconds, request_id = waiting.popleft()
        target = escape(target).replace('"', "\\x22")  # Or it could end its field.
        line = f'{who} "{method} {target}" {status} {size} {milliseconds:.1f}ms'
        lines.append((line, request_id))
        if len(lines) == BATCH:
            console.write_access(lines)
            lines = []
    if lines:
        console.write_access(lines)
