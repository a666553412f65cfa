"""One line per request, written where it cannot hold anybody up.

The rule: the reactor only notes that a request has ended. Formatting and writing happen on the
thread that writes the log, a batch at a time, because a terminal or a pipe that nobody reads
would otherwise stop the loop. What is not written fast enough is counted, not kept.

Chapter: docs/running.md.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..console import console
from ..log import access as log
from ..log import escape, write_later
from ..reactor.loop import Reactor

BATCH = 256  # Lines written at once.


class AccessLog:
    """Notes ended requests, and has them written. Reactor thread, but for `_write_all`.

    limit: lines that wait to be written. Beyond it the newest are dropped.
    """

    def __init__(self, reactor: Reactor, limit: int) -> None:
        self._reactor = reactor
        self._limit = limit
        self._lines: deque[tuple[Any, ...]] = deque()  # Appended here, popped by the writer.
        self._dropped = 0
        self._is_announced = False

    def note(self, request: Any, status: int, size: int) -> None:
        """A request has been answered. size: bytes of content."""
        if len(self._lines) >= self._limit:
            self._dropped += 1
            return
        milliseconds = (self._reactor.now - request.started) * 1000
        who = request.client_id
        if request.peer_address is not request.client_address:
            who = f"{who} via {request.connection_id}"  # Behind a proxy: what the log's closes say.
        # What the line says, and not the request: with it its body would wait to be written.
        asked = request.method, request.target
        self._lines.append((who, *asked, status, size, milliseconds, request.request_id))
        if not self._is_announced:
            self._is_announced = True
            self._reactor.call_at_turn_end(self._write)

    def _write(self) -> None:
        if not write_later(self._write_all, None):
            self._is_announced = False  # With the next line, then.

    def _write_all(self, _: None) -> None:
        """On the writer's thread."""
        self._is_announced = False  # Before we look: what is noted from now on has its own job.
        write_lines(self._lines)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.warning("%d access lines were dropped: they were not written fast enough", dropped)


def write_lines(waiting: deque[tuple[Any, ...]]) -> None:
    """Write every line that waits."""
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
