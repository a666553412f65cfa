"""What waits for one client that reads more slowly than others talk to it (P4).

The rule: a client that does not read costs its own limit (`tcp_send_limit`, `event_buffer`)
and nobody else's time. The bytes of a push are shared with every other client's queue; what
is given up is counted, and the client is told how much, before the next message it gets, or
before it is told to go.

Chapter: docs/topics.md.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from ..config import DISCONNECT, DROP_NEWEST, LATEST
from ..reactor.transport import PIECE_COST, Transport

Entry = tuple[bytes, "str | None", str]  # What waits: bytes, topic (None: push_message), policy.


class Owner(Protocol):
    """Whose queue it is: knows the client's format."""

    def send_loss(self, topic: str | None, count: int) -> None:
        """Write a notice to the transport: so many messages were given up."""

    def on_loss(self, topic: str | None) -> None:
        """A message was given up; the client is told later."""


class PushQueue:
    """The pushes that the transport has no room for, in order. Reactor thread only.

    limit: bytes that may wait, those in the transport included. direct: bytes up to which a
    push goes straight to the transport, where nothing can be dropped any more.

    A `push` may flush the transport, and that may call anything of its owner: `send` of this
    very queue, too, and the end of the connection.
    """

    __slots__ = ("_transport", "_owner", "_limit", "_direct", "_waiting", "_lost", "size")

    def __init__(self, transport: Transport, owner: Owner, limit: int, direct: int) -> None:
        self._transport = transport
        self._owner = owner
        self._limit = limit
        self._direct = direct
        self._waiting: deque[Entry] = deque()
        self._lost: dict[str | None, int] = {}  # By topic: given up, and not told yet.
        # Bytes that wait here, what an entry itself costs included; not those in the transport.
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """True while nothing waits here, not even a notice: the queue may be thrown away."""
        return not self._waiting and not self._lost

    def push(self, data: bytes, topic: str | None, policy: str) -> bool:
        """Send a push, keep it, or give it up. Returns False where the client is to go."""
        transport = self._transport
        cost = len(data) + PIECE_COST
        while self._is_too_much(cost) and transport.flush_is_due:
            transport.flush()  # A burst within one turn does not make a client slow.
        if self._is_too_much(cost) and not self._make_room(cost, topic, policy):
            self.lose(topic)
            return policy != DISCONNECT
        if self.is_idle and (transport.size == 0 or transport.size + len(data) <= self._direct):
            transport.write(data)
        else:
            self._waiting.append((data, topic, policy))
            self.size += cost
        return True

    def send(self) -> None:
        """The transport has room again: hand it what waits, as far as it goes."""
        waiting, transport = self._waiting, self._transport
        while (waiting or self._lost) and transport.size < self._direct and transport.is_open:
            self._tell_losses()
            if waiting:
                data, _, _ = waiting.popleft()
                self.size -= len(data) + PIECE_COST
                transport.write(data)

    def flush(self) -> None:
        """The connection ends: hand over all that waits. It is no more than the limit."""
        self._tell_losses()
        while self._waiting:
            self._transport.write(self._waiting.popleft()[0])
        self.size = 0

    def give_up(self) -> int:
        """Give up all that waits, tell the client, and return how much it will never get."""
        while self._waiting:
            self._drop(self._waiting.popleft())
        count = sum(self._lost.values())
        self._tell_losses()
        return count

    def _tell_losses(self) -> None:
        while self._lost:
            self._owner.send_loss(*self._lost.popitem())

    def _is_too_much(self, cost: int) -> bool:
        # Answers in the transport are no pushes: a client that reads a long one is not slow.
        waiting = min(self._transport.size, self._direct) + self.size
        return waiting > 0 and waiting + cost > self._limit

    def _make_room(self, cost: int, topic: str | None, policy: str) -> bool:
        """Drop the oldest until `cost` bytes fit; latest: first all that waits of this topic.

        What must not be lost (its policy is "disconnect") is passed over. Returns False where
        that is not enough.
        """
        if policy == DROP_NEWEST:
            return False
        limit = self._limit - min(self._transport.size, self._direct) - cost
        if limit < 0:
            return False  # Not even alone.
        if policy == LATEST:
            self._drop_topic(topic)
        waiting = self._waiting
        kept: list[Entry] = []
        while waiting and self.size > limit:
            entry = waiting.popleft()
            if entry[2] == DISCONNECT:
                kept.append(entry)
            else:
                self._drop(entry)
        waiting.extendleft(reversed(kept))
        return self.size <= limit

    def _drop_topic(self, topic: str | None) -> None:
        waiting = self._waiting
        for _ in range(len(waiting)):
            entry = waiting.popleft()
            if entry[1] == topic and entry[2] != DISCONNECT:
                self._drop(entry)
            else:
                waiting.append(entry)

    def _drop(self, entry: Entry) -> None:
        self.size -= len(entry[0]) + PIECE_COST
        self.lose(entry[1])

    def lose(self, topic: str | None) -> None:
        """Count a message that this client will never get; it is told before the next one."""
        self._lost[topic] = self._lost.get(topic, 0) + 1
        self._owner.on_loss(topic)
