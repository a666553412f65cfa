"""What an application wants to hear of its clients: who comes, who leaves, who joins a topic.

The rule: a hook may block, so it runs on a worker, never on the reactor; a hook that fails is
logged and changes nothing for anybody else. What happens to one client is told in the order in
which it happened, one hook after the other; of two clients at the same time.

Chapter: docs/tcp.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import HTTPError, ReactorClosed
from ..log import escape
from ..log import framework as log
from ..reactor.workers import WorkerPool

Hook = Callable[..., Any]
Call = tuple[Hook, tuple[Any, ...]]

# Calls of one client that a worker makes before others have their turn.
CALLS_PER_JOB = 16


class Hooks:
    """The functions registered with `server.on_connect` and its like. Set before `run`."""

    def __init__(self) -> None:
        self.connect: list[Hook] = []
        self.disconnect: list[Hook] = []
        self.join: list[Hook] = []
        self.leave: list[Hook] = []

    def admit(self, client: Any) -> bool:
        """Worker: tell of a new client. Returns False where a hook does, or fails.

        One that has left already was never there: no hook hears of it.
        """
        if client.is_abandoned:
            return False
        for hook in self.connect:
            try:
                if hook(client) is False:
                    return False
            except BaseException:
                log.exception("on_connect failed for %r; it is refused", client)
                return False
        return True


class HookCalls:
    """The calls of one run that are due, by client. Reactor thread, but for `check` and `_run`.

    limit: calls that may wait for one client while it wants to join more topics.
    """

    def __init__(self, pool: WorkerPool, limit: int) -> None:
        self._pool = pool
        self._limit = limit
        # A client is in here while a worker is at its calls: these are those after them.
        self._waiting: dict[str, deque[Call]] = {}

    @property
    def is_idle(self) -> bool:
        """True where nothing is left to tell."""
        return not self._waiting

    def check(self, client_id: str) -> None:
        """Any thread: raise HTTPError where so many wait that the client may not join any more.

        It comes and goes faster than the application can be told. What it has joined it may always
        leave, and the application hears of that: so no more wait than `limit` and its topics.
        """
        if len(self._waiting.get(client_id, ())) >= self._limit:
            raise HTTPError(429, f"{self._limit} hooks of this client wait (max_waiting_hooks)")

    def add(self, client_id: str, hooks: list[Hook], *arguments: Any) -> None:
        """Have hooks called, after what was added for this client before."""
        calls = [(hook, arguments) for hook in hooks]
        if not calls:
            return
        waiting = self._waiting.get(client_id)
        if waiting is not None:
            waiting.extend(calls)
        else:
            self._waiting[client_id] = deque(calls)
            self._go_on(client_id)

    def _go_on(self, client_id: str) -> None:
        """Hand what waits to a worker; the client is done with where there is nothing."""
        waiting = self._waiting[client_id]
        if not waiting:
            del self._waiting[client_id]
            return
        calls = [waiting.popleft() for _ in range(min(len(waiting), CALLS_PER_JOB))]
        try:
            # One job for each client: never refused, or somebody would stay for ever.
            self._pool.submit(self._run, (client_id, calls), self._on_ran, False)
        except ReactorClosed as error:
            lost = len(calls) + len(waiting)
            log.error("%d hooks of %s cannot run: %s", lost, escape(client_id), error)
            del self._waiting[client_id]

    def _on_ran(self, client_id: Any) -> None:
        self._go_on(client_id)

    def _run(self, job: tuple[str, list[Call]]) -> str:
        """Worker: call them one after the other."""
        client_id, calls = job
        for hook, arguments in calls:
            try:
                hook(*arguments)
            except BaseException:
                log.exception("the hook %r failed", hook)
        return client_id
