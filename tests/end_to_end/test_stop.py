"""The graceful stop, word by word: what ends at once, what is finished, what is cut and named.

Programs are stopped with real signals; `stop` is called from wherever a program can call it.
Limits rows 32 to 37. Contract B3, C5.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import unittest
from typing import Any

from pyliteflux import EventStream, Middleware
from tests.support import (
    Client,
    CutShort,
    Program,
    ServerTestCase,
    fetch,
    is_closed,
    make_server,
    run_program,
    stop,
    wait_for,
    wait_until,
)

# What each program begins with. It prints its ports, and what happens in its handlers.
BEGINNING = """
import atexit, os, signal, socket, sys, threading, time
from pyliteflux import EventStream, Router, Server, StreamResponse

router = Router()
server = Server(router=router, http_port=0, tcp_port=0, info=False, tcp_keep_alive=True)
server.config.slow_callback_ms = 60_000  # A busy machine is none of what is tested here.

def say(*words):
    print(*words, flush=True)

def tell():
    while not server.is_running:
        time.sleep(0.001)
    say(server.http_address[1], server.tcp_address[1])

def run(**settings):
    threading.Thread(target=tell, daemon=True).start()
    server.run(**settings)
    say("after run")

# A handler waits until a file descriptor is ready: nobody has to guess how long.
class Gate:
    def __init__(self):
        self.out, self.into = os.pipe()
    def wait(self):
        os.read(self.out, 1)
    def open(self):
        os.write(self.into, b"g" * 100)

gate = Gate()

@router.register("/")
def index(request):
    return "ok"

@router.register("/slow")
def slow(request):
    say("entered", request.path)
    gate.wait()
    return "whole"

@router.register("/stuck")
def stuck_in_a_handler(request):
    say("entered", request.path)
    while True:
        time.sleep(60)

@router.register("/open", blocking=False)
def open_gate(request):
    gate.open()
    return "open"

@router.register("slow", protocol="tcp")
def slow_command(request):
    say("entered", request.command)
    gate.wait()
    return {"whole": True}

"""

posix_only = unittest.skipUnless(os.name == "posix", "signals are sent to a process")


class ProgramCase(unittest.TestCase):
    def start(self, source: str) -> Program:
        """Run a program; its ports are in `http` and `tcp`."""
        program = Program(BEGINNING + source)
        program.__enter__()
        self.addCleanup(program.__exit__, None, None, None)
        self.http, self.tcp = (("127.0.0.1", int(port)) for port in program.read_line().split())
        return program

    def client(self, address: Any = None, **options: Any) -> Client:
        client = Client(self.http if address is None else address, **options)
        self.addCleanup(client.close)
        return client

    def stop_and_see_it_stopping(self, program: Program, number: int = signal.SIGTERM) -> None:
        program.signal(number)
        wait_until(lambda: is_closed(self.http) and is_closed(self.tcp), "it has closed")


@posix_only
class Graceful(ProgramCase):
    def test_the_ports_are_closed_at_once_and_what_was_begun_is_finished(self) -> None:
        program = self.start(
            """
def open_when_it_stops():
    while server._runtime is None or not server._runtime.is_stopping:
        time.sleep(0.001)
    time.sleep(0.1)  # The idle ones are to be closed before that.
    gate.open()

threading.Thread(target=open_when_it_stops, daemon=True).start()
run()
"""
        )
        idle, begun, command = self.client(), self.client(), self.client(self.tcp)
        self.assertEqual(idle.get("/").get("Connection"), None)
        begun.send_request("GET", "/slow")
        self.assertEqual(program.read_line(), "entered /slow")
        command.send('{"command": "slow", "id": 7}\n')
        self.assertEqual(program.read_line(), "entered slow")
        silent = self.client(self.tcp)
        silent.send('{"command": "nothing"}\n')
        silent.read_line()
        program.signal(signal.SIGTERM)
        wait_until(lambda: is_closed(self.http) and is_closed(self.tcp), "it has closed")
        idle.expect_end()
        closing = json.loads(silent.read_line())
        self.assertEqual((closing["type"], closing["reason"]), ("closing", "shutdown"))
        silent.expect_end()
        answer = begun.read_response()
        self.assertEqual((answer.text, answer.get("Connection")), ("whole", "close"))
        begun.expect_end()
        self.assertEqual(json.loads(command.read_line()), {"whole": True, "id": 7})
        self.assertEqual(json.loads(command.read_line())["reason"], "shutdown")
        command.expect_end()
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_each_kind_of_client_is_told_in_its_own_words(self) -> None:
        program = self.start(
            """
@router.register("/events")
def events(request):
    return EventStream("news")

server.allow_subscribe("news")
run()
"""
        )
        xml, lines, listener = (self.client(self.tcp) for _ in range(3))
        browser = self.client()
        xml.send("<request command='none'></request>\n")
        xml.read_line()
        lines.send("none\n")
        lines.read_line()
        listener.send("subscribe news\n")
        while "ok" not in listener.read_line():
            pass
        browser.send_request("GET", "/events")
        browser.read_head()
        browser.read_chunk()
        program.signal(signal.SIGTERM)
        self.assertRegex(xml.read_line(), '<closing .*reason="shutdown"')
        xml.expect_end()
        lines.expect_end()  # A client that speaks lines would take it for an answer.
        self.assertIn('"shutdown"', listener.read_line())
        listener.expect_end()
        self.assertIn(b'"reason": "shutdown"', browser.read_chunk())
        self.assertEqual(browser.read_chunk(), b"")
        browser.expect_end()
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_a_request_behind_another_is_not_begun_and_half_a_first_one_is_finished(self) -> None:
        """Contract X3."""
        program = self.start("run()")
        client = self.client()
        opener = self.client()
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        self.assertEqual(program.read_line(), "entered /slow")
        opener.send(b"GET /ope")
        self.stop_and_see_it_stopping(program)
        opener.send(b"n HTTP/1.1\r\nHost: a\r\n\r\n")
        for asker, text in ((opener, "open"), (client, "whole")):
            answer = asker.read_response()
            self.assertEqual((answer.text, answer.get("Connection")), (text, "close"))
            asker.expect_end()
            asker.close()
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_a_stream_goes_on_to_its_end(self) -> None:
        program = self.start(
            """
@router.register("/stream")
def stream(request):
    yield "first"
    while not server._runtime.is_stopping:
        time.sleep(0.001)
    yield "second"
    yield "x" * 3_000_000

run()
"""
        )
        client = self.client(receive_buffer=4096)
        client.send_request("GET", "/stream")
        client.read_head()
        self.assertEqual(client.read_chunk(), b"first")
        self.stop_and_see_it_stopping(program)
        self.assertEqual(client.read_chunk(), b"second")
        self.assertEqual(len(client.read_chunk()), 3_000_000)
        self.assertEqual(client.read_chunk(), b"")
        client.expect_end()
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_queued_pushes_are_sent_before_the_goodbye(self) -> None:
        program = self.start(
            """
server.config.tcp_send_limit = 50_000_000

@router.register("/push", blocking=False)
def push(request):
    for number in range(200):
        server.push_message({"n": number, "fill": "f" * 50_000})
    os.kill(os.getpid(), signal.SIGTERM)
    return "pushed"

run()
"""
        )
        listener = self.client(self.tcp, receive_buffer=4096)
        listener.send('{"command": "none"}\n')
        listener.read_line()
        with self.client() as client:
            client.send_request("GET", "/push")
            client.read_response()
        wait_until(lambda: is_closed(self.http), "it has closed")
        numbers = [json.loads(listener.read_line())["data"]["n"] for _ in range(200)]
        self.assertEqual(numbers, list(range(200)))
        self.assertEqual(json.loads(listener.read_line())["reason"], "shutdown")
        listener.expect_end()
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_running_tasks_and_handlers_whose_client_has_left_are_waited_for(self) -> None:
        program = self.start(
            """
def task():
    say("task begun")
    while not server._runtime.is_stopping:
        time.sleep(0.001)
    time.sleep(0.05)
    say("task done")

@router.register("/task")
def add(request):
    request.bg.add(task)
    return "added"

@router.register("/order")
def order(request):
    say("entered", request.path)
    while not request.gone or not server._runtime.is_stopping:
        time.sleep(0.001)
    time.sleep(0.1)
    say("ordered")

run()
"""
        )
        leaver = self.client()
        leaver.send_request("GET", "/order")
        self.assertEqual(program.read_line(), "entered /order")
        leaver.reset()
        with self.client() as client:
            client.get("/task")
        self.assertEqual(program.read_line(), "task begun")
        program.signal(signal.SIGTERM)
        status, out, err = program.finish()
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(sorted(out.split("\n")), ["", "after run", "ordered", "task done"])
        self.assertTrue(out.endswith("after run\n"))

    def test_sigint_does_the_same(self) -> None:
        program = self.start("run()")
        client = self.client()
        client.get("/")
        program.signal(signal.SIGINT)
        client.expect_end()
        self.assertEqual(program.finish(), (0, "after run\n", ""))


@posix_only
class Abandoned(ProgramCase):
    SOURCE = """
def endless_task():
    say("entered task")
    while True:
        time.sleep(60)

def never_begun():
    pass

@router.register("/task")
def add(request):
    request.bg.add(endless_task)
    for _ in range(3):
        request.bg.add(never_begun)
    return "added"

@router.register("/stream/{name}")
def stream(request):
    yield "begun"
    say("entered", request.path)
    while True:
        time.sleep(60)

@router.register("stuck", protocol="tcp")
def stuck_in_a_command(request):
    say("entered", request.command)
    while True:
        time.sleep(60)

run(shutdown_timeout=GRACE, task_workers=1)
"""

    def occupy(self, grace: float) -> Program:
        """Start what will not end: a request, a stream, a command, a task."""
        program = self.start(self.SOURCE.replace("GRACE", str(grace)))
        asker, reader, command = self.client(), self.client(), self.client(self.tcp)
        asker.send_request("GET", "/stuck")
        self.assertEqual(program.read_line(), "entered /stuck")
        reader.send_request("GET", "/stream/name")
        self.assertEqual(program.read_line(), "entered /stream/name")
        command.send("stuck\n")
        self.assertEqual(program.read_line(), "entered stuck")
        with self.client() as client:
            client.get("/task")
        self.assertEqual(program.read_line(), "entered task")
        self.reader = reader
        return program

    def expect_names(self, err: str) -> None:
        for name in (
            "GET /stuck",
            "in stuck_in_a_handler",
            "GET /stream/name",
            "TCP stuck",
            "in stuck_in_a_command",
            "task endless_task is still running",
            "never_begun, never_begun, never_begun",
        ):
            self.assertIn(name, err)
        self.assertEqual(err.count("in stuck_in_a_handler"), 1, "said once")

    def test_after_the_grace_it_is_cut_and_named_and_the_status_is_0(self) -> None:
        program = self.occupy(0.1)
        program.signal(signal.SIGTERM)
        status, out, err = program.finish()
        self.assertEqual((status, out), (0, "after run\n"), err)
        self.expect_names(err)
        self.assertIn("after 0.1 s", err)
        self.reader.read_head()
        self.assertEqual(self.reader.read_chunk(), b"begun")
        with self.assertRaises(CutShort):  # A body cut short does not look complete.
            self.reader.read_chunk()

    def test_a_second_signal_ends_it_at_once_and_the_names_are_said_too(self) -> None:
        program = self.occupy(600)
        self.stop_and_see_it_stopping(program)
        program.signal(signal.SIGTERM)
        status, out, err = program.finish()
        self.assertEqual((status, out), (0, "after run\n"), err)
        self.expect_names(err)
        self.assertIn("when told to stop at once", err)

    def test_where_nothing_is_abandoned_nothing_is_said(self) -> None:
        program = self.start("run()")
        with self.client() as client:
            client.get("/")
            self.assertEqual(self.client().get("/").status, 200)
        program.signal(signal.SIGTERM)
        self.assertEqual(program.finish(), (0, "after run\n", ""))


class InTheKernel(ServerTestCase):
    def test_what_it_has_accepted_while_the_reactor_was_held_is_answered(self) -> None:
        """Contract X3: new clients, kept ones, TCP; none is reset, none sees an end alone."""
        server = make_server(self.router)
        is_held, release = threading.Event(), threading.Event()

        @self.router.register("/hold", blocking=False)
        def hold(request: Any) -> str:
            is_held.set()
            wait_for(release, "the reactor is let go")
            return "held"

        @self.router.register("/size", ["GET", "POST"], "both")
        def size(request: Any) -> str:
            return f"{len(request.body)}"

        server.config.slow_callback_ms = 60_000
        server.start()
        self.addCleanup(stop, server)
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)

        def connect(address: Any) -> Client:
            return stack.enter_context(Client(address))

        clients = [connect(server.http_address) for _ in range(4)]
        clients[0].get("/size")
        holder = connect(server.http_address)
        holder.send_request("GET", "/hold")
        wait_for(is_held, "the reactor is held")
        clients += [connect(server.http_address) for _ in range(4)]
        talkers = [connect(server.tcp_address) for _ in range(4)]
        for number, client in enumerate(clients):
            client.send_request(("GET", "POST")[number % 2], "/size", (None, b"body")[number % 2])
        for talker in talkers:
            talker.send("size\n")
        assert server._runtime is not None
        server._runtime.reactor.call_soon_threadsafe(server._runtime.begin_stop)
        release.set()
        self.assertEqual(holder.read_response().text, "held")
        for number, client in enumerate(clients):
            answer = client.read_response()
            self.assertEqual(answer.text, ("0", "4")[number % 2])
            self.assertEqual(answer.get("Connection"), "close")
        for talker in talkers:
            self.assertEqual(talker.read_line(), "4")  # The message itself.
        for client in (holder, *clients, *talkers):
            client.expect_end()


class FromAnywhere(ServerTestCase):
    """`stop` never waits for a thread that waits for it."""

    def end_of(self, server: Any) -> None:
        wait_until(lambda: not server.is_running, "the server has stopped")

    def test_from_a_middleware(self) -> None:
        for phase in ("process_request", "process_response", "on_finish"):
            with self.subTest(phase):
                server = make_server(self.router)

                def call(*arguments: Any, server: Any = server) -> Any:
                    server.stop()
                    return arguments[1] if len(arguments) == 2 else None

                middleware = Middleware()
                setattr(middleware, phase, call)
                server.add_middleware(middleware)
                self.router.register("/")(lambda request: "ok")
                server.start()
                self.addCleanup(stop, server)
                self.assertEqual(fetch(server, "GET", "/").text, "ok")
                self.end_of(server)

    def test_from_the_close_of_an_event_stream(self) -> None:
        server = make_server(self.router)

        @self.router.register("/events")
        def events(request: Any) -> EventStream:
            return EventStream(on_close=server.stop)

        server.start()
        self.addCleanup(stop, server)
        with Client(server.http_address) as client:
            client.send_request("GET", "/events")
            client.read_head()
            client.reset()
        self.end_of(server)

    def test_from_a_handler_on_the_reactor_thread(self) -> None:
        server = make_server(self.router)

        @self.router.register("/stop", blocking=False)
        def stop_it(request: Any) -> str:
            server.stop()
            return "bye"

        server.start()
        self.addCleanup(stop, server)
        self.assertEqual(fetch(server, "GET", "/stop").text, "bye")
        self.end_of(server)

    def test_from_the_finally_of_a_generator_whose_client_has_left(self) -> None:
        server = make_server(self.router)

        @self.router.register("/stream")
        def stream(request: Any) -> Any:
            try:
                while True:
                    yield "x" * 1000
            finally:
                server.stop()

        server.start()
        self.addCleanup(stop, server)
        with Client(server.http_address) as client:
            client.send_request("GET", "/stream")
            client.read_head()
            client.reset()
        self.end_of(server)

    def test_from_the_hooks_of_a_client(self) -> None:
        server = make_server(self.router, tcp_keep_alive=True)
        server.on_connect(lambda client: None)

        @server.on_disconnect
        def left(client: Any, reason: Any) -> None:
            server.stop()

        server.start()
        self.addCleanup(stop, server)
        with Client(server.tcp_address) as client:
            client.send('{"command": "none"}\n')
            client.read_line()
        self.end_of(server)

    def test_from_a_thread_that_a_handler_waits_for(self) -> None:
        """It deadlocks no longer than the grace: the handler is cut."""
        server = make_server(self.router, shutdown_timeout=0.1)
        done = threading.Event()

        @self.router.register("/stop")
        def stop_it(request: Any) -> str:
            thread = threading.Thread(target=lambda: (server.stop(), done.set()))
            thread.start()
            thread.join()
            return "too late"

        server.start()
        self.addCleanup(stop, server)
        with Client(server.http_address) as client:
            client.send_request("GET", "/stop")
            wait_for(done, "stop() has returned")
        self.assertFalse(server.is_running)

    @posix_only
    def test_at_exit(self) -> None:
        """Of a program whose server runs in the background: what was begun is finished."""
        source = """
atexit.register(lambda: say("stopped", server.is_running))
atexit.register(server.stop)
server.start()
with socket.create_connection(server.http_address) as sock:
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    say(sock.recv(100)[:15])
"""
        self.assertEqual(
            run_program(BEGINNING + source), (0, "b'HTTP/1.1 200 OK'\nstopped False\n", "")
        )

    @posix_only
    def test_without_a_stop_the_end_of_the_program_is_the_end(self) -> None:
        """Daemon threads: neither the server nor a stuck handler holds the process."""
        source = """
server.start()
sock = socket.create_connection(server.http_address)
sock.sendall(b"GET /stuck HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
while server.stats["worker_threads"] == 0:
    time.sleep(0.001)
sock.close()
"""
        status, out, err = run_program(BEGINNING + source)
        self.assertEqual((status, err), (0, ""))

    @posix_only
    def test_a_handler_that_never_returns_does_not_hold_the_process(self) -> None:
        source = """
def ask():
    sock = socket.create_connection(server.http_address)
    sock.sendall(b"GET /stuck HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    while not server.stats["worker_threads"]:
        time.sleep(0.001)
    server.stop()

threading.Thread(target=lambda: (time.sleep(0.1), ask()), daemon=True).start()
server.run(shutdown_timeout=0.1)
say("after run")
"""
        status, out, err = run_program(BEGINNING + source)
        self.assertEqual((status, out), (0, "entered /stuck\nafter run\n"))
        self.assertIn("in stuck_in_a_handler", err)


@posix_only
class OtherSignals(ProgramCase):
    def test_signals_that_mean_nothing_to_us_disturb_nobody(self) -> None:
        program = self.start("signal.signal(signal.SIGWINCH, lambda *_: None)\nrun()")
        client = self.client()
        for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGWINCH):
            program.signal(number)
            self.assertEqual(client.get("/").text, "ok")
        program.signal(signal.SIGTERM)
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_a_stopped_and_continued_process_goes_on(self) -> None:
        program = self.start("run()")
        client = self.client()
        client.get("/")
        program.signal(signal.SIGSTOP)
        client.send_request("GET", "/")
        program.signal(signal.SIGCONT)
        self.assertEqual(client.read_response().text, "ok")
        program.signal(signal.SIGTERM)
        self.assertEqual(program.finish(), (0, "after run\n", ""))

    def test_a_signal_in_the_middle_of_a_large_answer_loses_no_byte(self) -> None:
        program = self.start(
            """
signal.signal(signal.SIGUSR1, lambda *_: None)

@router.register("/big")
def big(request):
    return b"b" * 20_000_000

run()
"""
        )
        client = self.client(receive_buffer=4096)
        client.send_request("GET", "/big")
        client.read_head()
        for _ in range(200):
            program.signal(signal.SIGUSR1)
            client.read_exactly(100_000)
        program.signal(signal.SIGTERM)
        client.expect_end()
        self.assertEqual(program.finish(), (0, "after run\n", ""))


@posix_only
class KilledAndStartedAgain(ProgramCase):
    def test_the_port_of_a_killed_server_can_be_had_at_once(self) -> None:
        program = self.start("run()")
        client = self.client()
        client.get("/")
        program.signal(signal.SIGKILL)
        program.process.wait(10)
        server = make_server(http_port=self.http[1])
        server.start()
        stop(server)


@unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
class Fork(unittest.TestCase):
    def test_before_run_two_processes_may_serve_with_one_server_object(self) -> None:
        source = """
sock = socket.create_server(("127.0.0.1", 0))
port = sock.getsockname()[1]
sock.close()
server.config.update(http_port=port, reuse_port=True)
child = os.fork()
if child == 0:
    threading.Thread(target=lambda: (time.sleep(0.2), server.stop()), daemon=True).start()
    server.run("http")
    os._exit(7)
threading.Thread(target=lambda: (time.sleep(0.3), server.stop()), daemon=True).start()
server.run("http")
say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
        self.assertEqual(run_program(BEGINNING + source), (0, "7\n", ""))

    def test_a_child_of_a_running_server_holds_neither_ports_nor_connections(self) -> None:
        """A handler that uses multiprocessing: the children outlive what they were forked from.

        Else nobody could listen on the port again, and a client whose connection we close would
        see no end of it, as long as the child works.
        """
        source = """
server.start()
clients = [socket.create_connection(a) for a in (server.http_address, server.tcp_address)]
clients[0].sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
assert clients[0].recv(1000).startswith(b"HTTP/1.1 200 OK")
while server.stats["connections"] < 2:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
# A client that has sent its FIN already: then close() alone is to tell it of the end.
clients[1].sendall(b"none\\n")
clients[1].shutdown(socket.SHUT_WR)
addresses = server.http_address, server.tcp_address
server.stop()
for client in clients:
    client.settimeout(10)
    while client.recv(1000):
        pass
for address in addresses:
    try:
        socket.create_connection(address, 1)
        say("somebody listens")
    except ConnectionRefusedError:
        pass
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
say("all closed")
"""
        quiet = "import warnings\nwarnings.simplefilter('ignore')\n"  # Of forks and threads.
        status, out, err = run_program(quiet + BEGINNING + source)
        self.assertEqual((status, out, err), (0, "all closed\n", ""))

    def test_a_child_of_a_running_server_does_not_take_its_events(self) -> None:
        """Not supported is not the same as harmful: the parent goes on."""
        source = """
server.start("http")
child = os.fork()
if child == 0:
    time.sleep(30)
    os._exit(0)
for _ in range(20):
    with socket.create_connection(server.http_address) as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
server.stop()
say("all answered")
"""
        quiet = "import warnings\nwarnings.simplefilter('ignore')\n"  # Of forks and threads.
        status, out, err = run_program(quiet + BEGINNING + source)
        self.assertEqual((status, out, err), (0, "all answered\n", ""))


if __name__ == "__main__":
    unittest.main()
