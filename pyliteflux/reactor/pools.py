"""The pools of one run: who may block, and for what.

The rule: what waits for one kind of thing has threads of its own, so that a kind that waits for
long never holds up another: handlers, generators, tasks, and what gives back and tells.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from ..config import Config
from .loop import Reactor
from .workers import WorkerPool

# Threads that decode large messages. One: under the GIL two take as long for the same work, and
# the reactor has to win the lock from each of them after every system call.
DECODERS = 1


class Pools:
    """All that run what may block. Any thread, but for `stop`.

    make: makes one of (reactor, name, threads, jobs that wait). on_orphan: as in `WorkerPool`.
    """

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        make: Callable[..., WorkerPool],
        on_orphan: Callable[[Any, Any], object],
    ) -> None:
        most, limit = config.max_connections, config.worker_queue_limit
        self.workers = make(reactor, "worker", config.worker_threads, limit or most)
        self.workers.max_wait = config.worker_queue_timeout or inf
        self.workers.on_orphan = on_orphan
        # A stream has at most one job at a time, plus the closing of its generator.
        self.streams = make(reactor, "stream", config.stream_workers, 4 * most)
        # What gives back and what tells has threads of its own: generators that wait may hold
        # all of theirs, and then nothing would be freed.
        self.cleanup = make(reactor, "cleanup", config.cleanup_workers, 4 * most)
        # A connection has one message here at the most.
        self.decoders = make(reactor, "decode", DECODERS, most)
        # The bound is kept by TaskQueue, where a task is added.
        self.tasks = make(reactor, "task", config.task_workers, 2 * config.task_queue_limit)
        # What a client may wait for, and what follows from it.
        self.of_requests = self.workers, self.streams, self.cleanup

    @property
    def is_idle(self) -> bool:
        """True where none of them has anything to do, or is at it; decoders and tasks apart."""
        return self.cleanup_is_idle and not (self.workers.waiting or self.workers.running)

    @property
    def cleanup_is_idle(self) -> bool:
        """True where no generator is being closed, and nothing is given back."""
        return not any(pool.waiting or pool.running for pool in self.of_requests[1:])

    @property
    def own_current_thread(self) -> bool:
        """True on a thread of theirs that runs what a user wrote."""
        return any(pool.owns_current_thread for pool in (*self.of_requests, self.tasks))

    def stop(self) -> None:
        """Take no more jobs, and let every thread go once its job has ended."""
        for pool in (*self.of_requests, self.decoders, self.tasks):
            pool.stop()
