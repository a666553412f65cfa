"""The pushes that wait for one client, and what happens when it does not keep up (P4).

The rule: a client that does not read costs its own limit (`tcp_send_limit`) and nobody
else's time. The bytes of a push are shared with every other client's queue.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections import deque

from ..config import Config
from ..reactor.transport import Transport


class PushQueue:
    """What the transport has no room for, in order. Reactor thread only.

    dropped: pushes that were given up, since the beginning.
    """

    __slots__ = ("_transport", "_config", "_waiting", "_size", "dropped")

    def __init__(self, transport: Transport, config: Config) -> None:
        self._transport = transport
        self._config = config
        self._waiting: deque[bytes] | None = None  # Made when needed: it costs 600 bytes.
        self._size = 0  # Bytes in it.
        self.dropped = 0

    def push(self, data: bytes) -> bool:
        """Send a push, or keep it. Returns False where the client is to be disconnected."""
        transport = self._transport
        while self._is_too_much(len(data)) and transport.flush_is_due:
            transport.flush()  # A burst within one turn does not make a client slow.
        if self._is_too_much(len(data)):
            policy = self._config.slow_client_policy
            if policy == "disconnect":
                self.dropped += 1 + len(self._waiting or ())
                return False
            if policy == "drop_newest":
                self.dropped += 1
                return True
            self._make_room(len(data), everything=policy == "latest")
        if not self._waiting and transport.size < self._direct_limit():
            transport.write(data)
            return True
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(data)
        self._size += len(data)
        return True

    def send(self) -> None:
        """The transport has room again: hand it what waits, as far as it goes."""
        waiting, transport = self._waiting, self._transport
        if waiting is None:
            return
        limit = self._direct_limit()
        while waiting and transport.size < limit and transport.is_open:
            data = waiting.popleft()
            self._size -= len(data)
            transport.write(data)
        if not waiting:
            self._waiting = None

    def clear(self) -> None:
        """The client has left."""
        self._waiting = None
        self._size = 0

    def _is_too_much(self, size: int) -> bool:
        # Answers in the transport are no pushes: a client that reads a long one is not slow.
        waiting = min(self._transport.size, self._direct_limit()) + self._size
        limit: int = self._config.tcp_send_limit
        return waiting > 0 and waiting + size > limit

    def _direct_limit(self) -> int:
        """Return up to how many unsent bytes a push goes straight to the transport.

        What is there cannot be dropped any more, so that it is half of what may wait at most.
        """
        config = self._config
        limit: int = min(config.write_high_water, (config.tcp_send_limit + 1) // 2)
        return limit

    def _make_room(self, size: int, everything: bool) -> None:
        """Drop the oldest until `size` bytes fit, or all of them."""
        waiting = self._waiting or deque()
        in_transport = min(self._transport.size, self._direct_limit())
        limit = self._config.tcp_send_limit - in_transport - size
        while waiting and (everything or self._size > limit):
            self._size -= len(waiting.popleft())
            self.dropped += 1
