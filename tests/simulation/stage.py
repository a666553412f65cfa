"""Building the stage: what the package takes for the world while a simulation runs.

The rule: nothing of the server's own logic is replaced. Its modules get another `threading`,
`time` and self-pipe; around a few methods lies a wrapper that tells the reference what is
about to happen, and then calls them. `Stage.strike` puts everything back.

Chapter: docs/simulation.md.
"""

from __future__ import annotations

import logging
import random
import sys
import time
import types
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock

from pyliteflux import log as package_log
from pyliteflux.app import body_stream, context
from pyliteflux.channels.http_channel import HttpChannel
from pyliteflux.channels.message_channel import MessageChannel
from pyliteflux.console import console
from pyliteflux.log_writer import LogWriter
from pyliteflux.push.hub import Hub
from pyliteflux.push.topics import Topics
from pyliteflux.reactor import transport, waker
from pyliteflux.reactor.loop import Reactor
from tests.fakes import FakeClock
from tests.simulation.app import OnPurpose, Rude
from tests.simulation.invariants import Violation
from tests.simulation.kernel import sim_socket_module
from tests.simulation.threads import Threading

if TYPE_CHECKING:
    from tests.simulation.world import World

# Modules whose `threading` and `time` stay real: a console, and each thread's own variables.
NOT_SIMULATED = {
    "pyliteflux.log",
    "pyliteflux.console",
    "pyliteflux.app.context",
    "pyliteflux.server.tracing",
}
# What the server may say in ERROR lines without an exception.
EXPECTED_ERRORS = (
    "cannot accept connections",
    "cannot start another thread",
    "on_connect has not returned",
    "cannot start the watchdog",
    "the handler has not returned",
    "is shorter than its Content-Length",
    "cannot be closed",
)


class SimTime:
    """Stands in for the module `time`. Code that reads the clock again and again sees it move."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._passed = 0.0

    def monotonic(self) -> float:
        self._passed += 0.0004
        return self._clock.now + self._passed

    def time(self) -> float:
        return 1_700_000_000 + self._clock.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class LogWatch(logging.Handler):
    """Hears what the server logs: an exception that nobody planned is a fault of ours.

    note: for the trace. faults: pairs of invariant and text. fails: how probable it is that the
    handler itself fails, as a user's may: that costs the line, and nothing else.
    """

    fails = 0.0
    random = random.Random(0)

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note
        self.faults: list[tuple[str, str]] = []
        self._propagates = True
        self._servers = 0

    def begin(self) -> None:
        """Take the package's log over: none of it goes to the console."""
        logger = logging.getLogger("pyliteflux")
        self._propagates, logger.propagate = logger.propagate, False
        logger.addHandler(self)
        self._servers = len(console._servers)
        # A line is written where it is logged: there is one thread less to wait for.
        self._no_writer = mock.patch.object(LogWriter, "start", lambda writer, limit: None)
        self._no_writer.start()

    def end(self) -> None:
        """Give it back."""
        logger = logging.getLogger("pyliteflux")
        logger.removeHandler(self)
        logger.propagate = self._propagates
        # A world may end with its server, whose last word to the console is then never said.
        while len(console._servers) > self._servers:
            console.detach(console._servers[-1])
        self._no_writer.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the server's log."""
        if record.exc_info:
            error = record.exc_info[1]
            if not isinstance(error, (OnPurpose, Rude, Violation)) and "Killed" not in repr(error):
                text = f"{record.getMessage()}: {error!r}"
                self.faults.append(("errors", text))
                self._note(logging.Formatter().formatException(record.exc_info))
        elif record.levelno >= logging.ERROR:
            text = record.getMessage()
            if not any(expected in text for expected in EXPECTED_ERRORS):
                self.faults.append(("errors", text))
        if self.random.random() < self.fails:
            raise OnPurpose("the log cannot be written")


class Stage:
    """What is replaced for one world, and how it was before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._undo: list[tuple[Any, str, Any]] = []

    def strike(self) -> None:
        """Put everything back as it was."""
        while self._undo:
            setattr(*self._undo.pop())

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    def build(self) -> None:
        """Put clock, threads and self-pipe in the place of the real ones, and listen in."""
        world = self._world
        sim_threading, sim_time = Threading(world.threads), SimTime(world.clock)
        for name, module in list(sys.modules.items()):
            if name.startswith("pyliteflux.") and name not in NOT_SIMULATED:
                if isinstance(getattr(module, "threading", None), types.ModuleType):
                    self._set(module, "threading", sim_threading)
                if isinstance(getattr(module, "time", None), types.ModuleType):
                    self._set(module, "time", sim_time)
        self._set(waker, "socket", sim_socket_module(world.network, world.threads))
        self._set(body_stream, "HIGH_WATER", world.plan.body_high)
        self._set(body_stream, "LOW_WATER", world.plan.body_high // 4)
        self._set(context, "_numbers", count(1))  # Request ids: their length is in the trace.
        self._set(package_log, "_has_complained", True)  # Or it would tell us on stderr.

        def post(reactor: Reactor, callback: Any, *args: Any, inner: Any = Reactor.post) -> None:
            world.threads.point()
            inner(reactor, callback, *args)
            world.threads.point()

        self._set(Reactor, "post", post)
        for kind in (HttpChannel, MessageChannel):

            def lost(channel: Any, reason: Any, inner: Any = kind.connection_lost) -> None:
                world.on_lost(channel, reason)
                inner(channel, reason)

            self._set(kind, "connection_lost", lost)

        def finish(this: Any, reason: Any, inner: Any = transport.Transport.finish) -> None:
            if this.is_open:
                world.on_finish(this._channel, reason)
            inner(this, reason)

        self._set(transport.Transport, "finish", finish)

        def deliver(hub: Any, frame: Any, client_id: Any, inner: Any = Hub.deliver) -> None:
            world.book.on_deliver(frame, client_id)
            inner(hub, frame, client_id)

        self._set(Hub, "deliver", deliver)

        def deliver_acked(
            hub: Any, frame: Any, ack: Any, timeout: float, inner: Any = Hub.deliver_acked
        ) -> None:
            world.book.on_deliver(frame, ack.client_id)
            inner(hub, frame, ack, timeout)

        self._set(Hub, "deliver_acked", deliver_acked)
        self._watch_topics()

    def _watch_topics(self) -> None:
        """Have the model told of everything that the topics are told."""
        book = self._world.book

        def subscribe(
            topics: Any, listener: Any, name: str, since: Any = None, info: Any = None
        ) -> None:
            book.on_subscribe(listener, name, since, topics.ledger.epoch)
            inner_subscribe(topics, listener, name, since, info)

        def unsubscribe(topics: Any, listener: Any, name: str) -> None:
            book.on_unsubscribe(listener, name)
            inner_unsubscribe(topics, listener, name)

        def drop(topics: Any, listener: Any) -> None:
            book.on_drop(listener)
            inner_drop(topics, listener)

        def publish(topics: Any, name: str, data: bytes) -> None:
            kept = topics.ledger.log(name)
            book.on_publish(name, data, 1 + (0 if kept is None else kept.seq))
            inner_publish(topics, name, data)

        inner_subscribe, inner_unsubscribe = Topics.subscribe, Topics.unsubscribe
        inner_drop, inner_publish = Topics.drop, Topics.publish
        self._set(Topics, "subscribe", subscribe)
        self._set(Topics, "unsubscribe", unsubscribe)
        self._set(Topics, "drop", drop)
        self._set(Topics, "publish", publish)
