"""Threads for code that may block: few while all goes well, many when it gets stuck.

The rule: a job is `run(argument)` on a worker; its result goes back through
`Reactor.post(deliver, result)`. A worker touches nothing else of ours.

The pool grows by need, not by traffic. Under the GIL one hot worker answers as many small
requests as the reactor could by itself, because the two hand over in batches: the worker
drains what a whole turn queued, then the reactor sends the whole batch of answers. Waking
sixteen workers for sixteen requests loses a third of that to the hand-overs. So:

* a turn's jobs are announced once, at its end, and wake one worker if none is at work;
* while jobs wait, the reactor looks every `patience` seconds, and where nobody has taken
  one since, the running workers must be blocked: it wakes or starts another one, then two,
  four ... up to `max_threads`. Fifty handlers that sleep all run within some 15 ms;
* idle workers park in a stack: the one that ran last is warm, and the others can time out.

A crowd is not an overload: two thousand clients that come back in the same second after a
restart are served within the next one. So a job is refused where the *front* of the queue has
waited for too long, for then the pool does not keep up; a length says nothing about that. And
it is refused only where a refusal can be said: a TCP client that asks one thing at a time simply
waits.

A worker announces its answers when it runs out of jobs, not one by one. That cannot delay
one for long: as long as jobs wait, the reactor wakes up to look anyway.

Threads are daemons of our own: `concurrent.futures` joins its threads at exit, and one
stuck handler would keep the process alive.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Any

from ..errors import PoolFull, ReactorClosed
from ..log import framework as log
from .loop import Reactor

PATIENCE = 0.002  # seconds without progress after which the pool grows
IDLE_TIME = 30.0  # seconds after which a parked worker ends
# More seconds than this between two looks: we were held, or the machine slept, and how long the
# front of the queue has waited says nothing about the pool.
HELD = 1.0
# So many jobs that nobody waits for may be in the queue, beside as many as there are others.
DEAD_SLACK = 64


# Number, run, argument, deliver, since: run(argument) on a worker, then deliver(result) on the
# reactor, unless it is None. The number counts up in the order of the queue; since when it is in
# there, on the reactor's clock. (A tuple, as there is one for every request: an object costs
# 1.4 % of it.)
Job = tuple[int, Callable[[Any], Any], Any, "Callable[[Any], object] | None", float]


def stack_of_thread(ident: int) -> str:
    """Return where a thread is now, as a traceback shows it; "" where it has ended."""
    frame = sys._current_frames().get(ident)
    return "".join(traceback.format_stack(frame)) if frame else ""


class _Worker:
    """One thread, and the lock it sleeps on while it is parked."""

    __slots__ = ("bell", "thread", "job", "seen", "since")

    def __init__(self) -> None:
        self.bell = threading.Lock()  # The thread sleeps on it while it is parked.
        self.bell.acquire()
        self.thread: threading.Thread | None = None
        self.job: Job | None = None  # What it runs now; read by stack_of().
        # Reactor thread only: the job that it was last seen at, and when it was so first.
        self.seen = -1
        self.since = 0.0


class WorkerPool:
    """A bounded queue and the threads that empty it.

    `submit` may be called by any thread; the rest belongs to the reactor thread.
    name: for thread names and log lines. max_threads, queue_limit: counts.
    max_wait: seconds that the job at the front may have waited before others are refused.
    """

    def __init__(
        self,
        reactor: Reactor,
        name: str,
        max_threads: int,
        queue_limit: int,
        patience: float = PATIENCE,
        idle_time: float = IDLE_TIME,
    ) -> None:
        # Set once.
        self.name = name
        self._reactor = reactor
        self._queue_limit = queue_limit
        # Called on a worker, with the argument and the result of a job that nobody waits for:
        # the reactor has ended meanwhile.
        self.on_orphan: Callable[[Any, Any], object] | None = None
        self._patience = patience
        self._idle_time = idle_time
        self.max_wait = inf
        # Reactor thread only.
        self._max_threads = max_threads
        self._most_threads = 2 * max_threads  # With all the replacements.
        self._watching = False
        self._step = 1  # How many workers the next look without progress engages.
        self._expected = 0  # The job at the front if each engaged worker took just one.
        self._started = 0  # Names threads.
        self._looked = self._awake_since = reactor.now  # For who is late: see `_judge`.
        self._dead = 0  # Jobs in the queue that nobody waits for, about.
        # Any thread. The queue's own operations are atomic.
        self._queue: deque[Job] = deque()
        # Guards who is parked: "nobody works" and "park me" must not cross.
        self._lock = threading.Lock()
        self._parked: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._numbers = count()
        self._announced = False
        self._closed = False
        self._is_late = False  # The front of the queue has waited longer than max_wait.

    # --- any thread

    def submit(
        self,
        run: Callable[[Any], Any],
        argument: Any,
        deliver: Callable[[Any], object] | None = None,
        may_refuse: bool = True,
    ) -> None:
        """Queue a job. Raises PoolFull at the bounds, ReactorClosed after `stop`.

        deliver gets the result on the reactor thread, or the exception that `run` raised.
        may_refuse: False for who has one job at the most here, and is told nothing until it is
        done: those are as many as there are connections, so they need no bound of ours.
        """
        if may_refuse and (self._is_late or len(self._queue) >= self._queue_limit):
            raise PoolFull(
                f"the {self.name} pool is {self.max_wait:g} s behind"
                if self._is_late
                else f"{self._queue_limit} jobs are waiting for the {self.name} pool"
            )
        job = next(self._numbers), run, argument, deliver, self._reactor.now
        self._queue.append(job)
        # Looked at after: what is queued before a stop() is among what that drops.
        if self._closed and self._take_back(job):
            raise ReactorClosed(f"the {self.name} pool has been stopped")
        # Lowered by the reactor before it looks at the queue: the same order as the waker's.
        if not self._announced:
            self._announced = True
            if threading.get_ident() == self._reactor.thread_id:
                self._reactor.call_at_turn_end(self._on_announced)
            else:
                self._reactor.call_soon_threadsafe(
                    self._reactor.call_at_turn_end, self._on_announced
                )

    def _take_back(self, job: Job) -> bool:
        """Return whether a job was still in the queue, which it is not any more."""
        try:
            self._queue.remove(job)
        except ValueError:
            return False
        return True

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Workers that are not parked."""
        with self._lock:
            return len(self._workers) - len(self._parked)

    @property
    def threads(self) -> int:
        """Workers that exist."""
        with self._lock:
            return len(self._workers)

    @property
    def owns_current_thread(self) -> bool:
        """True for code that runs on a worker of this pool."""
        current = threading.current_thread()
        with self._lock:
            return any(worker.thread is current for worker in self._workers)

    def stack_of(self, argument: Any) -> str:
        """Return the stack of the worker that runs a job with this argument, or ""."""
        for ident, (_, run, its_argument, *_) in self.running_jobs():
            # A job without an argument of its own is known by whose method it calls.
            if its_argument is argument or getattr(run, "__self__", None) is argument:
                return stack_of_thread(ident)
        return ""

    def running_jobs(self) -> list[tuple[int, Job]]:
        """Return (thread's ident, job) of each worker that is at work."""
        with self._lock:
            workers = list(self._workers)
        pairs = [(worker.thread, worker.job) for worker in workers]
        return [
            (thread.ident or 0, job)
            for thread, job in pairs
            if thread is not None and job is not None
        ]

    # --- reactor thread

    def _on_announced(self) -> None:
        """The end of a turn in which jobs were queued."""
        self._announced = False
        if self._closed:
            return
        try:
            front, *_ = self._queue[0]
        except IndexError:
            return  # A worker was at work already and has taken them.
        engaged = 0 if self._has_free_worker() else self._engage(1)
        if not self._watching:
            self._watching = True
            self._looked = self._reactor.now
            self._step = 1
            self._expected = front + engaged
            self._reactor.call_later(self._patience, self._look)

    def _has_free_worker(self) -> bool:
        """Tell whether somebody is about to look at the queue.

        Not who has been at the same job for longer than our patience: while one handler sleeps
        the others' requests need not wait each time until that is found out again.
        """
        now, is_free = self._reactor.now, False
        with self._lock:
            if len(self._parked) == len(self._workers):
                return False
            for worker in self._workers.difference(self._parked):
                job = worker.job
                if job is None:
                    is_free = True
                    continue
                number, *_ = job
                if number != worker.seen:
                    worker.seen, worker.since = number, now
                    is_free = True
                elif now - worker.since < self._patience:
                    is_free = True
        return is_free

    def _look(self) -> None:
        """Jobs were waiting one `patience` ago. If nobody has taken one since, help them."""
        try:
            front, *_, since = self._queue[0]
        except IndexError:
            self._watching = self._is_late = False
            return
        self._judge(since)
        engaged = 0
        self._has_free_worker()  # Notes who is at what.
        if front <= self._expected:
            engaged = self._engage(min(self._step, len(self._queue)))
            self._step *= 2
        else:
            self._step = 1
        # Those just engaged take one job each. Only what is taken beyond that is progress.
        self._expected = front + engaged
        self._reactor.call_later(self._patience, self._look)

    def _judge(self, since: float) -> None:
        """Tell whether the pool is late: since when has the front of the queue been there?"""
        now = self._reactor.now
        if now - self._looked > HELD:
            self._awake_since = now
        self._looked = now
        self._is_late = now - max(since, self._awake_since) > self.max_wait

    def note_dead(self) -> None:
        """Nobody waits for one of the jobs any more: its argument says ``is_abandoned``.

        They are taken out together, when they are many, so that each costs a constant time.
        """
        self._dead += 1
        if self._dead <= DEAD_SLACK + len(self._queue) // 2:
            return
        self._dead = 0
        queue = self._queue
        for _ in range(len(queue)):
            try:
                job = queue.popleft()
            except IndexError:
                return  # Workers have taken the rest.
            if not getattr(job[2], "is_abandoned", False):
                queue.append(job)

    def _engage(self, wanted: int) -> int:
        """Wake parked workers, then start new ones. Return how many it came to."""
        engaged = 0
        with self._lock:
            while engaged < wanted and self._parked:
                self._parked.pop().bell.release()
                engaged += 1
            while engaged < wanted and len(self._workers) < self._max_threads:
                worker = _Worker()
                self._started += 1
                worker.thread = threading.Thread(
                    target=self._work,
                    args=(worker,),
                    name=f"pyliteflux-{self.name}-{self._started}",
                    daemon=True,
                )
                self._workers.add(worker)
                try:
                    worker.thread.start()
                except RuntimeError:  # Out of threads: those that run must do.
                    self._workers.discard(worker)
                    log.error("cannot start another thread for the %s pool", self.name)
                    break
                engaged += 1
        return engaged

    def add_replacement(self) -> None:
        """Allow one thread more: one of them is stuck in a handler and may never come back.

        Up to twice as many as there were: whoever hangs more than that hangs for a reason that
        more threads do not cure.
        """
        self._max_threads = min(self._max_threads + 1, self._most_threads)

    def stop(self) -> list[Any]:
        """Take no more jobs and let the threads end. Return the arguments of dropped jobs.

        A thread in the middle of a job is not waited for: it is a daemon.
        """
        with self._lock:
            self._closed = True
            parked, self._parked = self._parked, []
            dropped = []
            while self._queue:
                _, _, argument, *_ = self._queue.popleft()
                dropped.append(argument)
        for worker in parked:
            worker.bell.release()
        return dropped

    # --- worker threads

    def _work(self, worker: _Worker) -> None:
        queue, post = self._queue, self._reactor.post
        while True:
            try:
                job = queue.popleft()
            except IndexError:
                self._reactor.wake()  # The batch is complete: announce its answers.
                if not self._park(worker):
                    return
                continue
            worker.job = job
            _, run, argument, deliver, _ = job
            try:
                result = run(argument)
            except BaseException as error:  # Even SystemExit must not cost the pool a thread.
                result = error
                if deliver is None:  # Else nobody hears of the failure.
                    log.error("a job of the %s pool failed", self.name, exc_info=error)
            worker.job = None
            if deliver is not None:
                try:
                    post(deliver, result)
                except ReactorClosed:
                    if self.on_orphan is not None:
                        self.on_orphan(argument, result)
                    return
            # A parked worker must not keep a request alive.
            del job, run, argument, deliver, result

    def _park(self, worker: _Worker) -> bool:
        """Sleep until there is work. Return False where the thread is to end."""
        with self._lock:
            if self._closed:
                self._workers.discard(worker)
                return False
            if self._queue:
                return True  # A job came between our look and the lock.
            self._parked.append(worker)
        if worker.bell.acquire(timeout=self._idle_time):
            return True
        with self._lock:
            if worker in self._parked:
                self._parked.remove(worker)
                self._workers.discard(worker)
                return False
        worker.bell.acquire()  # The reactor woke this worker in the same instant.
        return True
