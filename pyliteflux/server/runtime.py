"""Everything that exists only while a server runs: its reactor, ports, pools and connections.

`Server` is what the user holds, before, during and after; a `Runtime` is built for one run
and thrown away with it. Made in run(), so a fork before run() is safe. The constructor is the
list of what there is, in an order in which each part needs only those above it.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from math import inf
from typing import Any, NamedTuple

from ..app.app import App
from ..app.request import Request
from ..app.response import HTTPResponse
from ..channels.http_channel import HttpChannel
from ..channels.http_service import HttpService
from ..channels.journal import Journal
from ..channels.message_channel import MessageChannel
from ..channels.message_service import MessageService, check_framings
from ..log import framework as log
from ..push.desk import PushDesk
from ..push.hooks import HookCalls
from ..reactor.acceptor import Acceptor
from ..reactor.loop import Reactor
from ..reactor.pools import Pools
from ..reactor.watchdog import Watchdog
from ..reactor.workers import WorkerPool
from ..why import CloseReason
from .access_log import AccessLog
from .connections import Connections
from .ports import Listeners, Port
from .reception import Reception
from .stopping import Stopping


class World(NamedTuple):
    """What is outside, and what tests and simulations replace.

    What a reactor polls with, what time it is, where listening sockets come from, who runs
    handlers.
    """

    selector: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector
    clock: Callable[[], float] = time.monotonic
    socket: Callable[..., socket.socket] = socket.socket
    pool: Callable[..., WorkerPool] = WorkerPool


class Runtime:
    """One run of a server. Reactor thread, but for what is under "any thread"."""

    def __init__(
        self,
        app: App,
        desk: PushDesk,
        journal: Journal,
        reactor: Reactor,
        listeners: Listeners,
        make_pool: Callable[..., WorkerPool],
    ) -> None:
        config = app.config
        self._app = app
        self._desk = desk
        self._journal = journal
        self.is_stopping = False
        self.reactor = reactor
        self.addresses = at = listeners.endpoints
        self.pools = pools = Pools(config, reactor, make_pool, self._finish_orphan)
        app.tasks.start(pools.tasks.submit)
        self.calls = calls = HookCalls(pools.cleanup, config.max_waiting_hooks)
        self.reception = reception = Reception(desk, calls)
        self.connections = connections = Connections(
            config, reactor, journal, len(at), reception.welcome, reception.on_left
        )
        parts = (reactor, app, pools, desk.topics, connections.on_closed)
        self.http = HttpService(connections.make_room, *parts, at.get("http"))
        greeting = reception.on_greeted, reception.on_leaving, calls
        self.tcp = MessageService(at.get("http"), *greeting, *parts, at.get("tcp"))
        ports = (Port("http", self.http, HttpChannel), Port("tcp", self.tcp, MessageChannel))
        limits = config.max_accepts, config.accept_pause
        self._acceptors = [
            Acceptor(reactor, sock, partial(connections.accept, port), *limits)
            for port in ports
            for sock in listeners.sockets.get(port.name, ())
        ]
        self._stopping = Stopping(
            config, reactor, self._acceptors, connections, pools, app.tasks, calls
        )
        reactor.call_later(connections.sweep_interval, self._sweep)

    @classmethod
    def open(
        cls, app: App, desk: PushDesk, journal: Journal, protocols: str, world: World
    ) -> Runtime:
        """Return a run whose ports listen.

        protocols: "both", "http" or "tcp". Raises OSError where a port cannot be had, ConfigError
        for a framing of which there is none; nothing is left behind.
        """
        config = app.config
        with ExitStack() as undo:
            check_framings(config, app.router)
            listeners = Listeners(config, protocols, world.socket)
            undo.callback(listeners.close)
            selector = world.selector()
            undo.callback(selector.close)
            slow_turn = config.slow_callback_ms / 1000
            reactor = Reactor(selector, world.clock, slow_turn, config.debug)
            undo.callback(reactor.close)
            runtime = cls(app, desk, journal, reactor, listeners, world.pool)
            undo.pop_all()
        return runtime

    def make_watchdog(self) -> Watchdog:
        """Return who reports slow turns and slow handlers; not started."""
        config = self._app.config
        slow = config.slow_callback_ms / 1000, config.slow_handler_ms / 1000
        return Watchdog(self.reactor, [self.pools.workers], *slow, self.reactor.time)

    def log_requests(self) -> None:
        """Write a line for each request from now on."""
        note = AccessLog(self.reactor, self._app.config.log_queue_limit).note
        self.http.on_finished = self.tcp.on_finished = note

    def _sweep(self) -> None:
        """Once a second, or oftener: what has had its time?"""
        self.reactor.call_later(self.connections.sweep_interval, self._sweep)
        self.connections.sweep()  # Before what it must not depend on.
        self._desk.topics.sweep()

    # --- any thread

    @property
    def owns_current_thread(self) -> bool:
        """True on the reactor thread and on the workers of this run: they cannot await its end."""
        is_reactor = self.reactor.thread_id == threading.get_ident()
        return is_reactor or self.pools.own_current_thread

    # --- the end

    def begin_stop(self) -> None:
        """Begin the graceful stop, unless it has begun."""
        if self.is_stopping:
            return
        self.is_stopping = self.http.is_stopping = self.tcp.is_stopping = True
        self._desk.release()
        self._stopping.begin()

    def _finish_orphan(self, request: Any, response: Any) -> None:
        """On a worker whose handler returned after the end: give back what is still held."""
        response = getattr(response, "stream", response)  # Of an answer to a TCP message.
        try:
            if isinstance(response, HTTPResponse):
                response.discard()
            if isinstance(request, Request) and request.has_returned:
                self._app.pipeline.finish(request)
        except BaseException:
            log.exception("%r: what it held could not be given back after the end", request)

    def close(self) -> None:
        """Give everything back. After the loop has ended, on the thread that ran it."""
        if self.is_stopping:
            self._stopping.log_abandoned("when told to stop at once")
        for acceptor in self._acceptors:
            acceptor.close()
        for channel in self.connections:
            channel.transport.close(CloseReason.SHUTDOWN)
        self._journal.report(inf)
        self.pools.stop()
        self._app.tasks.abandon()  # After its pool takes no more: what came last is named, too.
        self.reactor.close()
