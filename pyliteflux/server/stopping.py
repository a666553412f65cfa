"""The graceful end of a run: in steps, with a look every STOP_CHECK seconds at what is under way.

The rule: what the kernel has accepted is taken and answered, nothing that has begun is cut within
shutdown_timeout, and what has to be cut then is logged by name (abandoned.py). One bug in one
connection does not keep the server from stopping. Reactor thread only.

Chapter: docs/running.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..app.background import TaskQueue
from ..channels.channel import Channel
from ..config import Config
from ..log import framework as log
from ..push.hooks import HookCalls
from ..reactor.acceptor import Acceptor
from ..reactor.loop import Reactor
from ..reactor.pools import Pools
from ..why import CloseReason
from .abandoned import log_abandoned

# How often a stopping server looks whether it is done, in seconds.
STOP_CHECK = 0.01
# After the grace period: the time generators have for their `finally`, in seconds.
LAST_CLEANUP = 0.5


class Stopping:
    """The end of one run, once `begin` is called."""

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        acceptors: Sequence[Acceptor],
        connections: Iterable[Channel],
        pools: Pools,
        tasks: TaskQueue,
        calls: HookCalls,
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._acceptors = acceptors
        self._connections = connections
        self._pools = pools
        self._tasks = tasks
        self._calls = calls
        self._deadline = 0.0
        self._has_logged_abandoned = False

    def begin(self) -> None:
        """Take what the kernel has accepted, let what is under way end, then leave the loop."""
        channels = list(self._connections)
        for acceptor in self._acceptors:
            try:
                acceptor.finish(self._config.backlog + 1)  # As many as its queue can have held.
            except Exception:  # One bug must not keep the server from stopping.
                log.exception("%r failed at the stop", acceptor)
                acceptor.close()
        for channel in channels:
            self._tell(channel, channel.shutdown)
        self._deadline = self._reactor.now + self._config.shutdown_timeout
        self._check_stopped()

    def _tell(self, channel: Channel, step: Callable[[], object]) -> None:
        try:
            step()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # One bug must not keep the server from stopping.
            log.exception("%r failed at the stop", channel)
            channel.transport.on_failure(error)

    def _check_stopped(self) -> None:
        """Leave the loop once nothing is under way, or when the grace period is over."""
        for channel in self._connections:
            self._tell(channel, channel.end_patience)
        under_way = self._under_way()
        if not under_way and not self._must_wait() and self._tasks.is_idle:
            # Those that only wait for the peer's FIN: that they have left is to be told, too.
            for channel in self._connections:
                channel.transport.close(CloseReason.SHUTDOWN)
            self._deadline = max(self._deadline, self._reactor.now + LAST_CLEANUP)
            self._await_cleanup()
        elif self._reactor.now >= self._deadline:
            self.log_abandoned(f"after {self._config.shutdown_timeout:g} s")
            for channel in under_way:
                channel.transport.abort(CloseReason.SHUTDOWN)
            self._tasks.abandon()
            self._deadline = self._reactor.now + LAST_CLEANUP
            self._await_cleanup()
        else:
            self._reactor.call_later(STOP_CHECK, self._check_stopped)

    def _under_way(self) -> list[Channel]:
        return [channel for channel in self._connections if not channel.transport.fin_is_sent]

    def _must_wait(self) -> bool:
        """Ports are open yet, handlers run (also those whose client has left: what they are in the
        middle of is to be ended), or a last answer is on its way."""
        if any(acceptor.is_open for acceptor in self._acceptors):
            return True
        if not (self._calls.is_idle and self._pools.is_idle):
            return True
        return any(channel.transport.is_lingering() for channel in self._connections)

    def _await_cleanup(self) -> None:
        """Generators that were cut short run their `finally`, hooks are told of the last clients;
        then it is really over."""
        is_done = self._calls.is_idle and self._pools.cleanup_is_idle
        if is_done or self._reactor.now >= self._deadline:
            self._reactor.stop()
        else:
            self._reactor.call_later(STOP_CHECK, self._await_cleanup)

    def log_abandoned(self, why: str) -> None:
        """Say, once, what is cut."""
        if not self._has_logged_abandoned:
            self._has_logged_abandoned = True
            log_abandoned(self._under_way(), self._pools.of_requests, why)
