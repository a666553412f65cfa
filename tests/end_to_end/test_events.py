"""Server-sent events over HTTP: pushed and pulled, heartbeats, and every way to end.

The format is that of the HTML standard, section 9.2. Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import threading
from typing import Any

from pyliteflux import EventStream, Middleware, Server, g
from tests.support import (
    DEADLINE,
    Client,
    CutShort,
    RunningThread,
    ServerTestCase,
    stop,
    wait_for,
    wait_until,
)


class EventsTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.streams: list[EventStream] = []
        self.closed = threading.Event()
        self.closes: list[str] = []

    def on_close(self) -> None:
        self.closes.append(threading.current_thread().name)
        self.closed.set()

    def add_route(self, **options: Any) -> None:
        @self.router.get("/events", blocking=False)
        def events(request: Any) -> EventStream:
            stream = EventStream(on_close=self.on_close, **options)
            self.streams.append(stream)
            return stream

    def listen(self, server: Server, **options: Any) -> tuple[Client, EventStream]:
        """Return a client that has seen the head, and its stream."""
        before = len(self.streams)
        client = self.connect(server, **options)
        client.send_request("GET", "/events")
        head = client.read_head()
        self.assertEqual((head.status, head.get("Content-Type")), (200, "text/event-stream"))
        self.assertEqual(head.get("Transfer-Encoding"), "chunked")
        return client, self.streams[before]


class TestPushed(EventsTestCase):
    def test_events_arrive_as_they_are_sent(self) -> None:
        """A2: each leaves at once; str, JSON, name, id, retry, several lines, comments."""
        self.add_route()
        server = self.serve()
        client, stream = self.listen(server)
        for send, expected in (
            (lambda: stream.send("hello"), "data: hello\n\n"),
            (lambda: stream.send({"a": "ü"}), 'data: {"a": "ü"}\n\n'),
            (lambda: stream.send("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            (lambda: stream.send(1, event="tick", id=7), "event: tick\nid: 7\ndata: 1\n\n"),
            (lambda: stream.send(None, retry=500), "retry: 500\n\n"),
            (lambda: stream.send("", id="x"), "id: x\ndata: \n\n"),
            (lambda: stream.comment("note\nmore"), ": note\n: more\n\n"),
        ):
            self.assertIs(send(), True)
            self.assertEqual(client.read_chunk().decode(), expected)
        for bad in ({"event": "a\nb"}, {"id": "a\rb"}, {"id": "a\0"}):
            with self.assertRaises(ValueError):
                stream.send("x", **bad)
        self.assertEqual(self.closes, [])

    def test_fields_that_keep_proxies_from_holding_events_back(self) -> None:
        """A2: unless the handler says otherwise."""
        self.add_route()
        self.router.get("/own")(
            lambda request: EventStream(iter("a"), headers={"Cache-Control": "private"})
        )
        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/events")
        head = client.read_head()
        self.assertEqual(head.get("Cache-Control"), "no-cache")
        self.assertEqual(head.get("X-Accel-Buffering"), "no")
        self.assertIsNotNone(head.get("X-Request-ID"))
        self.assertEqual(self.connect(server).get("/own").get("Cache-Control"), "private")

    def test_what_was_sent_before_the_answer_comes_first(self) -> None:
        """A handler may send before it returns: retry, then in order."""

        @self.router.get("/early")
        def early(request: Any) -> EventStream:
            stream = EventStream(retry=1000)
            stream.send("first")
            stream.send("second")
            stream.close()
            self.assertFalse(stream.send("too late"))
            return stream

        server = self.serve()
        client = self.connect(server)
        response = client.get("/early")
        self.assertEqual(response.text, "retry: 1000\n\ndata: first\n\ndata: second\n\n")
        self.assertEqual(client.get("/early").status, 200)  # And the connection was kept.

    def test_from_many_threads_each_in_order(self) -> None:
        """send() is for any thread: whole events, none lost."""
        self.add_route()
        server = self.serve(event_buffer=10_000_000)
        client, stream = self.listen(server)

        def send(sender: int) -> None:
            for number in range(100):
                stream.send(f"{sender} {number}")

        senders = [RunningThread(send, number) for number in range(4)]
        nexts = [0] * 4
        for _ in range(400):
            text = client.read_chunk().decode()
            self.assertTrue(text.startswith("data: ") and text.endswith("\n\n"))
            sender, number = map(int, text[6:].split())
            self.assertEqual(number, nexts[sender])
            nexts[sender] += 1
        for thread in senders:
            thread.join()

    def test_it_holds_no_thread(self) -> None:
        """Ten listeners on one worker, and the server still answers."""
        self.add_route()
        self.router.get("/")(lambda request: "still here")
        server = self.serve(worker_threads=1, stream_workers=1)
        listeners = [self.listen(server) for _ in range(10)]
        self.assertEqual(self.connect(server).get("/").body, b"still here")
        for number, (_, stream) in enumerate(listeners):
            stream.send(number)
        for number, (client, _) in enumerate(listeners):
            self.assertEqual(client.read_chunk(), b"data: %d\n\n" % number)

    def test_close_ends_the_response_properly(self) -> None:
        """The client sees a whole body, and the connection is kept; on_close runs once."""
        self.add_route()
        server = self.serve()
        client, stream = self.listen(server)
        stream.send("last")
        stream.close()
        stream.close()
        self.assertFalse(stream.send("too late"))
        self.assertFalse(stream.comment("too late"))
        self.assertFalse(stream.is_open)
        self.assertEqual(client.read_chunk(), b"data: last\n\n")
        self.assertEqual(client.read_chunk(), b"")
        wait_for(self.closed, "on_close")
        self.assertEqual(client.get("/nothing").status, 404)
        self.assertEqual(len(self.closes), 1)
        self.assertIn("cleanup", self.closes[0])  # On a worker, never on the reactor thread.

    def test_on_http_10_the_end_is_the_end_of_the_connection(self) -> None:
        """A2: no chunks there."""
        self.add_route()
        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/events", version="1.0")
        head = client.read_head()
        self.assertIsNone(head.get("Transfer-Encoding"))
        self.streams[0].send("x")
        self.streams[0].close()
        self.assertEqual(client.read_rest(), b"data: x\n\n")

    def test_head_gets_no_events_and_on_close_runs(self) -> None:
        """R6: nobody will ever listen to such a stream."""
        self.add_route()
        server = self.serve()
        client = self.connect(server)
        self.assertEqual(client.request("HEAD", "/events").body, b"")
        wait_for(self.closed, "on_close")
        self.assertFalse(self.streams[0].send("x"))
        self.assertEqual(client.get("/nothing").status, 404)


class TestLeaving(EventsTestCase):
    def leave(self, how: str) -> None:
        self.add_route()
        server = self.serve()  # With the default heartbeat of 15 s: nobody waits for that.
        client, stream = self.listen(server)
        self.assertTrue(stream.send("x"))
        self.assertEqual(client.read_chunk(), b"data: x\n\n")
        getattr(client, how)()
        wait_for(self.closed, "on_close")
        self.assertFalse(stream.is_open)
        self.assertFalse(stream.send("nobody is there"))
        self.assertEqual(len(self.closes), 1)
        self.assertIn("cleanup", self.closes[0])
        wait_until(lambda: server.stats["connections"] == 0, "the connection is given back")

    def test_a_client_that_resets(self) -> None:
        """Client leaving calls on_close, once, on a worker."""
        self.leave("reset")

    def test_a_client_that_closes(self) -> None:
        """A FIN alone may be a half-close; a comment finds out, at once and not in 15 s."""
        self.leave("close")

    def test_a_client_that_only_half_closes_stays(self) -> None:
        """Limits 14: it still reads."""
        self.add_route()
        server = self.serve()
        client, stream = self.listen(server)
        client.half_close()
        for _ in range(2):
            self.assertEqual(client.read_chunk(), b":\n\n")  # Is anybody there?
        self.assertTrue(stream.send("still for you"))
        self.assertEqual(client.read_chunk(), b"data: still for you\n\n")
        stream.close()
        wait_for(self.closed, "on_close")

    def test_a_client_that_left_before_the_answer(self) -> None:
        """on_close runs there, too."""
        for how in ("reset", "close"):
            with self.subTest(how=how):
                inside, go_on = threading.Event(), threading.Event()
                self.closed.clear()

                @self.router.get(f"/{how}")
                def slow(request: Any, inside: Any = inside, go_on: Any = go_on) -> EventStream:
                    inside.set()
                    go_on.wait(DEADLINE)
                    wait_until(lambda: request.gone, "it is noticed")
                    return EventStream(on_close=self.on_close)

                client = self.connect(self.serve())
                client.send_request("GET", f"/{how}")
                wait_for(inside, "the handler")
                getattr(client, how)()
                go_on.set()
                wait_for(self.closed, "on_close")

    def test_a_client_that_does_not_read_is_cut(self) -> None:
        """Limits 10: event_buffer bounds what waits for it; others are not delayed."""
        self.add_route()
        server = self.serve(event_buffer=100_000)
        slow, stream = self.listen(server, receive_buffer=4096)
        quick, other = self.listen(server)
        for _ in range(1000):
            other.send("x" * 10_000)
            self.assertEqual(len(quick.read_chunk()), 10_008)
            if not stream.send("x" * 10_000):
                break
        wait_for(self.closed, "on_close")
        self.assertFalse(stream.send("x"))
        with self.assertRaises(CutShort):
            while True:
                slow.read_chunk()
        self.assertTrue(other.send("still here"))
        self.assertEqual(quick.read_chunk(), b"data: still here\n\n")

    def test_on_close_and_on_finish_belong_to_the_request(self) -> None:
        """M6, G3: on_close sees the request's g, and on_finish comes after it."""
        order: list[Any] = []
        finished = threading.Event()

        class Ends(Middleware):
            def on_finish(self, request: Any) -> None:
                order.append(("on_finish", g.name))
                finished.set()

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            g.name = "mine"
            stream = EventStream(on_close=lambda: order.append(("on_close", g.name)))
            self.streams.append(stream)
            return stream

        server = self.serve()
        server.add_middleware(Ends())
        client, _ = self.listen(server)
        client.reset()
        wait_for(finished, "on_finish")
        self.assertEqual(order, [("on_close", "mine"), ("on_finish", "mine")])

    def test_an_on_close_that_fails_is_logged(self) -> None:
        """A5: what the user's code raises is not lost."""

        def broken() -> None:
            raise RuntimeError("broken on_close")

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            stream = EventStream(on_close=broken)
            self.streams.append(stream)
            return stream

        server = self.serve()
        client, stream = self.listen(server)
        stream.close()
        self.assertEqual(client.read_chunk(), b"")
        self.assertIn("broken on_close", self.logs.wait_for("on_close of an EventStream failed"))

    def test_a_server_that_stops_ends_them_properly(self) -> None:
        """C5: a whole body, no waiting for events that never come."""
        self.add_route()
        server = self.serve()
        client, stream = self.listen(server)
        stream.send("last")
        stop(server)
        self.assertEqual(client.read_chunk(), b"data: last\n\n")
        self.assertEqual(client.read_chunk(), b"")
        client.expect_end()
        wait_for(self.closed, "on_close")
        self.assertFalse(stream.send("x"))


class TestHeartbeat(EventsTestCase):
    def test_a_silent_stream_gets_comments(self) -> None:
        """The setting heartbeat: so that proxies keep the connection."""
        self.add_route()
        server = self.serve(heartbeat=0.05)
        client, stream = self.listen(server)
        for _ in range(3):
            self.assertEqual(client.read_chunk(), b":\n\n")
        stream.close()
        while chunk := client.read_chunk():
            self.assertEqual(chunk, b":\n\n")

    def test_a_pulled_stream_gets_them_too(self) -> None:
        """Its generator may wait for long."""
        go_on = threading.Event()

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            def items() -> Any:
                go_on.wait(DEADLINE)
                yield "done"

            return EventStream(items())

        server = self.serve(heartbeat=0.05)
        self.addCleanup(go_on.set)
        client = self.connect(server)
        client.send_request("GET", "/events")
        client.read_head()
        self.assertEqual(client.read_chunk(), b":\n\n")
        go_on.set()
        while (chunk := client.read_chunk()) == b":\n\n":
            pass
        self.assertEqual(chunk, b"data: done\n\n")

    def test_other_streams_get_none(self) -> None:
        """A comment in a download would be a broken file."""
        go_on, waited = threading.Event(), threading.Event()

        @self.router.get("/file")
        def download(request: Any) -> Any:
            yield "a"
            waited.set()
            go_on.wait(DEADLINE)
            yield "b"

        self.add_route()
        server = self.serve(heartbeat=0.02)
        client = self.connect(server)
        client.send_request("GET", "/file")
        listener, stream = self.listen(server)
        wait_for(waited, "the generator waits")
        for _ in range(3):
            self.assertEqual(listener.read_chunk(), b":\n\n")
        go_on.set()
        self.assertEqual(client.read_response().body, b"ab")


class TestPulled(EventsTestCase):
    def test_each_item_is_an_event(self) -> None:
        """str, dicts that are events, other values as JSON, bytes as they are; retry first."""

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            return EventStream(
                iter(
                    [
                        "text",
                        {"data": 1, "event": "tick", "id": 3},
                        {"data": "x", "other": 1},
                        {"no": "data"},
                        [1, 2],
                        None,
                        b": own bytes\n\n",
                    ]
                ),
                retry=2000,
                on_close=self.on_close,
            )

        server = self.serve()
        client = self.connect(server)
        self.assertEqual(
            client.get("/events").text,
            "retry: 2000\n\n"
            "data: text\n\n"
            "event: tick\nid: 3\ndata: 1\n\n"
            'data: {"data": "x", "other": 1}\n\n'
            'data: {"no": "data"}\n\n'
            "data: [1, 2]\n\n"
            "\n"
            ": own bytes\n\n",
        )
        wait_for(self.closed, "on_close")
        self.assertEqual(len(self.closes), 1)
        self.assertEqual(client.get("/events").status, 200)

    def test_it_cannot_be_pushed_to_as_well(self) -> None:
        """A TypeError that says so."""
        with self.assertRaisesRegex(TypeError, "iterable"):
            EventStream(iter("a")).send("x")

    def test_a_client_that_leaves_closes_the_generator(self) -> None:
        """A2: its finally, then on_close, once each."""
        order: list[str] = []

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            def items() -> Any:
                try:
                    while True:
                        yield "x" * 10_000
                finally:
                    order.append("finally")

            def on_close() -> None:
                order.append("on_close")
                self.closed.set()

            return EventStream(items(), on_close=on_close)

        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/events")
        client.read_head()
        client.reset()
        wait_for(self.closed, "on_close")
        self.assertEqual(order, ["finally", "on_close"])

    def test_a_generator_that_fails_cuts_the_response_short(self) -> None:
        """A2: and on_close runs."""

        @self.router.get("/events")
        def events(request: Any) -> EventStream:
            def items() -> Any:
                yield "x"
                raise RuntimeError("broken events")

            return EventStream(items(), on_close=self.on_close)

        server = self.serve()
        client = self.connect(server)
        client.send_request("GET", "/events")
        client.read_head()
        self.assertEqual(client.read_chunk(), b"data: x\n\n")
        with self.assertRaises(CutShort):
            client.read_chunk()
        wait_for(self.closed, "on_close")
        self.logs.wait_for("broken events")
