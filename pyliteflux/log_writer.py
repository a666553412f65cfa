"""The thread that writes the log, so that nobody else waits for a pipe that nobody reads.

The rule: who logs hands a finished line over and goes on. A supervisor that hangs, a full disk
or a handler that asks a server far away holds this thread alone, neither the reactor nor a
worker. What waits is bounded: over the bound the reactor gives its line up at once; any other
thread gives the writer a moment first, as long as that gets on at all. What was given up is
counted, and the count is written as soon as something can be.

There is a thread only while a server runs. Without one a line is written where it is logged.

Chapter: docs/running.md.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

# How long one line may take to be written before the writer counts as stuck, in seconds. Until
# then a worker waits for room; the end of a run waits as long for what is left, too.
PATIENCE = 1.0
# How often who waits for room looks, in seconds.
LOOK_AGAIN = 0.005

Job = tuple[Callable[[Any], object], Any]


class _Line:
    """The queue of one thread, and the thread. A stuck one is left behind with both."""

    def __init__(self, report: Callable[[int], object]) -> None:
        self.queue: deque[Job] = deque()
        self._bell = threading.Lock()  # What the thread sleeps on.
        self._bell.acquire()
        self._is_asleep = False
        self._is_ending = False
        self.began = time.monotonic()  # When the writer took its current job.
        self.dropped = 0  # Since the last report. Two threads may count as one: it is a hint.
        self.is_over = False
        self._report = report
        self.thread = threading.Thread(target=self._run, name="pyliteflux-log", daemon=True)

    def put(self, job: Job) -> None:
        """Any thread: queue a job, and wake the thread where it sleeps."""
        self.queue.append(job)
        if self._is_asleep:
            self._is_asleep = False
            self._ring()
        if self.is_over:
            self.drain()

    def end(self) -> None:
        """Let the thread end when everything is written."""
        self._is_ending = True
        self._ring()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # Another thread has just rung.

    def _run(self) -> None:
        while True:
            self.drain()
            # Told first, looked at after: as the waker of the reactor does it.
            self._is_asleep = True
            if self.queue:
                continue
            if self._is_ending:
                break
            self._bell.acquire()
        self.is_over = True
        self.drain()  # What came while we ended; who puts later does it himself.

    def drain(self) -> None:
        """Write what waits, each line once."""
        while True:
            try:
                write, argument = self.queue.popleft()
            except IndexError:
                return
            self.began = time.monotonic()
            write(argument)
            if self.dropped:
                count, self.dropped = self.dropped, 0
                self._report(count)


class LogWriter:
    """Writes what is put, in order. Any thread.

    report: called on the writing thread with the number of lines that were given up.
    """

    def __init__(self, report: Callable[[int], object]) -> None:
        self._report = report
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # Guards the servers that run, and which line is in use.
        self._line: _Line | None = None
        self._users: list[int] = []  # The limit of each server that runs.
        self._limit = 0
        self._reactors: set[int] = set()  # Threads that never wait, by ident.
        self._is_at_exit = False

    @property
    def backlog(self) -> int:
        """Lines that wait."""
        line = self._line
        return 0 if line is None else len(line.queue)

    def start(self, limit: int) -> None:
        """A server runs from now on, and the calling thread is its reactor.

        limit: lines that may wait; of several servers the largest counts.
        """
        with self._lock:
            self._users.append(limit)
            self._limit = max(self._users)
            self._reactors.add(threading.get_ident())
            if self._line is None:
                line = _Line(self._report)
                try:
                    line.thread.start()
                except RuntimeError:
                    return  # Out of threads: a line is written where it is logged.
                self._line = line
                if not self._is_at_exit:
                    self._is_at_exit = True
                    atexit.register(self.flush)

    def stop(self, limit: int) -> None:
        """A server has ended, on its reactor thread. With the last one the thread ends, too.

        Waits until everything is written, but no longer than for `PATIENCE`.
        """
        with self._lock:
            if limit in self._users:  # Else `start` was never reached.
                self._users.remove(limit)
            self._limit = max(self._users, default=0)
            self._reactors.discard(threading.get_ident())
            line = self._line
            if self._users or line is None:
                return
            self._line = None
        line.end()
        line.thread.join(PATIENCE)

    def put(self, write: Callable[[Any], object], argument: Any) -> None:
        """Have ``write(argument)`` called, or count it as dropped. It must not raise."""
        if not self.offer(write, argument):
            line = self._line
            if line is not None:
                line.dropped += 1

    def offer(self, write: Callable[[Any], object], argument: Any) -> bool:
        """Have ``write(argument)`` called; return False where there is no room for it."""
        line = self._line
        if line is None or line.thread.ident == threading.get_ident():
            write(argument)
            return True
        if len(line.queue) >= self._limit and not self._has_room(line):
            return False
        line.put((write, argument))
        return True

    def _has_room(self, line: _Line) -> bool:
        """Wait for room, where one may wait and the writer gets on."""
        if threading.get_ident() in self._reactors:
            return False
        while len(line.queue) >= self._limit:
            if line.is_over or time.monotonic() - line.began > PATIENCE:
                return False
            time.sleep(LOOK_AGAIN)
        return True

    def flush(self, timeout: float = PATIENCE) -> bool:
        """Wait until what has been put is written; return whether it is. Seconds."""
        line = self._line
        if line is None or line.thread.ident == threading.get_ident():
            return True
        is_written = threading.Event()
        line.put((lambda _: is_written.set(), None))
        return is_written.wait(timeout)

    def forget(self) -> None:
        """In a forked child: the thread is the parent's, and so is what waits for it."""
        self._reset()
