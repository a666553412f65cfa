"""Faults over real sockets and threads: a second client must never notice the first.

The state machines' own tests are in tests/server.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import Server, StreamResponse
from pyliteflux.server.connections import UNSENT_LIMIT
from tests.support import (
    DEADLINE,
    Client,
    ServerTestCase,
    fetch,
    new_threads,
    running_server,
    wait_for,
    wait_until,
)

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


LARGE = 16 * 1024 * 1024


class FaultCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.release = threading.Event()
        self.addCleanup(self.release.set)
        self.closed: list[int] = []

        @self.router.register("/", ["GET", "POST"])
        def index(request: Any) -> str:
            return "ok"

        @self.router.register("/large", protocol="http")
        @self.router.register("large", protocol="tcp")
        def large(request: Any) -> str:
            return "l" * LARGE

        @self.router.register("/now", blocking=False)
        def now(request: Any) -> str:
            return "now"

        @self.router.register("/wait")
        def wait(request: Any) -> str:
            wait_for(self.release, "the release")
            return "waited"

        @self.router.register("/stream")
        def stream(request: Any) -> StreamResponse:
            def pieces() -> Iterator[bytes]:
                try:
                    for _ in range(100):
                        yield b"s" * 50_000
                finally:
                    self.closed.append(1)

            return StreamResponse(pieces())

        @self.router.register("echo", protocol="tcp")
        def echo(request: Any) -> Any:
            return request.data


class Storms(FaultCase):
    def test_clients_that_reset_at_any_moment_leave_nothing_behind(self) -> None:
        with running_server(self.router, tcp_keep_alive=True) as server:
            fetch(server, "GET", "/stream")
            runtime = server._runtime
            assert runtime is not None
            wait_until(lambda: server.stats["connections"] == 0, "the first client is gone")
            descriptors = open_descriptors()
            chance = random.Random(7)
            beginnings = [
                b"",
                b"GE",
                GET,
                GET * 20,
                b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nx",
                b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
                b"\0\r\n\r\n",
            ]
            for _ in range(300):
                is_tcp = chance.random() < 0.25
                data = chance.choice([b"", b"ec", b"echo a\n"] if is_tcp else beginnings)
                client = Client(server.tcp_address if is_tcp else server.http_address)
                client.send(data)
                if chance.random() < 0.3 and data.endswith(b"\n") and b"Length" not in data:
                    self.assertTrue(client.receive(), "it was owed an answer")
                client.reset() if chance.random() < 0.8 else client.close()
            self.assertEqual(fetch(server, "GET", "/").text, "ok")
            wait_until(
                lambda: server.stats["connections"] == 0 and open_descriptors() <= descriptors,
                "descriptors are back to the base",
            )
            wait_until(lambda: runtime.pools.streams.running == 0, "no generator is left running")
            self.assertEqual(self.logs.find("Traceback"), [])

    def test_garbage_hurts_nobody_else(self) -> None:
        server = self.serve()
        chance = random.Random(11)
        witness = self.connect(server)
        for _ in range(60):
            for address in (server.http_address, server.tcp_address):
                with Client(address) as client:
                    try:
                        client.send(chance.randbytes(chance.randint(1, 3000)))
                    except OSError:
                        pass
            self.assertEqual(witness.get("/now").text, "now")
        self.assertEqual(self.logs.find("Traceback"), [])

    def test_after_a_run_no_thread_and_no_descriptor_is_left(self) -> None:
        def run() -> None:
            with running_server(self.router, tcp_keep_alive=True) as server:
                with Client(server.tcp_address) as tcp, Client(server.http_address) as client:
                    tcp.send("echo a\n")
                    tcp.read_line()
                    client.get("/stream")

        run()
        threads = threading.enumerate()
        descriptors = open_descriptors()
        for _ in range(3):
            run()
        wait_until(lambda: not new_threads(threads), "the threads have ended")
        wait_until(lambda: open_descriptors() <= descriptors, "the descriptors are back")


class Descriptors(FaultCase):
    def test_out_of_descriptors_the_server_recovers(self) -> None:
        """The listener says EMFILE for a while, as a full process does."""

        class Poor(socket.socket):
            refusals = 0

            def accept(self) -> Any:
                if Poor.refusals > 0:
                    Poor.refusals -= 1
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return super().accept()

        server = Server(
            self.router, socket_factory=Poor, http_port=0, tcp_port=0, info=False, accept_pause=0.01
        )
        with server:
            old = self.connect(server)
            old.get("/now")
            Poor.refusals = 5
            new = self.connect(server)
            new.send(GET)
            self.assertEqual(old.get("/now").text, "now")
            self.assertEqual(new.read_response().text, "ok")
            self.assertEqual(len(self.logs.find("cannot accept connections")), 1)
            self.assertEqual(Poor.refusals, 0)


class Handlers(FaultCase):
    def test_fifty_blocked_handlers_all_get_a_thread_and_nobody_else_waits(self) -> None:
        """They meet at a barrier, which a pool that is too small never opens."""
        barrier = threading.Barrier(51)

        @self.router.register("/meet")
        def meet(request: Any) -> str:
            barrier.wait(DEADLINE)
            return "met"

        server = self.serve()
        clients = [self.connect(server) for _ in range(50)]
        for client in clients:
            client.send_request("GET", "/meet")
        self.assertEqual(fetch(server, "GET", "/now").text, "now")
        self.assertEqual(fetch(server, "GET", "/").text, "ok")
        barrier.wait(DEADLINE)
        for client in clients:
            self.assertEqual(client.read_response().text, "met")

    def test_over_the_queue_a_503_at_once_and_the_rest_is_answered(self) -> None:
        server = self.serve(worker_threads=1, worker_queue_limit=2)
        clients = [self.connect(server) for _ in range(6)]
        clients[0].send_request("GET", "/wait")
        runtime = server._runtime
        assert runtime is not None
        workers = runtime.pools.workers
        wait_until(
            lambda: workers.running == 1 and workers.waiting == 0,
            "it is at work",
        )
        statuses = []
        for client in clients[1:]:
            client.send_request("GET", "/wait")
        waiting = {id(client) for client in clients}
        wait_until(lambda: workers.waiting == 2, "the queue is full")
        self.assertEqual(fetch(server, "GET", "/now").text, "now")
        self.release.set()
        for client in clients:
            response = client.read_response()
            statuses.append(response.status)
            if response.status == 503:
                self.assertEqual(response.get("Retry-After"), "1")
        self.assertEqual(sorted(statuses), [200] * 3 + [503] * 3)
        self.assertEqual(len(waiting), 6)

    def test_what_handlers_raise_does_not_use_up_the_pool(self) -> None:
        """Contract A5."""

        @self.router.register("/raise/{kind}")
        def fail(request: Any) -> None:
            kinds = {"exit": SystemExit, "interrupt": KeyboardInterrupt, "error": ValueError}
            raise kinds[request.path_params["kind"]]("on purpose")

        server = self.serve(worker_threads=2)
        client = self.connect(server)
        for _ in range(5):
            for kind in ("exit", "interrupt", "error"):
                self.assertEqual(client.get(f"/raise/{kind}").status, 500)
        self.assertEqual(client.get("/").text, "ok")

    def test_a_handler_that_hangs_is_a_504_a_stack_and_another_thread(self) -> None:
        server = self.serve(worker_threads=1, handler_timeout=0.05)
        client = self.connect(server)
        self.assertEqual(client.get("/wait").status, 504)
        self.assertIn("in wait", self.logs.wait_for("has not returned after 0.05 s"))
        client.expect_end()
        self.assertEqual(fetch(server, "GET", "/").text, "ok")

    def test_a_slow_turn_is_logged(self) -> None:
        """A handler that promised not to block, and does."""
        blocked = threading.Event()

        @self.router.register("/block", blocking=False)
        def block(request: Any) -> str:
            end = time.monotonic() + 0.03
            while time.monotonic() < end:
                blocked.wait(0.03)
            return "blocked"

        server = self.serve(slow_callback_ms=10)
        fetch(server, "GET", "/block")
        self.logs.wait_for("somebody blocks it")


class Readers(FaultCase):
    def test_a_client_that_reads_nothing_is_bounded_and_reset(self) -> None:
        server = self.serve(send_timeout=0.1)
        greedy = self.connect(server, receive_buffer=4096)
        greedy.send(b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n")
        wait_until(lambda: self.closed, "the generator is closed")
        self.assertEqual(fetch(server, "GET", "/").text, "ok")
        with self.assertRaisesRegex(AssertionError, "reset"):
            greedy.read_rest()

    @unittest.skipIf(UNSENT_LIMIT is None, "this kernel has no such limit")
    def test_the_kernel_holds_little_for_who_does_not_read(self) -> None:
        """Contract X2, `presence_flood`: what waits is seen here, and slow_client_policy acts."""
        server = self.serve(kernel_unsent_limit=64 * 1024, tcp_keep_alive=True)
        http, tcp = self.connect(server), self.connect_tcp(server)
        http.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
        tcp.send('{"command": "large"}\n')
        channels = server._runtime.connections
        wait_until(lambda: len([one for one in channels if one.queued]) == 2, "both wait")
        for channel in channels:
            sock = channel.transport._wire
            self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, UNSENT_LIMIT), 64 * 1024)

    def test_a_push_to_a_client_that_does_not_read_delays_nobody(self) -> None:
        """Contract P4."""
        server = self.serve(tcp_keep_alive=True, tcp_send_limit=100_000)
        slow = self.connect_tcp(server, receive_buffer=4096)
        good = self.connect_tcp(server)
        wait_until(lambda: len(server.clients) == 2, "both are connected")
        for n in range(100):
            server.push_message({"n": n, "fill": "f" * 100_000})
            self.assertIn(f'"n": {n},', good.read_line())
            if slow.client_id not in server.clients:
                break
        else:
            self.fail("the slow client was never dealt with")
        self.assertEqual(len(server.clients), 1)

    def test_an_answer_is_readable_though_the_body_was_not_wanted(self) -> None:
        """Close() with unread input would be RST, and take the 413 back."""
        server = self.serve(max_body_size=1000)
        client = self.connect(server)
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 500000\r\n\r\n")
        client.send(b"x" * 500_000)
        self.assertEqual(client.read_response().status, 413)
        client.expect_end()


if __name__ == "__main__":
    unittest.main()
