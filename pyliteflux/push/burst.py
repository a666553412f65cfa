"""Pushes to all that come in a burst leave together: one send for each client, not for each push.

The rule: a push waits only where another is about to follow. Who sends eight commands at once,
each of which is a push to five hundred clients, has them handled one after the other by a
worker: eight turns of the loop, four thousand sends. So while a sender has more messages
waiting, its pushes to all are held, for `LINGER` at the most; with its last one they are
delivered in one turn, and a turn has one send for each client. Everything else that is said to
clients first lets go what is held, so the order stays what it was. The sender itself hears its
push at once: its answer comes right after.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..log import framework as log
from ..protocol.push import PushFrame
from ..reactor.loop import Reactor
from ..reactor.timers import TimerHandle
from .door import Door
from .hub import Hub

# The longest that a push is held, in seconds: what a user would not notice, and several times
# what the next handler of a burst needs.
LINGER = 0.002
# The most that are held; then all of them go.
MOST_HELD = 16


class Burst:
    """Stands before the hub. Reactor thread only."""

    def __init__(self, reactor: Reactor, hub: Hub) -> None:
        self._reactor = reactor
        self._hub = hub
        self._held: list[tuple[PushFrame, Door]] = []  # With who has heard it already.
        self._timer: TimerHandle | None = None

    def push(self, frame: PushFrame, origin: Door | None) -> None:
        """Push to all. origin: by whose message."""
        if origin is None or not origin.has_more:
            if self._held:
                self.release()
            self._hub.deliver(frame, None)
            return
        if len(self._held) >= MOST_HELD or (self._held and self._held[0][1] is not origin):
            self.release()  # Each sender hears its own first: two of them could not be in order.
        self._hub.deliver(frame, origin.client_id)
        self._held.append((frame, origin))
        if self._timer is None:
            self._timer = self._reactor.call_later(LINGER, self.release)

    def after(self, callback: Callable[..., object], *args: Any) -> None:
        """Call what must not overtake a push that is held."""
        if self._held:
            self.release()
        callback(*args)

    def release(self) -> None:
        """Deliver what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, []
        for frame, origin in held:
            try:
                self._hub.deliver(frame, None, origin)
            except KeyboardInterrupt:
                raise
            except BaseException:
                log.exception("a push that was held failed")
