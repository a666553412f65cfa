"""Threads of which exactly one runs, until it says that another one may.

The rule: a simulated thread gives its turn away at *points* only: where it takes a lock,
sleeps, waits for the selector, posts a call or rings the waker. Who goes on is the driver's
choice, made with a seed; so an interleaving that fails once fails always.

They are real threads, so that the code under test needs no other form than its own, and
blocking code may block; but each waits for a baton, and there is one baton. `Threading`
stands in for the module `threading` in the modules under test.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Any

HANG_LIMIT = 60.0  # Real seconds: a thread that keeps the baton so long blocks for real.
MOST_KILLS = 10_000  # Points at which a thread may pass on its way out.


class Killed(BaseException):
    """The world has ended: raised in a simulated thread wherever it waits."""


class SimThread:
    """Stands in for `threading.Thread`. Runs when the driver resumes it."""

    def __init__(
        self,
        threads: Threads,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        name: str = "",
    ) -> None:
        self.name = name
        self._threads = threads
        self._target = target
        self._args = args
        self._baton = threading.Lock()
        self._baton.acquire()
        self._real: threading.Thread | None = None
        self.is_over = False
        self.is_killed = False
        # What it waits for: a condition, a time. Neither: it can go on at once.
        self.condition: Callable[[], Any] | None = None
        self.until = inf
        self.is_waiting = False
        self.failure: BaseException | None = None

    @property
    def ident(self) -> int | None:
        return None if self._real is None else self._real.ident

    def start(self) -> None:
        """Join the threads that can be resumed."""
        if self._threads.failing_starts > 0:
            self._threads.failing_starts -= 1
            self._threads.note(f"no thread for {self.name}")
            raise RuntimeError("can't start new thread")
        self._threads.all.append(self)
        self._real = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._real.start()

    def is_alive(self) -> bool:
        return self._real is not None and not self.is_over

    def join(self, timeout: float | None = None) -> None:
        self._threads.wait(lambda: self.is_over, timeout)

    def _run(self) -> None:
        self._baton.acquire()
        try:
            if not self.is_killed:
                self._target(*self._args)
        except Killed:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self.is_over = True
            self._threads.driver_baton.release()

    def can_run(self, now: float) -> bool:
        """True where resuming it would get it further."""
        if not self.is_waiting or now >= self.until:
            return True
        return self.condition is not None and bool(self.condition())

    def __repr__(self) -> str:
        return f"<SimThread {self.name}>"


class Threads:
    """All threads of a world. `resume` is for the driver, the rest for the threads.

    preempt: how probable it is that a point takes the turn away. note: called with what
    happened, for the trace.
    """

    def __init__(self, clock: Callable[[], float], note: Callable[[str], None]) -> None:
        self.clock = clock
        self.note = note
        self.random = random.Random(0)
        self.preempt = 0.0
        self.failing_starts = 0
        self.all: list[SimThread] = []
        self.current: SimThread | None = None  # None: the driver.
        self.driver_baton = threading.Lock()
        self.driver_baton.acquire()

    # --- the driver

    def start(self, name: str, target: Callable[..., object], *args: Any) -> SimThread:
        """Add a thread of the world's own: it always starts."""
        failing, self.failing_starts = self.failing_starts, 0
        thread = SimThread(self, target, args, name)
        thread.start()
        self.failing_starts = failing
        return thread

    def runnable(self) -> list[SimThread]:
        """Return those that can go on now."""
        now = self.clock()
        return [thread for thread in self.all if thread.can_run(now)]

    def next_time(self) -> float:
        """Return when the first of those that wait for a time can go on; inf for never."""
        return min((thread.until for thread in self.all if thread.is_waiting), default=inf)

    def resume(self, thread: SimThread) -> None:
        """Let a thread run to its next point."""
        self.current = thread
        thread._baton.release()
        if not self.driver_baton.acquire(timeout=HANG_LIMIT):
            raise AssertionError(f"{thread} blocks for real: something in it is not simulated")
        self.current = None
        if thread.is_over:
            self.all.remove(thread)

    def kill(self) -> None:
        """End all of them."""
        for _ in range(MOST_KILLS):
            if not self.all:
                return
            thread = self.all[0]
            thread.is_killed = True
            self.resume(thread)
        raise AssertionError(f"{self.all} do not end")

    # --- a thread

    def point(self, at_least: float = 0.0) -> None:
        """Here another thread may get the turn. at_least: where it is worth trying more often."""
        if self.current is not None and (
            self.current.is_killed or self.random.random() < max(self.preempt, at_least)
        ):
            self._switch(self.current)

    def wait(self, condition: Callable[[], Any] | None, timeout: float | None = None) -> bool:
        """Give the turn away until a condition holds. Returns False after `timeout` seconds."""
        me = self.current
        if me is None:
            raise AssertionError("the driver must not wait: nobody would run")
        me.condition = condition
        me.until = inf if timeout is None else self.clock() + timeout
        me.is_waiting = True
        try:
            self._switch(me)
        finally:
            me.is_waiting = False
            me.condition = None
        return condition is not None and bool(condition())

    def sleep(self, seconds: float) -> None:
        """Let so much simulated time pass for this thread."""
        self.wait(None, seconds)

    def _switch(self, me: SimThread) -> None:
        if not me.is_killed:
            self.driver_baton.release()
            me._baton.acquire()
        if me.is_killed:
            raise Killed


class Threading:
    """Stands in for the module `threading`: what waits gives the turn away."""

    local = threading.local
    get_ident = staticmethod(threading.get_ident)
    main_thread = staticmethod(threading.main_thread)

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def current_thread(self) -> Any:
        return self._threads.current or threading.current_thread()

    def Thread(
        self,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        name: str = "",
        daemon: bool = True,
    ) -> SimThread:
        return SimThread(self._threads, target, args, name)

    def Lock(self) -> SimLock:
        return SimLock(self._threads)

    def RLock(self) -> SimLock:
        return SimLock(self._threads, is_reentrant=True)

    def Condition(self, lock: Any = None) -> SimCondition:
        return SimCondition(self._threads)

    def Event(self) -> SimEvent:
        return SimEvent(self._threads)


class SimLock:
    """Stands in for `threading.Lock` and `RLock`."""

    def __init__(self, threads: Threads, is_reentrant: bool = False) -> None:
        self._threads = threads
        self._is_reentrant = is_reentrant
        self._owner: Any = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        threads = self._threads
        me = threads.current or threads  # The driver counts as one of them.
        if self._is_reentrant and self._depth and self._owner is me:
            self._depth += 1
            return True
        threads.point()
        deadline = inf if timeout < 0 else threads.clock() + timeout
        while self._depth:
            left = deadline - threads.clock()
            if not blocking or left <= 0:
                return False
            threads.wait(lambda: not self._depth, None if left == inf else left)
        self._owner, self._depth = me, 1
        return True

    def release(self) -> None:
        if not self._depth:
            if self._threads.current is not None and self._threads.current.is_killed:
                return  # It was killed in `wait`, which had released it.
            raise RuntimeError("release unlocked lock")
        self._depth -= 1
        if not self._depth:
            self._owner = None

    def locked(self) -> bool:
        return self._depth > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class SimCondition(SimLock):
    """Stands in for `threading.Condition`. Wakes those that wait in their order."""

    def __init__(self, threads: Threads) -> None:
        super().__init__(threads, is_reentrant=True)
        self._waiting: deque[list[bool]] = deque()

    def wait(self, timeout: float | None = None) -> bool:
        woken = [False]
        self._waiting.append(woken)
        self.release()
        self._threads.wait(lambda: woken[0], timeout)
        if not woken[0]:
            self._waiting.remove(woken)
        self.acquire()
        return woken[0]

    def wait_for(self, condition: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline = None if timeout is None else self._threads.clock() + timeout
        while not (value := condition()):
            left = None if deadline is None else deadline - self._threads.clock()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return value

    def notify(self, count: int = 1) -> None:
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()[0] = True

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class SimEvent:
    """Stands in for `threading.Event`."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        self._threads.point()
        return self._is_set or self._threads.wait(lambda: self._is_set, timeout)
