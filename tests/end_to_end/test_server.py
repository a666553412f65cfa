"""Server and configuration over real sockets, threads and signals (N1, N2, C1 to C8)."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import pyliteflux
from pyliteflux import ConfigError, Logger, Route, Router, Server, g
from pyliteflux.reactor.watchdog import Watchdog
from pyliteflux.server import server as server_module
from tests.support import (
    DEADLINE,
    ROOT,
    Client,
    Program,
    RunningThread,
    ServerTestCase,
    fetch,
    make_server,
    new_threads,
    run_program,
    stop,
    wait_for,
    wait_until,
)

# What the program tests begin with: a server whose ports are told on the first line.
PROGRAM = """
import os, signal, socket, sys, threading, time
from pyliteflux import Server, Router, Logger

router = Router()
server = Server(router=router, http_port=0, tcp_port=0, info=False)

def tell():
    while not server.is_running:
        time.sleep(0.001)
    print(server.http_address[1], flush=True)

def run(**settings):
    threading.Thread(target=tell, daemon=True).start()
    server.run(**settings)
"""


def program(rest: str) -> str:
    """Return the source of a program that goes on with `rest`."""
    return PROGRAM + rest


posix_only = unittest.skipUnless(os.name == "posix", "signals are sent to a process")


def descriptors() -> set[str]:
    """Return what this process has open, where the system can tell."""
    return {
        f"{name} {os.readlink(f'/proc/self/fd/{name}')}"
        for name in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{name}")
    }


class ImportTests(unittest.TestCase):
    def test_the_names_of_the_first_line_can_be_imported(self) -> None:
        """N1: and nothing else than documented names comes with a star."""
        code = (
            "from pyliteflux import Server, Route, Middleware, g, Logger, StreamResponse, "
            "HTTPJSONResponse"
        )
        names: dict[str, Any] = {}
        exec(code, names)
        exec("from pyliteflux import *", names)
        for name in pyliteflux.__all__:
            self.assertIs(names[name], getattr(pyliteflux, name))
            self.assertFalse(name.startswith("_"))
        self.assertEqual(len(set(pyliteflux.__all__)), len(pyliteflux.__all__))

    def test_the_names_of_0_1_2_are_still_there(self) -> None:
        """N2."""
        for name in (
            "HTTPResponse", "HTTPStreamResponse", "Config", "MiddlewareManager",
            "ContextMiddleware", "TaskQueue", "BackgroundTask", "HTTPRequest", "TCPRequest",
        ):  # fmt: skip
            self.assertIn(name, pyliteflux.__all__)
            self.assertTrue(callable(getattr(pyliteflux, name)), name)
        self.assertIs(pyliteflux.HTTPStreamResponse, pyliteflux.StreamResponse)

    def test_no_module_of_the_standard_library_is_reexported(self) -> None:
        """N2."""
        for name, value in vars(pyliteflux).items():
            if isinstance(value, type(sys)):
                self.assertTrue(value.__name__.startswith("pyliteflux."), name)
            self.assertNotIn(getattr(value, "__module__", ""), ("threading", "socket"))

    def test_the_import_starts_nothing(self) -> None:
        """N1: no thread, no socket, no signal handler, no log handler; nothing is printed."""
        status, out, err = run_program(
            """
import logging, os, signal, socket, sys, threading
made = []
real = socket.socket.__init__
def init(self, *args, **kwargs):
    made.append(self)
    real(self, *args, **kwargs)
socket.socket.__init__ = init
numbers = [n for n in signal.valid_signals() if n not in (9, 19)]
before = [signal.getsignal(n) for n in numbers]
wakeup = signal.set_wakeup_fd(-1)
files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
import pyliteflux
assert threading.active_count() == 1, threading.enumerate()
assert made == [], made
assert [signal.getsignal(n) for n in numbers] == before
assert signal.set_wakeup_fd(-1) == -1
assert logging.getLogger().handlers == []
for name in list(logging.root.manager.loggerDict):
    assert logging.getLogger(name).handlers == [], name
    assert logging.getLogger(name).level == 0, name
if files:
    assert len(os.listdir("/proc/self/fd")) == files
pyliteflux.Server()
assert threading.active_count() == 1 and made == []
"""
        )
        self.assertEqual((status, out, err), (0, "", ""))


class ConstructionTests(ServerTestCase):
    def test_a_server_needs_no_argument(self) -> None:
        """C1: and takes the default registry then (R5)."""
        self.assertIs(Server().router, Route.default)
        self.assertEqual(Server(http_port=0, tcp_port=0).config.http_port, 0)
        self.assertIs(Server(router=self.router).router, self.router)

    def test_the_real_addresses_can_be_read(self) -> None:
        """C3: port 0 takes a free one."""
        server = self.serve()
        assert server.http_address is not None and server.tcp_address is not None
        for host, port in (server.http_address, server.tcp_address):
            self.assertEqual(host, "127.0.0.1")
            self.assertGreater(port, 0)
            Client((host, port)).close()
        self.assertNotEqual(server.http_address, server.tcp_address)

    def test_settings_given_to_run_and_start_count(self) -> None:
        """C4."""
        server = make_server(self.router)
        server.start("http", keep_alive_requests=1)
        self.addCleanup(stop, server)
        self.assertEqual(server.config.keep_alive_requests, 1)
        self.assertEqual(fetch(server, "GET", "/").get("Connection"), "close")


class ProtocolChoiceTests(ServerTestCase):
    def test_one_protocol_may_be_served_alone(self) -> None:
        """C4: run(protocol="http") leaves the TCP port alone, and the other way round."""
        for protocol, there, other in (("http", "http", "tcp"), ("tcp", "tcp", "http")):
            with self.subTest(protocol):
                server = make_server(self.router)
                running = RunningThread(server.run, protocol=protocol)
                wait_until(lambda server=server: server.is_running, "the server runs")
                self.assertIsNone(getattr(server, f"{other}_address"))
                Client(getattr(server, f"{there}_address")).close()
                server.stop()
                running.join()

    def test_another_protocol_is_refused(self) -> None:
        """C4."""
        server = make_server(self.router)
        with self.assertRaisesRegex(ValueError, "udp.*http.*tcp.*both"):
            server.run(protocol="udp")
        self.assertFalse(server.is_running)

    def test_run_blocks_until_stopped(self) -> None:
        """C4."""
        self.router.register("/")(lambda request: "up")
        server = make_server(self.router)
        running = RunningThread(server.run)
        wait_until(lambda: server.is_running, "the server runs")
        self.assertEqual(fetch(server, "GET", "/").text, "up")
        with self.assertRaisesRegex(AssertionError, "did not return"):
            running.join(0.01)
        server.stop()
        running.join()
        self.assertFalse(server.is_running)

    def test_a_server_that_runs_cannot_be_run_again(self) -> None:
        server = self.serve()
        for again in (server.run, server.start):
            with self.assertRaisesRegex(RuntimeError, "runs already"):
                again()
        self.assertEqual(fetch(server, "GET", "/").status, 404)


class PortInUseTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.taken.close)
        self.port = self.taken.getsockname()[1]

    def check_refused(self, call: Callable[..., Any], **settings: Any) -> None:
        with self.assertRaises(OSError) as caught:
            call(**settings)
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        text = str(caught.exception)
        self.assertIn(str(self.port), text)
        self.assertIn("another port", text)
        self.assertEqual(len(text.splitlines()), 1)

    def test_a_port_in_use_is_an_oserror_of_one_line(self) -> None:
        """C4: it names the port and what to do, whichever of the two ports it is."""
        server = make_server(self.router)
        self.check_refused(server.run, http_port=self.port)
        self.check_refused(server.run, http_port=0, tcp_port=self.port)
        self.check_refused(server.start)
        with self.assertRaises(OSError):
            with server:
                pass
        self.assertFalse(server.is_running)

    def test_nothing_is_left_half_started(self) -> None:
        """C4: the HTTP port was to be had, the TCP port was not; the first is free again."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            free = found.getsockname()[1]
        threads = threading.enumerate()
        handlers = list(logging.getLogger("pyliteflux").handlers)
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        has_proc = os.path.isdir("/proc/self/fd")
        opened = descriptors() if has_proc else set()
        server = make_server(self.router, http_port=free, tcp_port=self.port)
        self.check_refused(server.run)
        if has_proc:
            self.assertEqual({name for name in descriptors() - opened if "proc" not in name}, set())
        self.assertEqual(new_threads(threads), set())
        self.assertEqual(logging.getLogger("pyliteflux").handlers, handlers)
        self.assertEqual(
            (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)), before
        )
        self.assertIsNone(server.http_address)
        with self.assertRaises(ConnectionRefusedError):
            Client(("127.0.0.1", free))

    def test_the_server_can_be_run_once_the_port_is_free(self) -> None:
        """C4."""
        server = make_server(self.router, tcp_port=self.port)
        self.check_refused(server.start)
        self.taken.close()
        server.start()
        self.addCleanup(stop, server)
        assert server.tcp_address is not None
        self.assertEqual(server.tcp_address[1], self.port)

    def test_a_host_that_does_not_exist_is_an_oserror_that_names_it(self) -> None:
        """C4."""
        for host in ("no.such.host.invalid", "x" * 70):
            with self.subTest(host), self.assertRaises(OSError) as caught:
                make_server(self.router).run(http_host=host)
            self.assertIn(host, str(caught.exception))

    def test_a_stopped_servers_port_can_be_had_at_once(self) -> None:
        self.router.register("/")(lambda request: "up")
        first = make_server(self.router)
        first.start()
        self.assertEqual(fetch(first, "GET", "/").text, "up")
        assert first.http_address is not None
        port = first.http_address[1]
        stop(first)
        server = self.serve(http_port=port)
        self.assertEqual(fetch(server, "GET", "/").text, "up")

    def test_the_command_line_ends_with_one_line(self) -> None:
        """C4: in 0.1.2 a program goes on as if all were well."""
        status, out, err = run_program(
            f"""
import sys
from pyliteflux.__main__ import main
sys.exit(main(["--set", "http_port={self.port}", "--set", "tcp_port=0"]))
"""
        )
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(str(self.port), err)


def stopping(servers: list[Server]) -> Callable[[Any], str]:
    """Return a handler that stops the servers on a list."""

    def handler(request: Any) -> str:
        for server in servers:
            server.stop()
        return "bye"

    return handler


class StopTests(ServerTestCase):
    def run_server(self, **settings: Any) -> tuple[Server, RunningThread]:
        server = make_server(self.router, **settings)
        running = RunningThread(server.run)
        wait_until(lambda: server.is_running, "the server runs")
        self.addCleanup(stop, server)
        return server, running

    def test_a_handler_may_stop_the_server(self) -> None:
        """C5: its own answer is still sent, whichever thread it runs on."""
        for blocking in (True, False):
            with self.subTest(blocking=blocking):
                servers: list[Server] = []
                self.router = Router()
                self.router.register("/stop", blocking=blocking)(stopping(servers))
                server, running = self.run_server()
                servers.append(server)
                self.assertEqual(fetch(server, "GET", "/stop").text, "bye")
                running.join()

    def test_a_handler_may_stop_a_started_server(self) -> None:
        """C5, C6: it must not wait for itself."""
        for blocking in (True, False):
            with self.subTest(blocking=blocking):
                servers: list[Server] = []
                self.router = Router()
                self.router.register("/stop", blocking=blocking)(stopping(servers))
                server = self.serve()
                servers.append(server)
                self.assertEqual(fetch(server, "GET", "/stop").text, "bye")
                wait_until(lambda server=server: not server.is_running, "the server has stopped")

    def test_a_tcp_handler_may_stop_the_server(self) -> None:
        """C5."""

        @self.router.register("stop", protocol="tcp")
        def stop_it(request: Any) -> str:
            server.stop()
            return "bye"

        server, running = self.run_server(tcp_keep_alive=True)
        client = self.connect_tcp(server)
        client.send("stop\n")
        self.assertEqual(client.read_line(), "bye")
        client.expect_end()
        running.join()

    def test_a_task_may_stop_the_server(self) -> None:
        """C5."""

        @self.router.register("/later")
        def later(request: Any) -> str:
            request.bg.add(server.stop)
            return "later"

        server, running = self.run_server()
        self.assertEqual(fetch(server, "GET", "/later").text, "later")
        running.join()
        self.assertEqual(server.tasks.done, 1)

    def test_a_stream_may_stop_the_server(self) -> None:
        """C5: and is still sent to its end."""

        @self.router.register("/stream")
        def stream(request: Any) -> Any:
            yield "a"
            server.stop()
            yield "b"

        server, running = self.run_server()
        self.assertEqual(fetch(server, "GET", "/stream").text, "ab")
        running.join()

    def test_another_thread_may_stop_the_server_and_twice(self) -> None:
        """C5."""
        server, running = self.run_server()
        server.stop()
        server.stop()
        running.join()
        server.stop()
        self.assertFalse(server.is_running)

    def test_many_threads_may_stop_it_at_once(self) -> None:
        """C5."""
        server = make_server(self.router).start()
        stoppers = [RunningThread(server.stop) for _ in range(8)]
        for stopper in stoppers:
            stopper.join()
        self.assertFalse(server.is_running)

    def test_a_stop_before_run_makes_run_return_at_once(self) -> None:
        """C5: twice is like once."""
        server = make_server(self.router)
        server.stop()
        server.stop()
        RunningThread(server.run).join()
        self.assertFalse(server.is_running)
        self.assertIsNone(server.http_address)

    def test_a_stopped_server_can_be_run_again(self) -> None:
        self.router.register("/")(lambda request: "up")
        server = make_server(self.router)
        for _ in range(3):
            server.start()
            self.assertEqual(fetch(server, "GET", "/").text, "up")
            stop(server)

    def test_what_is_under_way_is_finished_and_what_is_new_refused(self) -> None:
        """C5: the graceful stop, with its answer, its stream and its task."""
        entered, release = threading.Event(), threading.Event()
        done = []

        @self.router.register("/slow")
        def slow(request: Any) -> str:
            request.bg.add(done.append, "task")
            entered.set()
            wait_for(release, "the test lets the handler go on")
            return "whole"

        server, running = self.run_server()
        idle = self.connect(server)
        idle.get("/nothing")
        client = self.connect(server)
        client.send_request("GET", "/slow")
        wait_for(entered, "the handler runs")
        server.stop()
        idle.expect_end()
        with self.assertRaises(ConnectionRefusedError):
            Client(server.http_address)
        release.set()
        answer = client.read_response()
        self.assertEqual((answer.status, answer.text), (200, "whole"))
        self.assertEqual(answer.get("Connection"), "close")
        client.expect_end()
        running.join()
        self.assertEqual(done, ["task"])

    def test_a_handler_that_never_ends_costs_no_more_than_the_grace(self) -> None:
        """C5: shutdown_timeout, and a line that says what was cut."""
        entered, release = threading.Event(), threading.Event()
        self.addCleanup(release.set)

        @self.router.register("/stuck")
        def stuck(request: Any) -> str:
            entered.set()
            release.wait(60)
            return ""

        server, running = self.run_server(shutdown_timeout=0.05)
        client = self.connect(server)
        client.send_request("GET", "/stuck")
        wait_for(entered, "the handler runs")
        server.stop()
        running.join()
        self.assertTrue(self.logs.find("1 connections were still busy"))

    def test_the_addresses_are_free_after_stop(self) -> None:
        """C5."""
        server = self.serve()
        addresses = server.http_address, server.tcp_address
        stop(server)
        for address in addresses:
            with self.assertRaises(ConnectionRefusedError):
                Client(address)

    def test_no_thread_and_no_descriptor_is_left(self) -> None:
        """C5."""
        self.router.register("/")(lambda request: "up")
        with socket.create_server(("127.0.0.1", 0)):
            pass
        threads = threading.enumerate()
        has_proc = os.path.isdir("/proc/self/fd")
        opened = descriptors() if has_proc else set()
        server = make_server(self.router).start()
        self.assertEqual(fetch(server, "GET", "/").text, "up")
        stop(server)
        wait_until(lambda: not new_threads(threads), "all threads have ended")
        if has_proc:
            left = {name for name in descriptors() - opened if "/proc" not in name}
            self.assertEqual(left, set())


@posix_only
class SignalTests(unittest.TestCase):
    def test_a_signal_stops_gracefully_and_the_handlers_are_put_back(self) -> None:
        """C5: SIGINT and SIGTERM; run() returns, and the program goes on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                source = program("""
import faulthandler
mine = lambda number, frame: None
signal.signal(signal.SIGTERM, mine)
near, far = socket.socketpair()
near.setblocking(False)
signal.set_wakeup_fd(near.fileno())

@router.register("/slow")
def slow(request):
    print("entered", flush=True)
    time.sleep(0.2)
    return "whole"

run()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) is mine
assert signal.set_wakeup_fd(-1) == near.fileno()
print("after run")
""")
                with Program(source) as process:
                    port = int(process.read_line())
                    with Client(("127.0.0.1", port)) as client:
                        client.send_request("GET", "/slow")
                        self.assertEqual(process.read_line(), "entered")
                        process.signal(number)
                        self.assertEqual(client.read_response().text, "whole")
                    self.assertEqual(process.finish(), (0, "after run\n", ""))

    def test_a_second_ctrl_c_stops_at_once(self) -> None:
        """C5: though a handler is still at work and has ten seconds of grace."""
        source = program("""
@router.register("/stuck")
def stuck(request):
    print("entered", flush=True)
    time.sleep(60)

run(shutdown_timeout=60)
print("after run")
""")
        with Program(source) as process:
            port = int(process.read_line())
            with Client(("127.0.0.1", port)) as client:
                client.send_request("GET", "/stuck")
                self.assertEqual(process.read_line(), "entered")
                process.signal(signal.SIGINT)
                # The listener is closed: the first signal has been acted on.
                wait_until(lambda: not accepts(port), "the port is closed")
                process.signal(signal.SIGINT)
                status, out, err = process.finish()
            self.assertEqual((status, out), (0, "after run\n"), err)

    def test_a_second_ctrl_c_gets_through_to_a_stuck_reactor(self) -> None:
        """C5: a handler that broke its promise never to block cannot keep the process."""
        source = program("""
@router.register("/stuck", blocking=False)
def stuck(request):
    print("entered", flush=True)
    time.sleep(60)

try:
    run()
except KeyboardInterrupt:
    print("interrupted")
""")
        with Program(source) as process:
            port = int(process.read_line())
            with Client(("127.0.0.1", port)) as client:
                client.send_request("GET", "/stuck")
                self.assertEqual(process.read_line(), "entered")
                process.signal(signal.SIGINT)
                wait_until(lambda: caught_up(process, signal.SIGINT), "the signal was taken")
                process.signal(signal.SIGINT)
                status, out, err = process.finish()
            self.assertEqual((status, out), (0, "interrupted\n"), err)

    def test_stop_may_be_called_in_a_signal_handler(self) -> None:
        """C5: of the user's own, for another signal."""
        source = program("""
signal.signal(signal.SIGUSR1, lambda number, frame: server.stop())
run()
print("after run")
""")
        with Program(source) as process:
            process.read_line()
            process.signal(signal.SIGUSR1)
            self.assertEqual(process.finish(), (0, "after run\n", ""))

    def test_signals_are_left_alone_outside_the_main_thread(self) -> None:
        """C5, C6."""
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        server = make_server().start()
        self.addCleanup(stop, server)
        now = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        self.assertEqual(now, before)

    def test_signals_are_put_back_in_the_main_thread(self) -> None:
        """C5: without a signal ever having come."""
        status, out, err = run_program(
            program("""
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

@router.register("/stop")
def stop(request):
    assert signal.getsignal(signal.SIGINT) != before[0]
    server.stop()
    return "bye"

def ask():
    while not server.is_running:
        time.sleep(0.001)
    with socket.create_connection(server.http_address) as sock:
        sock.sendall(b"GET /stop HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        assert b" 200 " in sock.recv(1000)

threading.Thread(target=ask, daemon=True).start()
server.run()
assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
assert signal.set_wakeup_fd(-1) == -1
""")
        )
        self.assertEqual((status, out, err), (0, "", ""))


def accepts(port: int) -> bool:
    try:
        Client(("127.0.0.1", port)).close()
    except ConnectionError:  # Refused; or reset, where it waited to be accepted at that moment.
        return False
    return True


def caught_up(process: Program, number: int) -> bool:
    """Tell whether a signal is no longer pending for the process. Linux; elsewhere assume it."""
    try:
        with open(f"/proc/{process.process.pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file)
    except OSError:
        return True
    return not (int(lines["ShdPnd"], 16) | int(lines["SigPnd"], 16)) & 1 << (number - 1)


class StartTests(ServerTestCase):
    def test_start_returns_once_the_ports_listen(self) -> None:
        """C6: in a background thread."""
        server = make_server(self.router)
        self.addCleanup(stop, server)
        self.assertIs(server.start(), server)
        for address in (server.http_address, server.tcp_address):
            Client(address).close()
        self.assertTrue(server.is_running)

    def test_with_starts_and_stops(self) -> None:
        """C6: also where the block raises."""
        self.router.register("/")(lambda request: "up")
        server = make_server(self.router)
        with self.assertRaises(ZeroDivisionError), server as same:
            self.assertIs(same, server)
            self.assertEqual(fetch(server, "GET", "/").text, "up")
            raise ZeroDivisionError
        self.assertFalse(server.is_running)
        with self.assertRaises(ConnectionRefusedError):
            Client(server.http_address)

    def test_an_error_of_start_reaches_the_caller(self) -> None:
        """C6, C4, C3."""
        server = make_server(self.router)
        with self.assertRaises(ConfigError):
            server.start(http_port=-1)
        with self.assertRaises(ValueError):
            server.start("smtp")

    def test_what_ends_the_thread_before_it_serves_is_raised_by_start(self) -> None:
        """C4, C6: and nothing is left: no port, no thread, no server that says it runs."""
        self.router.register("/")(lambda request: "up")
        for module, name in (
            (server_module.console, "attach"), (server_module.StopSignals, "install"),
            (server_module.Tracer, "install"), (Watchdog, "start"),
            (server_module.Server, "_announce"),
        ):  # fmt: skip
            for error in (OSError("no"), SystemExit(3)):
                for serve in ("start", "run"):
                    with self.subTest(f"{name} {error!r} {serve}"):
                        before, server = threading.enumerate(), make_server(self.router)
                        with mock.patch.object(module, name, side_effect=error):
                            with self.assertRaises(type(error)) as raised:
                                getattr(server, serve)(trace=True)
                        self.assertIs(raised.exception, error)
                        self.assertFalse(server.is_running)
                        self.assertEqual(new_threads(before), set())
                        for address in (server.http_address, server.tcp_address):
                            self.assertRaises(ConnectionRefusedError, Client, address)
                        server.start(trace=False)
                        self.addCleanup(stop, server)
                        self.assertEqual(fetch(server, "GET", "/").text, "up")
                        stop(server)

    def test_out_of_threads_start_raises_and_leaves_nothing(self) -> None:
        """C6."""
        server = make_server(self.router)
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("no thread")):
            with self.assertRaises(RuntimeError):
                server.start()
        self.assertFalse(server.is_running)
        self.assertRaises(ConnectionRefusedError, Client, server.http_address)


class NoStandardErrorTests(unittest.TestCase):
    """pythonw, ``2>&-``: there is nobody to tell, and the server serves."""

    SOURCE = """
import os, sys
from pyliteflux import Server, Router, Logger
from tests.support import Client

router = Router()

@router.register("/fails")
@router.register("/fails-inline", blocking=False)
def index(request):
    Logger.error("the user says %s", "hello")
    1 / 0

FIRST
with Server(router=router, http_port=0, tcp_port=0) as server:
    LATER
    for path in ("/fails", "/fails-inline", "/nowhere"):
        with Client(server.http_address) as client:
            print(client.get(path).status)
"""

    def test_it_serves_and_is_silent(self) -> None:
        """C7."""
        for close in ("sys.stderr = None", "sys.stderr.close()",
                      "sys.stderr = open(os.devnull); sys.stderr.close()"):  # fmt: skip
            for place in ("LATER", "FIRST"):
                with self.subTest(f"{place} {close}"):
                    source = self.SOURCE.replace(place, close)
                    source = source.replace("LATER", "pass").replace("FIRST", "pass")
                    status, out, _ = run_program(source)
                    self.assertEqual((status, out), (0, "500\n500\n404\n"))

    @posix_only
    def test_it_was_closed_before_python_began(self) -> None:
        source = self.SOURCE.replace("LATER", "pass").replace("FIRST", "pass")
        for closed in ("2>&-", "2>&- <&-"):
            command = f'exec "$1" -c "$2" {closed}'
            done = subprocess.run(
                ["sh", "-c", command, "sh", sys.executable, source],
                cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60,
            )  # fmt: skip
            self.assertEqual((done.returncode, done.stdout), (0, "500\n500\n404\n"))


class StuckLogTests(ServerTestCase):
    """X2: a log that nobody reads holds the thread that writes it, and nobody else."""

    def setUp(self) -> None:
        super().setUp()

        @self.router.register("/fails")
        @self.router.register("/fails-inline", blocking=False)
        def fails(request: Any) -> Any:
            Logger.info("the user's %s", request.path_params)
            raise ValueError(request.query_string)

        self.router.register("/up")(lambda request: "up")

    def stick(self) -> tuple[threading.Event, threading.Event]:
        """Add a handler that is stuck; return what says that it is, and what frees it."""
        is_stuck, may_go_on = threading.Event(), threading.Event()

        class Stuck(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                is_stuck.set()
                wait_for(may_go_on, "the log is read again")

        handler, logger = Stuck(), logging.getLogger("pyliteflux")
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        self.addCleanup(may_go_on.set)
        return is_stuck, may_go_on

    def test_more_failures_than_there_are_workers(self) -> None:
        """`stderr_stuck`: on the reactor thread and on workers; all lines are there later."""
        server = self.serve(worker_threads=2, access_log=True, info=True)
        is_stuck, may_go_on = self.stick()
        for number in range(20):
            for path in ("/fails", "/fails-inline"):
                answer = fetch(server, "GET", f"{path}?number={number}")
                self.assertEqual(answer.status, 500)
        self.assertEqual(fetch(server, "GET", "/up").text, "up")
        wait_for(is_stuck, "the handler is stuck")
        may_go_on.set()
        text = "\n".join(self.logs.lines())
        places = [text.index(f"number={number}\n") for number in range(20)]
        self.assertEqual(places, sorted(places))
        self.assertEqual(text.count("Traceback"), 40)
        self.assertEqual(text.count("the user's"), 40)
        self.assertEqual(text.count('" 500 '), 40)

    def test_what_does_not_fit_is_counted(self) -> None:
        server = self.serve(log_queue_limit=3, access_log=False)
        is_stuck, may_go_on = self.stick()
        for _ in range(20):
            self.assertEqual(fetch(server, "GET", "/fails-inline").status, 500)
        wait_for(is_stuck, "the handler is stuck")
        may_go_on.set()
        found = self.logs.wait_for("log lines were dropped")
        self.assertRegex(found, "^[0-9]+ log lines were dropped")

    def test_handlers_and_filters_see_what_they_did(self) -> None:
        """The exception, the thread, the place, and what is the request's: `g`."""
        seen = []

        class Filter(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                seen.append((record.threadName, record.funcName, g.user, record.exc_info))
                return True

        @self.router.register("/user")
        def handler(request: Any) -> Any:
            g.user = "ada"
            try:
                raise ValueError("inside")
            except ValueError:
                Logger.exception("failed")
            return "up"

        handler_, logger = logging.NullHandler(), logging.getLogger("pyliteflux.app")
        handler_.handle = Filter().filter  # type: ignore[assignment,method-assign]
        logger.addHandler(handler_)
        self.addCleanup(logger.removeHandler, handler_)
        server = self.serve()
        self.assertEqual(fetch(server, "GET", "/user").text, "up")
        self.logs.wait_for("failed")
        ((thread, function, user, exc_info),) = seen
        self.assertRegex(thread or "", "^pyliteflux-worker-")
        self.assertEqual((function, user), ("handler", "ada"))
        self.assertIsInstance((exc_info or (None, None))[1], ValueError)

    @posix_only
    def test_a_pipe_that_nobody_reads(self) -> None:
        """`stderr_stuck`: it serves, and a signal ends it in good order."""
        source = (
            PROGRAM.replace("info=False", "info=True")
            + """
@router.register("/fails")
@router.register("/fails-inline", blocking=False)
def fails(request):
    Logger.error("x" * 1000)
    1 / 0

run(worker_threads=2)
print("ended", flush=True)
"""
        )
        with Program(source) as process:
            port = int(process.read_line())
            with Client(("127.0.0.1", port)) as client:
                for _ in range(100):  # 64 KiB fill the pipe.
                    for path in ("/fails", "/fails-inline", "/nowhere"):
                        self.assertGreaterEqual(client.get(path).status, 404)
            process.signal(signal.SIGTERM)
            self.assertEqual(process.read_line(), "ended")
            self.assertEqual(process.process.wait(DEADLINE), 0)


class ConsoleTests(unittest.TestCase):
    SOURCE = """
import logging, sys
from pyliteflux import Server, Router, Logger
from tests.support import Client

router = Router()

@router.register("/")
def index(request):
    Logger.info("the user says %s", "hello")
    print("the user prints")
    return "up"

server = Server(router=router, http_port=0, tcp_port=0, INFO)
with server:
    with Client(server.http_address) as client:
        client.get("/")
"""

    def test_info_true_shows_what_the_framework_does(self) -> None:
        """C7: where it serves, each request, and that it has stopped."""
        status, out, err = run_program(self.SOURCE.replace("INFO", "info=True"))
        self.assertEqual((status, out), (0, "the user prints\n"), err)
        lines = err.splitlines()
        self.assertEqual(len([line for line in lines if "serving HTTP on http://" in line]), 1)
        self.assertEqual(len([line for line in lines if '"GET /" 200 2 ' in line]), 1, err)
        self.assertEqual(len([line for line in lines if "the user says hello" in line]), 1)
        self.assertTrue(lines[-1].endswith("stopped"), err)
        self.assertNotIn("\x1b", err)

    def test_info_false_silences_the_framework_and_not_the_user(self) -> None:
        """C7."""
        status, out, err = run_program(self.SOURCE.replace("INFO", "info=False"))
        self.assertEqual((status, out), (0, "the user prints\n"), err)
        (line,) = err.splitlines()
        self.assertIn("INFO", line)
        self.assertTrue(line.endswith("the user says hello"), line)

    def test_info_false_silences_run_as_well(self) -> None:
        """C7: nothing at all on either stream."""
        with Program(program("run()\n")) as process:
            port = int(process.read_line())
            with Client(("127.0.0.1", port)) as client:
                client.get("/nothing")
            if os.name == "posix":
                process.signal(signal.SIGTERM)
                self.assertEqual(process.finish(), (0, "", ""))

    def test_a_traceback_shows_even_with_info_false(self) -> None:
        """C7, A5: a handler that fails is not the framework chatting."""
        status, out, err = run_program(
            self.SOURCE.replace("INFO", "info=False").replace('return "up"', "1 / 0")
        )
        self.assertEqual(status, 0, err)
        self.assertIn("ZeroDivisionError", err)

    def test_the_log_handler_is_taken_away_again(self) -> None:
        """C7, N1."""
        logger = logging.getLogger("pyliteflux")
        before = list(logger.handlers)
        server = make_server().start()
        stop(server)
        self.assertEqual(logger.handlers, before)


class TwoServersTests(ServerTestCase):
    def test_two_servers_run_in_one_process(self) -> None:
        """C8: with routes, settings, middlewares and clients of their own."""
        other_router = Router()
        self.router.register("/who")(lambda request: "one")
        other_router.register("/who")(lambda request: "two")
        other_router.register("/two")(lambda request: "two")
        one = self.serve(tcp_keep_alive=True)
        two = make_server(other_router, max_body_size=5, tcp_keep_alive=True)
        two.start()
        self.addCleanup(stop, two)
        self.assertEqual(fetch(one, "GET", "/who").text, "one")
        self.assertEqual(fetch(two, "GET", "/who").text, "two")
        self.assertEqual(fetch(one, "GET", "/two").status, 404)
        self.assertEqual(fetch(two, "POST", "/who", b"123456").status, 413)
        self.assertEqual(fetch(one, "POST", "/who", b"123456").status, 405)
        self.connect_tcp(one)
        wait_until(lambda: len(one.clients) == 1, "the client is known")
        self.assertEqual(len(two.clients), 0)
        self.assertEqual(two.push_message("hi"), 0)
        stop(two)
        self.assertEqual(fetch(one, "GET", "/who").text, "one")

    def test_a_handler_of_one_may_stop_the_other(self) -> None:
        """C5, C8: and the other has stopped when stop() returns."""
        seen = []

        @self.router.register("/stop-other")
        def stop_other(request: Any) -> str:
            two.stop()
            seen.append(two.is_running)
            return "done"

        one = self.serve()
        two = make_server(Router()).start()
        self.addCleanup(stop, two)
        self.assertEqual(fetch(one, "GET", "/stop-other").text, "done")
        self.assertEqual(seen, [False])

    def test_servers_share_the_default_registry(self) -> None:
        """R5, C8."""
        previous = Route.default
        Route.default = Router()
        self.addCleanup(setattr, Route, "default", previous)
        one, two = (Server(http_port=0, tcp_port=0, info=False) for _ in range(2))
        Route.register("/shared")(lambda request: "both")
        for server in (one, two):
            server.start()
            self.addCleanup(stop, server)
            self.assertEqual(fetch(server, "GET", "/shared").text, "both")

    def test_the_console_speaks_while_one_of_them_does(self) -> None:
        """C7, C8."""
        status, _, err = run_program(
            """
from pyliteflux import Logger, Router, Server
quiet = Server(router=Router(), http_port=0, tcp_port=0, info=False)
loud = Server(router=Router(), http_port=0, tcp_port=0, info=True)
with quiet, loud:
    Logger.info("both run")
"""
        )
        self.assertEqual(status, 0, err)
        self.assertIn("serving HTTP", err)
        self.assertEqual(err.count("both run"), 1)


class LoggerTests(unittest.TestCase):
    def test_logger_works_without_a_server(self) -> None:
        with self.assertLogs("pyliteflux.app", "INFO") as caught:
            Logger.info("hello %s", "you")
        self.assertEqual(caught.records[0].getMessage(), "hello you")


if __name__ == "__main__":
    unittest.main()
