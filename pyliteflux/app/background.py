"""Work that outlives the answer: `request.bg.add(function, ...)`.

The rule: tasks start when the handler has returned, on a pool of their own, so that they can
neither delay the answer nor starve the handlers. Each runs exactly once. Their number is
bounded, and the bound is felt where a task is added, not later.

Chapter: docs/streams.md.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from enum import Enum
from typing import Any

from ..errors import PoolFull, ReactorClosed
from ..log import framework as log
from ..signatures import check_runs, misfit
from .context import Scope, enter


class TaskState(str, Enum):
    """Where a task is in its life. A str, so that ``task.state == "done"`` reads well."""

    WAITING = "waiting"  # The handler has not returned yet.
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DROPPED = "dropped"  # The handler failed, or the server was stopped first.

    __str__ = str.__str__

    __hash__ = str.__hash__  # Members are unique; Enum's own hash is a Python call.


WAITING, QUEUED, RUNNING = TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING
DONE, FAILED = TaskState.DONE, TaskState.FAILED
CANCELLED, DROPPED = TaskState.CANCELLED, TaskState.DROPPED

NEXT = {
    WAITING: {QUEUED, CANCELLED, DROPPED},
    QUEUED: {RUNNING, CANCELLED, DROPPED},
    RUNNING: {DONE, FAILED},
    DONE: set(),
    FAILED: set(),
    CANCELLED: set(),
    DROPPED: set(),
}


class BackgroundTask(Scope):
    """The handle that `bg.add` returns. Any thread may ask it."""

    def __init__(
        self,
        queue: TaskQueue,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        request_id: str,
    ) -> None:
        self._request_id = request_id  # All that its `g` begins with (G3).
        self._queue = queue
        self._function = function
        self._args = args
        self._kwargs = kwargs
        # Made for who waits in `result`, as an Event is three quarters of what a task costs.
        self._finished: threading.Event | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self.state = WAITING

    @property
    def name(self) -> str:
        """What log lines call the task: the function's name."""
        try:
            return getattr(self._function, "__qualname__", None) or repr(self._function)
        except KeyboardInterrupt:
            raise
        except BaseException:  # Its own __repr__ fails; a log line needs a name all the same.
            return type(self._function).__name__

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the function's value, or raise what it raised.

        timeout: seconds, None for ever; TimeoutError after it. RuntimeError where the task
        was cancelled or dropped. Never call it from a handler that the task waits for.
        """
        finished = self._queue._await(self)
        if finished is not None and not finished.wait(timeout):
            raise TimeoutError(f"task {self.name} has not finished after {timeout} s")
        if self._error is not None:
            raise self._error
        if self.state is not DONE:
            raise RuntimeError(f"task {self.name} was {self.state}")
        return self._value

    def cancel(self) -> bool:
        """Keep the task from starting. Returns False where it has started, or ended, already."""
        return self._queue._move_if_allowed(self, CANCELLED)

    def __repr__(self) -> str:
        return f"<BackgroundTask {self.name} {self.state}>"


class TaskQueue:
    """All background tasks of one server. Any thread.

    `queued`, `running`, `done` and `failed` are counts; cancelled and dropped ones are in
    neither. limit: tasks that wait or are queued.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._submit: Callable[[Callable[[Any], Any], Any], None] | None = None
        self._lock = threading.Lock()  # Guards every task's state, and the counts.
        self._live: set[BackgroundTask] = set()  # Waiting, queued or running.
        self._counts = dict.fromkeys(TaskState, 0)

    def start(self, submit: Callable[[Callable[[Any], Any], Any], None]) -> None:
        """Use this pool from now on."""
        self._submit = submit

    @property
    def queued(self) -> int:
        """Tasks that have not started, those of handlers still at work included."""
        return self._counts[QUEUED] + self._counts[WAITING]

    @property
    def running(self) -> int:
        """Tasks that run now."""
        return self._counts[RUNNING]

    @property
    def done(self) -> int:
        """Tasks that have returned."""
        return self._counts[DONE]

    @property
    def failed(self) -> int:
        """Tasks that have raised."""
        return self._counts[FAILED]

    def add(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        request_id: str,
    ) -> BackgroundTask:
        """Reserve a place and return the task, not started yet. Raises PoolFull at the bound."""
        if not callable(function):
            raise TypeError(f"a background task must be callable, not {function!r}")
        check_runs(function, "a background task")
        written = misfit(function, len(args), kwargs)
        if written is not None:
            named = "".join(f", {name}=" for name in kwargs)
            raise TypeError(
                f"the background task {written} cannot be called with {len(args)} arguments{named}"
            )
        task = BackgroundTask(self, function, args, kwargs, request_id)
        with self._lock:
            if self._counts[WAITING] + self._counts[QUEUED] >= self.limit:
                raise PoolFull(f"{self.limit} background tasks are waiting (task_queue_limit)")
            self._live.add(task)
            self._counts[WAITING] += 1
        return task

    def launch(self, task: BackgroundTask) -> None:
        """Queue a task on the pool."""
        with self._lock:
            if task.state is not WAITING:
                return  # Cancelled meanwhile.
            self._move(task, QUEUED)
        try:
            if self._submit is None:
                raise ReactorClosed("the server does not run")
            self._submit(self._run, task)
        except (PoolFull, ReactorClosed) as error:
            if self._move_if_allowed(task, DROPPED):
                log.error("task %s was dropped: %s", task.name, error)

    def drop(self, tasks: list[BackgroundTask], why: str) -> None:
        """Drop tasks that have not started, with one log line."""
        dropped = [task for task in tasks if self._move_if_allowed(task, DROPPED)]
        if dropped:
            names = ", ".join(task.name for task in dropped[:10])
            more = f" and {len(dropped) - 10} more" if len(dropped) > 10 else ""
            log.warning("%s: dropped background tasks: %s%s", why, names, more)

    def abandon(self) -> None:
        """The server stops for good: log by name what will not run to its end (B3)."""
        with self._lock:
            live = list(self._live)
            self._live.clear()  # Named once; a later run of the server does not wait for them.
        self.drop([task for task in live if task.state is not RUNNING], "the server was stopped")
        for task in live:
            if task.state is RUNNING:
                log.warning("the server was stopped: task %s is still running", task.name)

    @property
    def is_idle(self) -> bool:
        """True while nothing waits or runs."""
        return not self._live

    def _await(self, task: BackgroundTask) -> threading.Event | None:
        """Return what will be set at the end of a task; None where it has ended."""
        with self._lock:
            if NEXT[task.state] and task._finished is None:
                task._finished = threading.Event()
            return task._finished

    def _move(self, task: BackgroundTask, new: TaskState) -> None:
        """Change a task's state; the lock is held. Its value is there before it is done."""
        assert new in NEXT[task.state], (task.state, new)
        self._counts[task.state] -= 1
        self._counts[new] += 1
        task.state = new
        if not NEXT[new]:
            self._live.discard(task)
            # Whoever keeps the handle for its result need not keep the arguments alive.
            task._args, task._kwargs = (), {}
            if task._finished is not None:
                task._finished.set()

    def _move_if_allowed(self, task: BackgroundTask, new: TaskState) -> bool:
        """Return False where the task is already past this: running, or at its end."""
        with self._lock:
            if new not in NEXT[task.state]:
                return False
            self._move(task, new)
        return True

    def _run(self, task: BackgroundTask) -> None:
        """On a worker of the pool."""
        with self._lock:
            if task.state is not QUEUED:
                return  # Cancelled or dropped.
            self._move(task, RUNNING)
            args, kwargs = task._args, task._kwargs
        task.context = Context()
        state = DONE
        try:
            task._value = task.context.run(_call, task, args, kwargs)
        except BaseException as error:
            state, task._error = FAILED, error
        with self._lock:
            self._move(task, state)
        task.context = None  # A circle (`Scope`): it would wait for the garbage collector.

    def __repr__(self) -> str:
        return (
            f"<TaskQueue queued={self.queued} running={self.running} "
            f"done={self.done} failed={self.failed}>"
        )


def _call(task: BackgroundTask, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    enter(task)
    try:
        return task._function(*args, **kwargs)
    except BaseException:
        # Logged in the task's own context: the line carries the request's id.
        log.exception("background task %s failed", task.name)
        raise


class BackgroundTasks:
    """`request.bg`: the tasks of one request, held back until its handler has returned."""

    def __init__(self, queue: TaskQueue, scope: Scope, has_returned: bool = False) -> None:
        self._queue = queue
        self._scope = scope
        # None once the handler has returned.
        self._held: list[BackgroundTask] | None = None if has_returned else []

    def add(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> BackgroundTask:
        """Have function(*args, **kwargs) run once the handler has returned. Any thread.

        From a task or a stream it is queued at once. Returns its handle. Raises PoolFull
        where too many wait; a handler that lets that pass answers 503.
        """
        task = self._queue.add(function, args, kwargs, self._scope.request_id)
        if self._held is None:
            self._queue.launch(task)
        else:
            self._held.append(task)
        return task

    def release(self) -> None:
        """The handler has returned: queue what it added."""
        held, self._held = self._held, None
        for task in held or ():
            self._queue.launch(task)

    def drop(self) -> None:
        """The handler has failed: drop what it added."""
        held, self._held = self._held, None
        if held:
            self._queue.drop(held, "the handler failed")
