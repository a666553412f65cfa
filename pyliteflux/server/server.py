"""The server as its user holds it: settings, routes, middlewares, run and stop, push.

Chapter: docs/running.md.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, overload

from ..app.app import App
from ..app.background import TaskQueue
from ..app.route import Decorated, Route, Verbs
from ..app.routing import Router
from ..channels.journal import Journal, Story
from ..channels.message_channel import sender
from ..config import PROTOCOLS, Config
from ..console import console
from ..endpoint import Endpoint
from ..errors import ReactorClosed
from ..extras.static import StaticFiles
from ..extras.subscribe_commands import SubscribeCommands
from ..log import access
from ..log import framework as log
from ..otherwords import SERVER, missing
from ..push.acks import Ack
from ..push.clients import Clients
from ..push.desk import PushDesk
from ..push.topic import Topic
from ..reactor.workers import WorkerPool
from ..signatures import check_hook
from .runtime import Runtime, World
from .stop_signals import StopSignals
from .tracing import Tracer


class Server(Verbs):
    """An HTTP and TCP server. Any thread, unless a method says otherwise.

    router: the routes; without it, those of the default registry (`Route.register`).
    Settings are named arguments, or attributes of `config`; see `pyliteflux.config`.
    The four factories replace the outside world, for tests and simulations: what it polls
    with, what time it is, where listening sockets come from, who runs handlers.
    """

    # Settings, and perhaps the protocol, that win over what the program says: the command line's.
    _said_outside: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        router: Router | None = None,
        *,
        selector_factory: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector,
        clock: Callable[[], float] = time.monotonic,
        socket_factory: Callable[..., socket.socket] = socket.socket,
        pool_factory: Callable[..., WorkerPool] = WorkerPool,
        **settings: Any,
    ) -> None:
        self.config = Config(**settings)
        self._app = App(self.config, cast(Router, Route.default) if router is None else router)
        self.middleware_manager = self._app.middlewares
        self._world = World(selector_factory, clock, socket_factory, pool_factory)
        self._desk = PushDesk(self.config, sender)
        self._journal = Journal(0)  # Of this run, or the last.
        self._subscribe_commands = SubscribeCommands()
        # Guards who starts and who stops, the four below. Reentrant: a signal handler of the
        # user's may call stop() while the thread that it interrupts is in here.
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._thread: threading.Thread | None = None
        self._has_run = False
        self._stop_is_due = False
        self._addresses: dict[str, Endpoint] = {}

    # --- what it is made of

    @property
    def router(self) -> Router:
        """The routes: those it was given, or those of the default registry."""
        return self._app.router

    def add_middleware(self, middleware: Any, protocol: str = "both") -> None:
        """Append a middleware for "http", "tcp" or "both"; see `MiddlewareManager`."""
        self.middleware_manager.add_middleware(middleware, protocol)

    def _register(
        self, path: str, method: str, options: dict[str, Any]
    ) -> Callable[[Decorated], Decorated]:
        return self.router.register(path, method, **options)

    def include(self, router: Router, prefix: str = "") -> None:
        """Register all routes of a router with this server's, HTTP paths under `prefix`."""
        self.router.include(router, prefix)

    def static(
        self,
        prefix: str,
        directory: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        max_age: int | None = None,
        precompressed: bool = True,
    ) -> None:
        """Serve the files below a directory under ``prefix/``; the keywords: `StaticFiles`.

        ``url_for(prefix, **{"*": "css/a.css"})`` is the path of one. Raises RouteError where
        there is no such directory.
        """
        prefix = prefix.rstrip("/")
        files = StaticFiles(directory, index=index, max_age=max_age, precompressed=precompressed)
        self.router.register(f"{prefix}/*", name=prefix or "/")(files)
        if prefix:
            self.router.register(prefix, name=f"{prefix} without slash")(files)

    def routes(self) -> list[Route]:
        """Return every registered route."""
        return self.router.routes()

    def url_for(self, name: str, /, **parameters: Any) -> str:
        """Return the path of a named route; see `Router.url_for`."""
        return self.router.url_for(name, **parameters)

    def error(self, kind: int | type[BaseException]) -> Callable[[Decorated], Decorated]:
        """Return a decorator: the function answers a status (400 to 599) or an exception.

        It is called as ``function(request, error)`` and may return what a handler may; of a
        plain value the status stays that of the error. Raises ValueError for another kind.
        """
        return self._app.error(kind)

    # --- run and stop

    def run(self, protocol: str = "both", **settings: Any) -> None:
        """Serve until stopped. The calling thread becomes the reactor thread.

        protocol: "both", "http" or "tcp". In the main thread SIGINT and SIGTERM stop the
        server gracefully, a second one at once. Raises OSError with one line that says what
        to do where a port cannot be had, RuntimeError where the server runs already.
        """
        runtime = self._build(protocol, settings)
        if runtime is not None:
            self._serve(runtime)

    def start(self, protocol: str = "both", **settings: Any) -> Server:
        """Serve in a thread of the background; return once the ports listen.

        Raises what `run` raises, and whatever else ends the thread before it serves. Ends with
        `stop`, or with the process.
        """
        runtime = self._build(protocol, settings)
        if runtime is not None:
            began = threading.Event()
            failures: list[BaseException] = []
            thread = threading.Thread(
                target=self._serve_in_background,
                args=(runtime, began, failures),
                name="pyliteflux-reactor",
                daemon=True,
            )
            self._thread = thread
            try:
                thread.start()
            except BaseException:  # Out of threads.
                self._end(runtime)
                raise
            began.wait()
            if failures:
                thread.join()
                self._thread = None
                raise failures[0]
        return self

    def _build(self, protocol: str, settings: dict[str, Any]) -> Runtime | None:
        """Return the parts of a run, listening; None where `stop` came first."""
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
        if self._said_outside:
            settings = {**settings, **self._said_outside}
            protocol = settings.pop("protocol", protocol)
        with self._lock:
            if self._runtime is not None:
                raise RuntimeError("this server runs already")
            self.config.update(**settings)
            self._has_run = True
            if self._stop_is_due:
                self._stop_is_due = False
                return None
            self._app.tasks.limit = self.config.task_queue_limit
            self._journal = Journal(self.config.closed_connections_kept)
            runtime = Runtime.open(self._app, self._desk, self._journal, protocol, self._world)
            self._desk.begin(runtime.reactor, runtime.reception.on_presence)
            self._runtime = runtime
            self._addresses = runtime.addresses
            return runtime

    def _serve_in_background(
        self, runtime: Runtime, began: threading.Event, failures: list[BaseException]
    ) -> None:
        """The thread of `start`: what ends it before it serves is told to who waits there."""
        try:
            self._serve(runtime, began.set)
        except BaseException as error:
            if began.is_set():
                raise
            failures.append(error)
        finally:
            began.set()

    def _serve(self, runtime: Runtime, on_begin: Callable[[], object] = lambda: None) -> None:
        """Run the loop to its end, and give everything back, however far it has come."""
        config = self.config
        info, limit = config.info, config.log_queue_limit
        try:
            console.attach(info, config.log_colors, config.debug, limit)
            self._turn(runtime, on_begin)
        finally:
            self._end(runtime)
            log.info("stopped")
            console.detach(info, limit)

    def _end(self, runtime: Runtime) -> None:
        """Give everything back; from now on the server does not run."""
        try:
            runtime.close()
        finally:
            self._desk.end()
            with self._lock:
                self._runtime = None

    def _turn(self, runtime: Runtime, on_begin: Callable[[], object]) -> None:
        """Run the loop to its end, with what belongs around it."""
        signals = StopSignals(runtime)
        tracer = Tracer() if self.config.trace else None
        watchdog = runtime.make_watchdog()
        try:
            self._announce()
            runtime.connections.log_limits()
            signals.install()
            if self.config.info and self.config.access_log and access.isEnabledFor(logging.INFO):
                runtime.log_requests()
            if tracer is not None:
                tracer.install()
            watchdog.start()
            on_begin()
            runtime.reactor.run()
        finally:
            watchdog.stop()
            if tracer is not None:
                tracer.remove()
            signals.restore()

    def _announce(self) -> None:
        words = {"http": "HTTP on http://", "tcp": "TCP on "}
        ports = [words[name] + endpoint.netloc for name, endpoint in self._addresses.items()]
        log.info("serving %s", " and ".join(ports))

    def stop(self) -> None:
        """Stop gracefully: refuse what is new, finish what is under way (shutdown_timeout).

        From a handler, a task, another thread or a signal; twice, or before `run`, which
        then returns at once. Waits for the end where `start` was used and the caller is not
        one of the server's own threads, which the end waits for.
        """
        with self._lock:
            runtime, thread = self._runtime, self._thread
            if runtime is None and not self._has_run:
                self._stop_is_due = True
        if runtime is not None:
            try:
                runtime.reactor.call_soon_threadsafe(runtime.begin_stop)
            except ReactorClosed:
                pass  # It has just ended.
        if thread is not None and not (runtime is not None and runtime.owns_current_thread):
            thread.join()
            with self._lock:
                if self._thread is thread:  # Nobody has started it again meanwhile.
                    self._thread = None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- what it does

    @overload
    def push_message(self, message: Any, client_id: str | None = None) -> int: ...

    @overload
    def push_message(
        self, message: Any, client_id: str, ack: Literal[True], ack_timeout: float | None = None
    ) -> Ack: ...

    def push_message(
        self,
        message: Any,
        client_id: str | None = None,
        ack: bool = False,
        ack_timeout: float | None = None,
    ) -> int | Ack:
        """Push a JSON value to one long-lived TCP client, or to all where client_id is None.

        Any thread; never blocks. Returns the number of clients it was queued to: 0 for an
        unknown id, and while the server does not run. ack: return an `Ack` instead, which the
        client completes with ``{"ack": id}`` within ack_timeout seconds (by default the
        setting of this name); to one client only. Raises TypeError or ValueError for a message
        that JSON cannot write, PoolFull over push_backlog, push_backlog_bytes or
        max_pending_acks.
        """
        return self._desk.push_message(message, client_id, ack, ack_timeout)

    def publish(self, topic: str, message: Any) -> int:
        """Publish a JSON value to all who hear a topic: TCP clients and browsers.

        Any thread; never blocks. Returns the number of subscribers it was queued to: 0 while
        the server does not run. Messages of one thread stay in order, and each is numbered.
        Raises TypeError or ValueError for a message that JSON cannot write or a topic that
        cannot be one, PoolFull over push_backlog or push_backlog_bytes.
        """
        return self._desk.publish(topic, message)

    def topic(self, name: str, **options: Any) -> Topic:
        """Return a topic: its members, its counts; with options, say how it is treated.

        name: one topic, or a pattern (``room:*``) whose options hold for all that it matches
        unless one of them has its own. history: messages kept; slow_client_policy: what
        happens to a client that does not keep up; presence: whether who joins and leaves is
        told to the others. None: as the server's setting. Any thread. Raises ConfigError.
        """
        return self._desk.topic(name, **options)

    def allow_subscribe(self, *patterns: str) -> None:
        """Give TCP clients the commands `subscribe` and `unsubscribe`, for these topics only.

        patterns: topics, or patterns that end with `*`. The data is the topic, or
        ``{"topic": ..., "since": ..., "info": ...}``. Who asks for another topic gets the
        error "forbidden". May be called again, for more. A route of yours of that name comes
        first.
        """
        for pattern in patterns:
            self.topic(pattern)
        self._subscribe_commands.allow(patterns)
        self._subscribe_commands.register(self._app.ready_made)

    def disconnect(self, client_id: str, reason: str = "") -> bool:
        """End a long-lived TCP client's connection; it is told the reason. Any thread.

        Returns False where there is no such client. Raises TypeError or ValueError for a reason
        that JSON cannot write.
        """
        return self._desk.disconnect(client_id, reason)

    # --- what it tells

    def on_connect(self, function: Decorated) -> Decorated:
        """Register ``function(client)``: a long-lived TCP client has connected.

        It runs on a worker, before the client's first message is handled and before it is in
        `clients`: what is pushed to all is not for it yet, `client.push` is. Where it returns
        False, or fails, the client is refused. Decorators of this kind go before `run`.
        """
        check_hook(function, "on_connect", "client")
        self._desk.hooks.connect.append(function)
        return function

    def on_disconnect(self, function: Decorated) -> Decorated:
        """Register ``function(client, reason)``: a client that was admitted has left.

        On a worker; a handler of its last message may still be running. reason: a CloseReason.
        What is told of one client (`on_join` and `on_leave`, too) is told in order.
        """
        check_hook(function, "on_disconnect", "client", "reason")
        self._desk.hooks.disconnect.append(function)
        return function

    def on_join(self, function: Decorated) -> Decorated:
        """Register ``function(topic, client_id)``: somebody joins a topic that has presence."""
        check_hook(function, "on_join", "topic", "client_id")
        self._desk.hooks.join.append(function)
        return function

    def on_leave(self, function: Decorated) -> Decorated:
        """Register ``function(topic, client_id)``: somebody leaves a topic that has presence."""
        check_hook(function, "on_leave", "topic", "client_id")
        self._desk.hooks.leave.append(function)
        return function

    # --- what there is to see

    @property
    def http_address(self) -> Endpoint | None:
        """(host, port) of the HTTP port, the real one where 0 was asked for; None without.

        Of "localhost" the IPv4 address where there is one; the other has the same port.
        """
        return self._addresses.get("http")

    @property
    def tcp_address(self) -> Endpoint | None:
        """(host, port) of the TCP port; None without."""
        return self._addresses.get("tcp")

    @property
    def is_running(self) -> bool:
        """True from the moment the ports listen until the last connection is closed."""
        return self._runtime is not None

    @property
    def clients(self) -> Clients:
        """The long-lived TCP clients by id: a live, read-only mapping."""
        return self._desk.hub.clients

    @property
    def _active_connections(self) -> Clients:
        """The same object under the name that early users know."""
        return self._desk.hub.clients

    def why(self, client_id: str) -> Story | None:
        """Return what a connection of either protocol went through, and why it closed.

        client_id: ``request.connection_id``, "host:port"; ``request.client_id`` is the same, but
        where a middleware has put another client in the place of a proxy. Any thread; also
        after `stop`, until the next `run`. Of an id that was used twice it is the newest. None
        where it is not known, or not any more: so many closed connections are kept as
        closed_connections_kept says.
        """
        runtime, journal = self._runtime, self._journal
        return (runtime and runtime.connections.story(client_id)) or journal.find(client_id)

    @property
    def tasks(self) -> TaskQueue:
        """The background tasks: how many are queued, running, done, failed."""
        return self._app.tasks

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the start of this run; {} while the server does not run.

        "closed_..." counts connections by the `CloseReason`, those that happened.
        """
        runtime = self._runtime
        if runtime is None:
            return {}
        return {
            "connections": len(runtime.connections),
            "clients": len(self._desk.hub.clients),
            "http_requests": runtime.http.requests,
            "tcp_messages": runtime.tcp.requests,
            "push_dropped": runtime.tcp.push_dropped + self._desk.topics.dropped,
            "worker_threads": runtime.pools.workers.threads,
            "stream_threads": runtime.pools.streams.threads,
            "requests_waiting": runtime.pools.workers.waiting,
            **{f"closed_{why.name.lower()}": n for why, n in self._journal.counts.items()},
        }

    if not TYPE_CHECKING:  # Who checks types knows what there is.

        def __getattr__(self, name):
            """Reached only for what a server does not have: say our word for it."""
            raise missing(self, name, SERVER)

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<Server {state} http={self.http_address} tcp={self.tcp_address}>"
