"""The server as its user holds it: settings, routes, middlewares, run and stop, push.

Chapter: docs/running.md.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from ..app.background import TaskQueue
from ..app.files import StaticFiles
from ..app.middleware import MiddlewareManager
from ..app.pipeline import Pipeline
from ..app.routing import Decorated, Route, Router
from ..config import Config
from ..errors import ReactorClosed
from ..log import access, console, escape
from ..log import framework as log
from ..protocol.message import PushFrame
from ..reactor.workers import WorkerPool
from .hub import Clients, Hub
from .runtime import Runtime
from .tracing import Tracer

PROTOCOLS = ("both", "http", "tcp")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server:
    """An HTTP and TCP server. Any thread, unless a method says otherwise.

    router: the routes; without it, those of the default registry (`Route.register`).
    Settings are named arguments, or attributes of `config`; see `pyliteflux.config`.
    The four factories replace the outside world, for tests and simulations: what it polls
    with, what time it is, where listening sockets come from, who runs handlers.
    """

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
        self.router = Route.default if router is None else router
        self.middleware_manager = MiddlewareManager()
        self._selector_factory = selector_factory
        self._clock = clock
        self._socket_factory = socket_factory
        self._pool_factory = pool_factory
        self._tasks = TaskQueue(self.config.task_queue_limit)
        self._pipeline = Pipeline(self.config, self.middleware_manager, self._tasks)
        self._hub = Hub()
        # Guards the four below: who starts, who stops. Reentrant, as a signal handler of the
        # user's may call stop() while the thread that it interrupts is in here.
        self._lock = threading.RLock()
        self._runtime: Runtime | None = None
        self._thread: threading.Thread | None = None
        self._has_run = False
        self._stop_is_due = False
        self._addresses: dict[str, tuple[Any, ...]] = {}

    # --- what it is made of

    def add_middleware(self, middleware: Any, protocol: str = "both") -> None:
        """Append a middleware for "http", "tcp" or "both"; see `MiddlewareManager`."""
        self.middleware_manager.add_middleware(middleware, protocol)

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
        is_status = isinstance(kind, int) and 400 <= kind <= 599
        if not is_status and not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ValueError(
                f"an error handler is for a status 400 to 599 or an exception: {kind!r}"
            )

        def decorate(handler: Decorated) -> Decorated:
            self._pipeline.error_handlers[kind] = handler
            return handler

        return decorate

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

        Raises what `run` raises. Ends with `stop`, or with the process.
        """
        runtime = self._build(protocol, settings)
        if runtime is not None:
            thread = threading.Thread(
                target=self._serve, args=(runtime,), name="pyliteflux-reactor", daemon=True
            )
            self._thread = thread
            thread.start()
        return self

    def _build(self, protocol: str, settings: dict[str, Any]) -> Runtime | None:
        """Return the parts of a run, listening; None where `stop` came first."""
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
        with self._lock:
            if self._runtime is not None:
                raise RuntimeError("this server runs already")
            self.config.update(**settings)
            self._has_run = True
            if self._stop_is_due:
                self._stop_is_due = False
                return None
            self._tasks.limit = self.config.task_queue_limit
            selector = self._selector_factory()
            try:
                runtime = Runtime(
                    self.config,
                    self.router,
                    self._pipeline,
                    self._tasks,
                    self._hub,
                    protocol,
                    selector,
                    self._clock,
                    self._socket_factory,
                    self._pool_factory,
                )
            except BaseException:
                selector.close()  # A port is in use: its descriptor would stay with us.
                raise
            self._runtime = runtime
            self._addresses = runtime.addresses
            return runtime

    def _serve(self, runtime: Runtime) -> None:
        """Run the loop to its end, and give everything back."""
        info = self.config.info
        console.attach(info, self.config.log_colors, self.config.debug)
        signals = _Signals(runtime)
        tracer = Tracer() if self.config.trace else None
        try:
            self._announce()
            signals.install()
            if info and self.config.access_log and access.isEnabledFor(logging.INFO):
                runtime.log_requests()
            if tracer is not None:
                tracer.install()
            runtime.reactor.run()
        finally:
            if tracer is not None:
                tracer.remove()
            signals.restore()
            runtime.close()
            with self._lock:
                self._runtime = None
            log.info("stopped")
            console.detach(info)

    def _announce(self) -> None:
        parts = []
        if self.http_address is not None:
            parts.append(f"HTTP on http://{_host_port(self.http_address)}")
        if self.tcp_address is not None:
            parts.append(f"TCP on {_host_port(self.tcp_address)}")
        log.info("serving %s", " and ".join(parts))

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
                runtime.request_stop()
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

    def push_message(self, message: Any, client_id: str | None = None) -> int:
        """Push a JSON value to one long-lived TCP client, or to all where client_id is None.

        Any thread; never blocks. Returns the number of clients it was queued to: 0 for an
        unknown id, and while the server does not run. Raises TypeError or ValueError for a
        message that JSON cannot write.
        """
        frame = PushFrame(message)
        runtime = self._runtime
        clients = self._hub.clients
        if client_id is None:
            count = len(clients)
        elif client_id in clients:
            count = 1
        else:
            log.info("push to %s: there is no such client", escape(str(client_id)))
            return 0
        if runtime is None or count == 0:
            return 0
        try:
            runtime.push(frame, client_id)
        except ReactorClosed:
            return 0
        return count

    # --- what there is to see

    @property
    def http_address(self) -> tuple[Any, ...] | None:
        """(host, port) of the HTTP port, the real one where 0 was asked for; None without."""
        return self._addresses.get("http")

    @property
    def tcp_address(self) -> tuple[Any, ...] | None:
        """(host, port) of the TCP port; None without."""
        return self._addresses.get("tcp")

    @property
    def is_running(self) -> bool:
        """True from the moment the ports listen until the last connection is closed."""
        return self._runtime is not None

    @property
    def clients(self) -> Clients:
        """The long-lived TCP clients by id: a live, read-only mapping."""
        return self._hub.clients

    @property
    def _active_connections(self) -> Clients:
        """The same object under the name that early users know."""
        return self._hub.clients

    @property
    def tasks(self) -> TaskQueue:
        """The background tasks: how many are queued, running, done, failed."""
        return self._tasks

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the start of this run; {} while the server does not run."""
        runtime = self._runtime
        if runtime is None:
            return {}
        return {
            "connections": runtime.connections,
            "clients": len(self._hub.clients),
            "http_requests": runtime.http.requests,
            "tcp_messages": runtime.tcp.requests,
            "push_dropped": runtime.tcp.push_dropped,
            "worker_threads": runtime.workers.threads,
            "stream_threads": runtime.streams.threads,
            "requests_waiting": runtime.workers.waiting,
        }

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<Server {state} http={self.http_address} tcp={self.tcp_address}>"


class _Signals:
    """SIGINT and SIGTERM while a server runs in the main thread; put back afterwards (C5).

    The interpreter writes a signal's number into the self-pipe, and the reactor acts on it.
    The Python handler is there for the case that the reactor is stuck in a handler of the
    user's and has not heard of the signal before: then this one breaks it off.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._count = 0  # Signals that came.
        self._heard = 0  # Those that the reactor has acted on.
        self._previous: dict[int, Any] = {}
        self._previous_fd = -1
        self._is_installed = False

    def install(self) -> None:
        """Take the signals over, in the main thread only: elsewhere Python has none."""
        if threading.current_thread() is not threading.main_thread():
            return
        reactor = self._runtime.reactor
        reactor.on_signal = self._on_signal
        self._previous_fd = signal.set_wakeup_fd(reactor.signal_fileno, warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        self._is_installed = True

    def restore(self) -> None:
        """Put everything back as it was."""
        if not self._is_installed:
            return
        self._is_installed = False
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._previous_fd)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count >= 3 or (self._count == 2 and self._heard == 0):
            raise KeyboardInterrupt

    def _on_signal(self, number: int) -> None:
        """On the reactor thread: the first time gracefully, the second time at once."""
        if number not in _STOP_SIGNALS:
            return  # A child has ended, the window was resized ...: somebody else's.
        self._heard += 1
        if self._runtime.is_stopping:
            log.warning("stopping at once")
            self._runtime.reactor.stop()
        else:
            log.info("stopping; once more to stop at once")
            self._runtime.begin_stop()


def _host_port(address: tuple[Any, ...]) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
