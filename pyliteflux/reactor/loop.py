"""The reactor: one thread that sleeps in ``select()`` and calls whom it concerns.

The rule of this room: the reactor thread owns every descriptor, timer and buffer, and
nobody on it may block. Other threads have one door, `call_soon_threadsafe`.

A *turn* is one pass of the loop, always in this order:

1. sleep until a descriptor is ready, a timer is due, or the waker is rung;
2. event handlers (`on_readable`, `on_writable`);
3. the inbox: calls that other threads posted;
4. the ready queue: calls that this thread put off (`call_soon`);
5. timers;
6. flush: everything written during the turn is sent, once per transport;
7. the end of the turn: work is handed to the worker pools.

Six comes late so that all answers of a turn to one client share a ``send``; seven comes
last so that a worker is woken when the reactor is about to sleep and can have the GIL.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import os
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ReactorClosed
from ..forking import after_fork
from ..log import framework as log
from .timers import TimerHandle, TimerQueue
from .waker import Waker

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

# Beyond this many descriptors select() raises, and that would be the end of the loop.
FD_SETSIZE = 512 if os.name == "nt" else 1024
# Wakes up at least this often, in seconds: an upper bound for what a lost wake-up could cost.
LONGEST_SLEEP = 60.0


class EventHandler(Protocol):
    """What may be registered: has a descriptor, is told when it is ready."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def on_readable(self) -> None:
        """Read once, without blocking."""

    def on_writable(self) -> None:
        """Write once, without blocking."""

    def on_failure(self, error: BaseException) -> None:
        """Give up: one of the above has raised."""


class Flushable(Protocol):
    """What may be flushed at the end of a turn."""

    def flush(self) -> None:
        """Send what was written during the turn."""


class Reactor:
    """The event loop. Everything here is for the reactor thread, unless it says any thread.

    selector: any `selectors.BaseSelector`. clock: monotonic seconds. slow_turn: seconds after
    which a turn is logged. debug: check the thread of reactor-only calls, and time each call.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector | None = None,
        clock: Callable[[], float] = time.monotonic,
        slow_turn: float = 0.1,
        debug: bool = False,
    ) -> None:
        self._selector = selectors.DefaultSelector() if selector is None else selector
        self._clock = clock
        # Any thread: what time it is, by one call. Most need no more than `now`, and that is free.
        self.time = clock
        self._slow_turn = slow_turn
        self.debug = debug
        # The time at which this turn woke up: near enough for every deadline, and free.
        self.now = clock()
        self.thread_id: int | None = None  # Set while run() runs.
        self.on_signal: Callable[[int], None] = lambda number: None
        self._timers = TimerQueue()
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._to_flush: list[Flushable] = []
        self._at_turn_end: list[Callable[[], object]] = []
        self._stopping = False
        self._closed = False
        # Any thread appends; the reactor thread pops. deque.append and popleft are atomic.
        self._inbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._waker = Waker()
        self._selector.register(self._waker.fileno(), READ, None)
        # A forked child shares the selector with us: every event that it took would be our loss.
        after_fork(self.close)

    # --- descriptors

    @property
    def most_watched(self) -> int:
        """How many descriptors the selector can watch at most."""
        return FD_SETSIZE if isinstance(self._selector, selectors.SelectSelector) else sys.maxsize

    def register(self, handler: EventHandler, events: int) -> None:
        """Watch a handler's descriptor for READ, WRITE or both."""
        if self.debug:
            self.check_thread()
        self._selector.register(handler.fileno(), events, handler)

    def modify(self, handler: EventHandler, events: int) -> None:
        """Change what a registered handler is watched for."""
        self._selector.modify(handler.fileno(), events, handler)

    def unregister(self, handler: EventHandler) -> None:
        """Stop watching. Must come before the descriptor is closed, as numbers are reused."""
        if self.debug:
            self.check_thread()
        self._selector.unregister(handler.fileno())

    # --- calls

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call in the next pass over the ready queue, after the events of this turn."""
        self._ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call once `delay` seconds from now have passed. Returns a handle to cancel it."""
        handle = TimerHandle(self._clock() + delay, callback, args)
        self._timers.add(handle)
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any) -> None:
        """Any thread: have the reactor thread call this. Raises ReactorClosed after its end."""
        self.post(callback, *args)
        self.wake()

    def call_in_turn(self, callback: Callable[..., object], *args: Any) -> None:
        """Any thread: at once on the reactor thread itself, else as `call_soon_threadsafe`.

        For what must come before the caller's next step there: its answer, say.
        """
        if threading.get_ident() == self.thread_id:
            callback(*args)
        else:
            self.call_soon_threadsafe(callback, *args)

    @property
    def backlog(self) -> int:
        """Any thread: calls that wait in the inbox."""
        return len(self._inbox)

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Any thread: the same, but let it lie until somebody calls `wake`.

        For a worker with more to deliver: a batch of answers is announced once.
        """
        if self._closed:
            raise ReactorClosed("the reactor has ended; this call will never run")
        self._inbox.append((callback, args))

    def wake(self) -> None:
        """Any thread: end the sleep. From the reactor thread itself there is none to end."""
        if threading.get_ident() != self.thread_id:
            self._waker.wake()

    def flush_at_turn_end(self, transport: Flushable) -> None:
        """Have a transport send once, when everything else of this turn is done."""
        self._to_flush.append(transport)

    def call_at_turn_end(self, callback: Callable[[], object]) -> None:
        """Call when this turn is over and all is sent, just before the next sleep."""
        self._at_turn_end.append(callback)

    # --- the loop

    def run(self) -> None:
        """Turn until `stop`. The calling thread is the reactor thread until this returns."""
        self.thread_id = threading.get_ident()
        try:
            while not self._stopping:
                self.run_once()
        finally:
            self.thread_id = None

    def stop(self) -> None:
        """Any thread: leave `run` after the current turn."""
        self._stopping = True
        self._waker.wake()

    def run_once(self) -> None:
        """Make one turn."""
        ready = self._selector.select(self._sleep_time())
        self.now = self._clock()
        for key, events in ready:
            handler = key.data
            # The catch-all of the loop: whatever an event handler raises costs that one
            # connection, never the server: a GeneratorExit or a CancelledError of the user's
            # too (X2). Only KeyboardInterrupt goes on: it is the second Ctrl-C. Callbacks are
            # called only in this method, in _run_queue and in _call.
            try:
                if handler is None:
                    self._hear_waker()
                    continue
                if events != WRITE:  # READ, or both.
                    handler.on_readable()
                if events != READ:
                    handler.on_writable()
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                log.exception("event handler %r failed; its connection is closed", handler)
                self._tell_failure(handler, error)
        if self._inbox:
            self._run_queue(self._inbox)
        if self._ready:
            self._run_queue(self._ready)
        for handle in self._timers.pop_due(self.now):
            timer, args = handle.take()  # Another that is due may have cancelled it.
            if timer is not None:
                self._call(timer, *args)
        # Flushing may make a channel write again (its next answer): that is for the next turn,
        # or a peer that reads fast and asks for much would keep the loop for itself.
        if self._to_flush:
            waiting, self._to_flush = self._to_flush, []
            for transport in waiting:
                try:
                    transport.flush()
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    log.exception("flushing %r failed; its connection is closed", transport)
                    self._tell_failure(transport, error)
        if self._at_turn_end:
            last, self._at_turn_end = self._at_turn_end, []
            for callback in last:
                self._call(callback)
        spent = self._clock() - self.now
        if spent > self._slow_turn:
            log.warning("a turn of the reactor took %.0f ms: somebody blocks it", spent * 1000)

    def _run_queue(self, queue: deque[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
        # Only what is there now: a callback that queues another waits for the next turn, so
        # that nobody can keep the sockets waiting.
        for _ in range(len(queue)):
            callback, args = queue.popleft()
            try:
                callback(*args)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._on_failed_call(callback, error)
            if self.debug:
                self._watch_call(callback)

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            callback(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._on_failed_call(callback, error)
        if self.debug:
            self._watch_call(callback)

    def _on_failed_call(self, callback: Callable[..., object], error: BaseException) -> None:
        log.exception("callback %r failed", callback)
        self._tell_failure(getattr(callback, "__self__", None), error)

    def _watch_call(self, callback: Callable[..., object]) -> None:
        if self._clock() - self.now > self._slow_turn:
            log.warning("slow up to and including callback %r", callback)

    def _tell_failure(self, owner: Any, error: BaseException) -> None:
        """Tell whose call has failed: a connection that stopped half-way would hang for ever."""
        on_failure = getattr(owner, "on_failure", None)
        if on_failure is not None:
            try:
                on_failure(error)
            except KeyboardInterrupt:
                raise
            except BaseException:
                log.exception("%r failed once more when it was given up", owner)

    def _sleep_time(self) -> float:
        """Return how long select() may sleep, in seconds."""
        if self._ready or self._inbox or self._to_flush or self._at_turn_end or self._stopping:
            return 0
        deadline = self._timers.next_deadline()
        if deadline is None:
            return LONGEST_SLEEP
        return min(max(0.0, deadline - self._clock()), LONGEST_SLEEP)

    def _hear_waker(self) -> None:
        for byte in self._waker.drain():
            if byte:
                self.on_signal(byte)

    def close(self) -> None:
        """Give the descriptors back. What is still posted never runs."""
        if self._closed:
            return
        self._closed = True
        self._selector.close()
        self._waker.close()

    def check_thread(self) -> None:
        """Raise RuntimeError unless this is the reactor thread."""
        if self.thread_id is not None and threading.get_ident() != self.thread_id:
            raise RuntimeError("a reactor-only method was called from another thread")

    @property
    def signal_fileno(self) -> int:
        """The descriptor for `signal.set_wakeup_fd`; signals then reach `on_signal`."""
        return self._waker.signal_fileno()
