"""The memory of large messages, of all connections together: where it is full, who sends waits.

The rule: a large message counts from its first bytes until its handler has run or never will.
Where all together are too many, what is arriving is not read on: it waits in the peer's memory.
That cannot lock up: where nothing is left but messages that wait, the first of them is read.

Chapter: docs/limits.md.
"""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """The account of all large messages, arriving or being handled. Reactor thread only.

    size, most: bytes. step: bytes that one connection reads at once.
    """

    __slots__ = ("size", "most", "_step", "_parked", "_parked_size")

    def __init__(self, most: float, step: int) -> None:
        self.size = 0
        self.most = most
        self._step = step
        self._parked: dict[Share, None] = {}  # In the order in which they came.
        self._parked_size = 0

    def park(self, share: Share) -> bool:
        """Have a message wait for room; return False where it would be for its own."""
        self._parked[share] = None
        self._parked_size += share.size
        self.go_on()
        return share in self._parked

    def unpark(self, share: Share) -> None:
        """It waits no more."""
        if share in self._parked:
            del self._parked[share]
            self._parked_size -= share.size

    def go_on(self) -> None:
        """Read on those that wait: as many as there is room for a read of each."""
        count = 0
        if self.size < self.most:
            count = int((self.most - self.size) // self._step) + 1
        for share in list(self._parked)[:count]:
            self.unpark(share)
            share.resume()
        if self._parked and self._parked_size == self.size:
            first = next(iter(self._parked))
            self.unpark(first)
            first.is_first = True
            first.resume()


class Share:
    """What the large message of one connection takes of the budget.

    size: bytes. is_first: it is read to its end, whether there is room or not. resume: called
    when a message that waits may be read on.
    """

    __slots__ = ("_budget", "size", "is_first", "resume")

    def __init__(self, budget: Budget, resume: Callable[[], object]) -> None:
        self._budget = budget
        self.size = 0
        self.is_first = False
        self.resume = resume

    def take(self, size: int) -> None:
        """So many bytes of the message are here."""
        budget = self._budget
        budget.unpark(self)
        budget.size += size - self.size
        self.size = size

    def has_room(self) -> bool:
        """Tell whether more of the message may be read now; else `resume` is called later."""
        budget = self._budget
        return self.is_first or budget.size < budget.most or not budget.park(self)

    def release(self) -> None:
        """The message is not needed any more."""
        self.take(0)
        self.is_first = False
        self._budget.go_on()
