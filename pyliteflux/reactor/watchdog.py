"""Who holds the reactor, or a worker, for too long: seen while it happens, from outside.

The rule: it costs nobody anything. The loop and the pools do not know of it; a thread of its
own looks now and then at what they have to hand: the time at which the current turn began, the
jobs at work, and the stacks that the interpreter keeps (`sys._current_frames`). When a turn is
over its length can be told, but not who took it; so the stack has to be read while it is held.

Chapter: docs/limits.md.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from types import FrameType

from ..log import framework as log
from .loop import Reactor
from .workers import WorkerPool

# How often to look, in seconds, unless slow turns are to be seen later than that anyway. Ten
# looks a second cost some 0.1 % of a core.
SHORTEST_INTERVAL = 0.1
# Places that are remembered; those after them are not reported.
MOST_PLACES = 1000

_OURS = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep
_STANDARD_LIBRARY = os.path.dirname(os.path.realpath(os.__file__)) + os.sep
_INSTALLED = os.sep + "site-packages" + os.sep


class Watchdog:
    """Logs the stack of whoever is slow, once for each place in the code.

    slow_turn: seconds that a turn of the reactor may take. slow_job: seconds that a job on one
    of `pools` may take, 0 for no limit. `start` and `stop` belong to one thread; `look` runs on
    the watchdog's own, or on a test's.
    """

    def __init__(
        self,
        reactor: Reactor,
        pools: Iterable[WorkerPool],
        slow_turn: float,
        slow_job: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactor = reactor
        self._pools = list(pools)
        self._slow_turn = slow_turn
        self._slow_job = slow_job
        self._clock = clock
        self._interval = max(SHORTEST_INTERVAL, slow_turn)
        self._last_look = clock()
        self._reported_turn = -1.0  # When the turn began that has been reported.
        self._jobs: dict[tuple[str, int], float] = {}  # When each was seen first.
        self._reported_jobs: set[tuple[str, int]] = set()
        self._places: dict[str, int] = {}
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look from now on, on a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="pyliteflux-watchdog", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # Out of threads: the server is worth more than its watchdog.
            self._thread = None
            log.error("cannot start the watchdog's thread: slow handlers will not be reported")

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def _run(self) -> None:
        while not self._end.wait(self._interval):
            try:
                self.look()
            except BaseException:  # What watches over others must not be what fails.
                log.exception("the watchdog failed")

    def look(self) -> None:
        """Look once."""
        now = self._clock()
        late = now - self._last_look - self._interval
        self._last_look = now
        if late > self._slow_turn:
            return  # No thread ran, ours neither: the machine is busy, or slept.
        self._look_at_turn(now)
        if self._slow_job:
            self._look_at_jobs(now)

    def _look_at_turn(self, now: float) -> None:
        reactor = self._reactor
        began = reactor.now
        if now - began <= self._slow_turn or began == self._reported_turn:
            return
        # The turn began long ago; but does it work, or does it sleep in select()?
        frame = sys._current_frames().get(reactor.thread_id or 0)
        frames = _frames_within(frame, Reactor.run_once.__code__)
        if not frames or _is_at_rest(frames[0]) or reactor.now != began:
            return
        self._reported_turn = began
        held = f"the reactor has been held for {(now - began) * 1000:.0f} ms, and everybody waits"
        self._report(held, frames)

    def _look_at_jobs(self, now: float) -> None:
        seen: dict[tuple[str, int], float] = {}
        for pool in self._pools:
            for ident, (number, _, argument, *_) in pool.running_jobs():
                key = pool.name, number
                seen[key] = since = self._jobs.get(key, now)
                if now - since >= self._slow_job and key not in self._reported_jobs:
                    self._reported_jobs.add(key)
                    frame = sys._current_frames().get(ident)
                    frames = _frames_within(frame, WorkerPool._work.__code__)
                    if frames:
                        self._report(f"{argument!r} has taken {now - since:.1f} s", frames)
        self._jobs = seen
        self._reported_jobs.intersection_update(seen)

    def _report(self, what: str, frames: list[FrameType]) -> None:
        """Log with the stack where it is the first time, else count."""
        place = _place(frames)
        times = self._places.get(place, 0) + 1
        if times == 1 and len(self._places) >= MOST_PLACES:
            return
        self._places[place] = times
        if times == 1:
            stack = traceback.StackSummary.extract((f, f.f_lineno) for f in frames)
            log.warning("%s; it is here:\n%s", what, "".join(stack.format()).rstrip())
        elif times == 10 ** (len(str(times)) - 1):  # 10, 100, 1000 ...
            log.warning("%s; for the %dth time in %s", what, times, place)


def _is_at_rest(frame: FrameType) -> bool:
    """Tell whether what `run_once` calls itself here is its sleep, or its log line afterwards."""
    code = frame.f_code
    return code.co_name == "select" or code.co_filename.startswith(_STANDARD_LIBRARY)


def _frames_within(frame: FrameType | None, outermost: object) -> list[FrameType]:
    """Return what was called by the function with this code, outermost first; else nothing."""
    frames: list[FrameType] = []
    while frame is not None:
        if frame.f_code is outermost:
            return frames[::-1]
        frames.append(frame)
        frame = frame.f_back
    return []


def _place(frames: list[FrameType]) -> str:
    """Return "file:line in name" of the innermost function that is the application's."""
    chosen = frames[-1]
    for frame in reversed(frames):
        file = frame.f_code.co_filename
        if not file.startswith(_OURS) and (
            not file.startswith(_STANDARD_LIBRARY) or _INSTALLED in file
        ):
            chosen = frame
            break
    code = chosen.f_code
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_name}"
