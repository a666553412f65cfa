"""A push that the client has to acknowledge: did it arrive?

The rule: TCP's own acknowledgement says that the peer's kernel has the bytes; only the
program at the other end can say that it has understood them. So it sends ``{"ack": id}``,
and who pushed holds a handle that knows whether it has.

Chapter: docs/topics.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..log import framework as log
from ..reactor.loop import Reactor
from ..reactor.timers import TimerHandle

WAITING, ACKED, TIMEOUT, GONE = "waiting", "acked", "timeout", "gone"
UNWRITABLE = "unwritable"


class Ack:
    """What became of an acknowledged push. Any thread may read and wait.

    state: "waiting", then once and for all "acked", "timeout" (not in time), "gone" (there
    is no such client, or it has left), or "unwritable" (its framing cannot write the message, the
    log says why). reply: the "data" of the client's ack, else None.
    """

    __slots__ = (
        "id",
        "client_id",
        "state",
        "reply",
        "_ended",
        "_callbacks",
        "_lock",
        "_reactor",
        "timer",
    )

    def __init__(self, id: str, client_id: str, reactor: Reactor | None = None) -> None:
        self.id = id
        self.client_id = client_id
        self.state = WAITING
        self.reply: Any = None
        self._reactor = reactor  # Through which the answer comes, where one can come.
        self._ended = threading.Event()
        self._lock = threading.Lock()  # Guards the callbacks: added by one thread, run by another.
        self._callbacks: list[Callable[[Ack], object]] = []
        self.timer: TimerHandle | None = None  # Reactor thread only.

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is decided, at most `timeout` seconds. True: it is acknowledged.

        Raises RuntimeError on the reactor thread, through which the answer is to come:
        `add_done_callback` is for a handler that runs there.
        """
        if not self._ended.is_set():
            if self._reactor is not None and self._reactor.thread_id == threading.get_ident():
                raise RuntimeError("the reactor thread cannot wait for what comes in through it")
            self._ended.wait(timeout)
        return self.state == ACKED

    def add_done_callback(self, callback: Callable[[Ack], object]) -> None:
        """Call ``callback(ack)`` once it is decided: at once if it is, else on the reactor thread.

        So the callback must not block; an exception in it is logged.
        """
        with self._lock:
            if self.state == WAITING:
                self._callbacks.append(callback)
                return
        self._call(callback)

    def end(self, state: str, reply: Any = None) -> None:
        """Decide it; what comes later changes nothing. Reactor thread, or before it is shared."""
        with self._lock:
            if self.state != WAITING:
                return
            self.reply = reply
            self.state = state
            callbacks, self._callbacks = self._callbacks, []
        if self.timer is not None:
            self.timer.cancel()
        self._ended.set()
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Callable[[Ack], object]) -> None:
        try:
            callback(self)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("a callback of %r failed", self)

    def __repr__(self) -> str:
        return f"<Ack {self.id} of {self.client_id}: {self.state}>"
