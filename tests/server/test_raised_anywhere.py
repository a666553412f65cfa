"""Whatever the user's code raises, wherever it is called: an answer, and the server lives (X2).

A table: every place at which the framework calls what is the user's, and every exception that
an ``except Exception`` does not see. KeyboardInterrupt alone goes on: it is the second Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from pyliteflux import EventStream, HTTPJSONResponse, Middleware, Router, StreamResponse
from pyliteflux.app.background import TaskQueue
from pyliteflux.app.response import HTTPResponse
from pyliteflux.protocol.framers import BufferedFramer, Frame
from tests.fakes import Peer, Simulation
from tests.support import captured_logs


class Odd(BaseException):
    """What no framework knows of."""


class Speechless(Exception):
    """It cannot even be told."""

    def __str__(self) -> str:
        raise Odd

    __repr__ = __str__


KINDS = (GeneratorExit, asyncio.CancelledError, Odd, SystemExit, StopIteration, RecursionError,
         Speechless)  # fmt: skip


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def status(data: bytes) -> int:
    return int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.1 ") else 0


class Lines(BufferedFramer):
    """A framing of the user's: lines. One of its methods fails when `failing` names it."""

    failing: set[str]
    error: type[BaseException]

    def _check(self, what: str) -> None:
        if what in self.failing:
            raise self.error

    def cut(self) -> Frame | None:
        self._check("cut")
        end = self.find(b"\n")
        return None if end < 0 else Frame("raw", self.take(end + 1)[:-1])

    def wrap(self, data: bytes) -> bytes:
        self._check("wrap")
        return data.rstrip(b"\n") + b"\n"


class Raised(unittest.TestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.router.register("/ping", blocking=False)(lambda request: "pong")
        self.router.register("/pool")(lambda request: "pong")
        self.router.register("ping", protocol="tcp")(lambda request: "pong")
        self.logs = self.enter(captured_logs())

    def enter(self, context: Any) -> Any:
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def assert_lives(self, simulation: Simulation) -> None:
        """Both ports answer, on the reactor and on a worker."""
        for path in ("/ping", "/pool"):
            peer = simulation.http()
            peer.send(get(path))
            simulation.settle()
            self.assertEqual(status(peer.unread), 200, path)
        peer = simulation.tcp()
        peer.send(b"ping\n")
        simulation.settle()
        self.assertEqual(peer.take(), b"pong\n")

    def ask(self, simulation: Simulation, path: str) -> Peer:
        peer = simulation.http()
        peer.send(get(path))
        simulation.settle()
        return peer

    # --- answers

    def test_a_handler_a_middleware_an_error_handler(self) -> None:
        """A5, M4, X2: a 500 each, whatever it is and on whichever thread."""

        def raising(kind: type[BaseException]) -> Callable[..., Any]:
            def raise_it(*_: Any) -> Any:
                raise kind

            return raise_it

        def in_handler(kind: Any, simulation: Simulation) -> None:
            pass

        def in_request(kind: Any, simulation: Simulation) -> None:
            one = Middleware()
            one.process_request = raising(kind)  # type: ignore[method-assign]
            simulation.server.add_middleware(one)

        def in_response(kind: Any, simulation: Simulation) -> None:
            one = Middleware()
            one.process_response = raising(kind)  # type: ignore[method-assign]
            simulation.server.add_middleware(one)

        def in_error_handler(kind: Any, simulation: Simulation) -> None:
            simulation.server.error(500)(raising(kind))

        for place in (in_handler, in_request, in_response, in_error_handler):
            for kind in KINDS:
                for blocking in (False, True):
                    with self.subTest(f"{place.__name__} {kind.__name__} {blocking=}"):
                        router = Router()
                        for path, protocol in (("/x", "http"), ("x", "tcp")):
                            router.register(path, protocol=protocol, blocking=blocking)(
                                raising(kind)
                            )
                        with Simulation(router, tcp_keep_alive=True) as simulation:
                            place(kind, simulation)
                            peer = self.ask(simulation, "/x")
                            self.assertEqual(status(peer.unread), 500)
                            self.assertIn(b"request_id", peer.take())
                            device = simulation.tcp()
                            device.send(b'{"command": "x"}\n')
                            simulation.settle()
                            self.assertEqual(json.loads(device.take())["code"], "internal")
                            self.assertEqual(status(self.ask(simulation, "/x").take()), 500)

    def test_on_finish(self) -> None:
        """M6: the others' still runs."""
        finished = []

        class Fails(Middleware):
            def on_finish(self, request: Any) -> None:
                raise kind

        class Notes(Middleware):
            def on_finish(self, request: Any) -> None:
                finished.append(1)

        for kind in KINDS:
            with self.subTest(kind.__name__), Simulation(self.router) as simulation:
                simulation.server.add_middleware(Notes())
                simulation.server.add_middleware(Fails())
                finished.clear()
                self.assertEqual(status(self.ask(simulation, "/ping").take()), 200)
                self.assertEqual(finished, [1])
                self.assert_lives(simulation)

    def test_values_that_cannot_be_made_into_an_answer(self) -> None:
        """A1, X2: an encoder, a response, a representation of the user's."""

        class Encoder(json.JSONEncoder):
            def default(self, value: Any) -> Any:
                raise kind

        class Own(HTTPResponse):
            def encode(self) -> None:
                raise kind

        class Nameless:
            def __repr__(self) -> str:
                raise kind

        values: list[Callable[[], Any]] = [
            lambda: HTTPJSONResponse({"x": object()}, json_encoder=Encoder),
            Own,
            Nameless,
            lambda: (Nameless(), 200),
            lambda: {"x": Nameless()},
        ]
        for number, make in enumerate(values):
            for blocking in (False, True):
                self.router.register(f"/{number}/{blocking}", blocking=blocking)(
                    lambda request, make=make: make()
                )
        for kind in KINDS:
            with Simulation(self.router) as simulation:
                for number in range(len(values)):
                    for blocking in (False, True):
                        with self.subTest(f"{kind.__name__} {number} {blocking}"):
                            peer = self.ask(simulation, f"/{number}/{blocking}")
                            self.assertEqual(status(peer.take()), 500)
                self.assert_lives(simulation)

    # --- streams

    def test_a_generator(self) -> None:
        """A2, M6: in a step, and when it is closed; it never looks complete."""
        finished = []

        def steps() -> Any:
            yield "a"
            raise kind if kind is not StopIteration else Odd

        def closing() -> Any:
            try:
                while True:
                    yield "a" * 10_000
            finally:
                raise kind if kind is not StopIteration else Odd

        class Notes(Middleware):
            def on_finish(self, request: Any) -> None:
                finished.append(1)

        self.router.register("/steps")(lambda request: StreamResponse(steps()))
        self.router.register("/closing")(lambda request: StreamResponse(closing()))
        self.router.register("steps", protocol="tcp")(lambda request: steps())
        for kind in KINDS:
            with self.subTest(kind.__name__), Simulation(self.router) as simulation:
                simulation.server.add_middleware(Notes())
                peer = self.ask(simulation, "/steps")
                self.assertNotIn(b"0\r\n\r\n", peer.take())
                peer = simulation.http(capacity=1000)
                peer.send(get("/closing"))
                simulation.settle()
                peer.reset()
                simulation.settle()
                self.assertEqual(len(finished), 2)
                device = simulation.tcp()
                device.send(b'{"command": "steps"}\n')
                simulation.settle()
                self.assertIn(b"internal", device.take())
                self.assert_lives(simulation)
            finished.clear()

    def test_on_close_of_an_event_stream(self) -> None:
        streams = []
        finished = []

        class Notes(Middleware):
            def on_finish(self, request: Any) -> None:
                finished.append(1)

        @self.router.register("/events")
        def events(request: Any) -> Any:
            def on_close() -> None:
                raise kind

            streams.append(EventStream(on_close=on_close))
            return streams[-1]

        for kind in KINDS:
            with self.subTest(kind.__name__), Simulation(self.router) as simulation:
                simulation.server.add_middleware(Notes())
                peer = self.ask(simulation, "/events")
                peer.reset()
                simulation.settle()
                self.assertEqual(finished, [1])
                self.assert_lives(simulation)
            finished.clear()

    # --- what is called beside requests

    def test_hooks(self) -> None:
        """X2: who cannot be admitted is refused; what is told of others is told."""
        for name in ("on_connect", "on_disconnect", "on_join", "on_leave"):
            for kind in KINDS:
                with (
                    self.subTest(f"{name} {kind.__name__}"),
                    Simulation(self.router, tcp_keep_alive=True) as simulation,
                ):
                    simulation.server.topic("news", presence=True)

                    def hook(*_: Any, kind: Any = kind) -> Any:
                        raise kind

                    getattr(simulation.server, name)(hook)
                    simulation.server.allow_subscribe("news")
                    device = simulation.tcp()
                    device.send(b'{"command": "subscribe", "data": "news"}\n')
                    simulation.settle()
                    device.close()
                    simulation.settle()
                    simulation.server._desk.hooks.connect.clear()
                    self.assert_lives(simulation)

    def test_a_callback_of_an_ack(self) -> None:
        for kind in KINDS:
            with (
                self.subTest(kind.__name__),
                Simulation(self.router, tcp_keep_alive=True) as simulation,
            ):

                def callback(ack: Any, kind: Any = kind) -> None:
                    raise kind

                device = simulation.tcp()
                device.send(b'{"command": "ping"}\n')
                simulation.settle()
                ack = simulation.server.push_message("x", device.client_id, ack=True)
                ack.add_done_callback(callback)
                device.close()
                simulation.settle()
                self.assertEqual(ack.state, "gone")
                self.assert_lives(simulation)

    def test_a_background_task(self) -> None:
        """B2: it is counted, and its name is told even where it cannot be."""

        class Task:
            def __call__(self) -> None:
                raise kind

            def __repr__(self) -> str:
                raise kind

        def run(request: Any) -> str:
            request.bg.add(Task())
            return "added"

        self.router.register("/task")(run)
        for kind in KINDS:
            with self.subTest(kind.__name__), Simulation(self.router) as simulation:
                self.assertEqual(status(self.ask(simulation, "/task").take()), 200)
                self.assertEqual(simulation.server.tasks.failed, 1)
                self.assert_lives(simulation)
                queue = TaskQueue(1)
                queue.add(Task(), (), {}, "id")
                queue.abandon()
                self.assertTrue(self.logs.find("dropped background tasks: Task"))

    def test_a_framer(self) -> None:
        """X2: its connection is the user's loss, the server is not."""
        for kind in KINDS:
            for place in ("make", "cut", "wrap"):
                with self.subTest(f"{kind.__name__} {place}"):
                    failing: set[str] = set()
                    framer = type("Framer", (Lines,), {"failing": failing, "error": kind})

                    def make(config: Any, framer: Any = framer) -> Any:
                        if "make" in framer.failing:
                            raise framer.error
                        return framer(config)

                    with Simulation(
                        self.router, tcp_framing=make, tcp_keep_alive=True
                    ) as simulation:
                        other = simulation.tcp()
                        other.send(b"ping\n")
                        simulation.settle()
                        self.assertEqual(other.take(), b"pong\n")
                        failing.add(place)
                        device = simulation.tcp()
                        device.send(b"ping\n")
                        simulation.settle()
                        simulation.server.push_message("x")
                        simulation.settle()
                        self.assertTrue(device.is_over)
                        failing.clear()
                        self.assert_lives(simulation)

    # --- the log

    def test_what_logging_raises(self) -> None:
        """X2: a handler, a filter, a formatter of the program's costs the line."""

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise kind

        class Filter(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                raise kind

        def fail(request: Any) -> Any:
            raise ValueError

        self.enter(mock.patch.object(logging, "raiseExceptions", False))  # It would tell us.
        self.router.register("/fails", blocking=False)(fail)
        self.router.register("/fails-on-a-worker")(fail)
        loggers = [logging.getLogger(name) for name in ("pyliteflux", "pyliteflux.server")]
        for kind in KINDS:
            for logger in loggers:
                handler, filter_ = Handler(), Filter()
                for add, remove, what in (
                    (logger.addHandler, logger.removeHandler, handler),
                    (logger.addFilter, logger.removeFilter, filter_),
                ):
                    with self.subTest(f"{kind.__name__} {logger.name} {what!r}"):
                        with contextlib.ExitStack() as stack:
                            add(what)  # type: ignore[arg-type]
                            stack.callback(remove, what)  # type: ignore[arg-type]
                            simulation = stack.enter_context(Simulation(self.router))
                            for path in ("/fails", "/fails-on-a-worker"):
                                peer = self.ask(simulation, path)
                                self.assertEqual(status(peer.take()), 500)
                            self.assert_lives(simulation)

    def test_keyboard_interrupt_goes_on_where_signals_are_heard(self) -> None:
        """X2: on the reactor thread it is the second Ctrl-C; on a worker it is a 500."""

        def interrupt(request: Any) -> Any:
            raise KeyboardInterrupt

        self.router.register("/x", blocking=False)(interrupt)
        self.router.register("/pool-x")(interrupt)
        with Simulation(self.router) as simulation:
            self.assertEqual(status(self.ask(simulation, "/pool-x").take()), 500)
            self.assert_lives(simulation)
            peer = simulation.http()
            peer.send(get("/x"))
            with self.assertRaises(KeyboardInterrupt):
                simulation.settle()


if __name__ == "__main__":
    unittest.main()
