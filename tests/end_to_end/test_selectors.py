"""The same conversations over every selector that Python has here: nothing may depend on one.

`DefaultSelector` is epoll on Linux and kqueue on macOS; Windows has `SelectSelector` alone.
"""

from __future__ import annotations

import json
import os
import selectors
import tempfile
import threading
import unittest
from collections.abc import Iterator
from typing import Any

from pyliteflux import EventStream, FileResponse, Server, StreamResponse
from tests.support import Client, ServerTestCase, stop, wait_for, wait_until


class Conversations:
    """The essentials; a subclass says over which selector."""

    selector: type[selectors.BaseSelector]

    def setUp(self: Any) -> None:
        super().setUp()  # type: ignore[misc]
        router = self.router

        @router.register("/hello/{name}")
        def hello(request: Any) -> dict[str, str]:
            return {"hello": request.path_params["name"]}

        @router.register("/now", blocking=False)
        def now(request: Any) -> str:
            return "now"

        @router.register("/size", "POST")
        def size(request: Any) -> int:
            return len(request.body)

        @router.register("/stream")
        def stream(request: Any) -> StreamResponse:
            def pieces() -> Iterator[bytes]:
                for _ in range(50):
                    yield b"s" * 50_000

            return StreamResponse(pieces())

        @router.register("echo", protocol="tcp")
        def echo(request: Any) -> Any:
            return request.data

    def start(self: Any, **settings: Any) -> Server:
        settings = {"http_port": 0, "tcp_port": 0, "info": False, **settings}
        server = Server(self.router, selector_factory=self.selector, **settings)
        server.start()
        self.addCleanup(stop, server)
        return server

    def test_requests_on_a_kept_connection(self: Any) -> None:
        client = self.connect(self.start())
        for n in range(5):
            self.assertEqual(client.get(f"/hello/{n}").json, {"hello": str(n)})
            self.assertEqual(client.get("/now").text, "now")

    def test_a_body_in_pieces(self: Any) -> None:
        client = self.connect(self.start())
        body = os.urandom(3_000_000)
        self.assertEqual(client.request("POST", "/size", body).json, len(body))

    def test_pipelined_requests_come_back_in_order(self: Any) -> None:
        client = self.connect(self.start())
        client.send(b"".join(b"GET /hello/%d HTTP/1.1\r\nHost: t\r\n\r\n" % n for n in range(50)))
        for n in range(50):
            self.assertEqual(client.read_response().json, {"hello": str(n)})

    def test_a_stream_to_a_slow_reader(self: Any) -> None:
        client = self.connect(self.start(), receive_buffer=4096)
        client.send_request("GET", "/stream")
        self.assertEqual(client.read_response().body, b"s" * 2_500_000)
        self.assertEqual(client.get("/now").text, "now")

    def test_a_file(self: Any) -> None:
        data = os.urandom(2_000_000)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "file")
            with open(path, "wb") as file:
                file.write(data)
            self.router.register("/file")(lambda request: FileResponse(path))
            client = self.connect(self.start(), receive_buffer=4096)
            self.assertEqual(client.get("/file").body, data)

    def test_events_that_come_when_they_please(self: Any) -> None:
        events = EventStream()
        self.router.register("/events")(lambda request: events)
        client = self.connect(self.start())
        client.send_request("GET", "/events")
        client.read_head()
        for n in range(3):
            events.send({"n": n})
            self.assertIn(b'data: {"n": %d}' % n, client.read_chunk())

    def test_messages_and_pushes(self: Any) -> None:
        server = self.start(tcp_keep_alive=True)
        clients = [self.connect_tcp(server) for _ in range(3)]
        for n, client in enumerate(clients):
            client.send(b'{"command": "echo", "data": %d, "id": 1}\necho %d\n' % (n, n))
            self.assertEqual(json.loads(client.read_line())["id"], 1)
            self.assertEqual(client.read_line(), str(n))
        self.assertEqual(server.push_message("all"), 3)
        for client in clients:
            self.assertEqual(json.loads(client.read_line()), {"type": "push", "data": "all"})

    def test_a_half_closed_client_is_answered_and_the_loop_then_sleeps(self: Any) -> None:
        server = self.start()
        client = self.connect(server)
        client.send(b"GET /hello/a HTTP/1.1\r\nHost: t\r\n\r\n")
        client.half_close()
        self.assertEqual(client.read_response().json, {"hello": "a"})
        client.expect_end()
        wait_until(lambda: server.stats["connections"] == 0, "the connection is closed")

    def test_a_half_closed_client_does_not_make_the_loop_spin(self: Any) -> None:
        """A socket at EOF is readable for ever; the turns are counted while a handler waits."""
        asked, release = threading.Event(), threading.Event()

        @self.router.register("/wait")
        def wait(request: Any) -> str:
            asked.set()
            wait_for(release, "the release")
            return "waited"

        server = self.start()
        client = self.connect(server)
        client.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
        client.half_close()
        wait_for(asked, "the handler has begun")
        reactor = server._runtime.reactor
        turns = 0
        select = reactor._selector.select

        def counting(timeout: float | None = None) -> Any:
            nonlocal turns
            turns += 1
            return select(timeout)

        reactor._selector.select = counting
        other = self.connect(server)
        for _ in range(50):  # Each makes a turn or two: the loop is awake, and could spin.
            self.assertEqual(other.get("/now").text, "now")
        self.assertLess(turns, 500)
        release.set()
        self.assertEqual(client.read_response().text, "waited")

    def test_a_reset_is_noticed(self: Any) -> None:
        server = self.start()
        client = Client(server.http_address)
        client.get("/now")
        client.reset()
        wait_until(lambda: server.stats["connections"] == 0, "the connection is closed")

    def test_a_stop_ends_the_sleep(self: Any) -> None:
        server = self.start()
        client = self.connect(server)
        client.get("/now")
        stop(server)
        client.expect_end()


class OverTheDefaultSelector(Conversations, ServerTestCase):
    selector = selectors.DefaultSelector


class OverSelect(Conversations, ServerTestCase):
    selector = selectors.SelectSelector


@unittest.skipUnless(hasattr(selectors, "PollSelector"), "no poll here")
class OverPoll(Conversations, ServerTestCase):
    selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


if __name__ == "__main__":
    unittest.main()
