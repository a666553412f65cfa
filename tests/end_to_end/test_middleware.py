"""Middlewares over real sockets: order, who sees what, and when it is over.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

from pyliteflux import HTTPError, HTTPJSONResponse, HTTPResponse, Middleware, StreamResponse, g
from tests.support import DEADLINE, Client, CutShort, ServerTestCase, wait_for, wait_until


class Recorder(Middleware):
    """Notes each call; does not call `super().__init__()` (M1)."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self.calls = calls
        self.seen: list[Any] = []
        self.finished = threading.Event()

    def process_request(self, request: Any) -> Any:
        self.calls.append(f"{self.name} in")
        return None

    def process_response(self, request: Any, response: Any) -> Any:
        self.calls.append(f"{self.name} out")
        self.seen.append((request.response_status, response))
        return response

    def on_finish(self, request: Any) -> None:
        self.calls.append(f"{self.name} finish")
        self.finished.set()


class Database(Middleware):
    """The middleware of README.zh-CN.md: opened for a request, closed after its last byte."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def process_request(self, request: Any) -> Any:
        g.db = sqlite3.connect(":memory:", check_same_thread=False)

    def on_finish(self, request: Any) -> None:
        g.db.close()
        self.closed.set()


class DatabaseTest(ServerTestCase):
    def test_handler_stream_and_on_finish_share_a_connection_on_three_threads(self) -> None:
        """B16: they may be three threads, and are never two at once."""
        threads = []

        @self.router.get("/rows")
        def rows(request: Any) -> Any:
            threads.append(threading.current_thread().name)
            cursor = g.db.execute("SELECT 1 UNION SELECT 2")

            def lines() -> Iterator[str]:
                threads.append(threading.current_thread().name)
                for (number,) in cursor:
                    yield f"{number}\n"

            return StreamResponse(lines())

        database = Database()
        server = self.serve()
        server.add_middleware(database)
        self.assertEqual(self.connect(server).get("/rows").text, "1\n2\n")
        wait_for(database.closed, "on_finish")
        self.assertEqual(len(set(threads)), 2)
        self.assertEqual(self.logs.lines(logging.WARNING), [])


class Answering(Recorder):
    """Answers instead of the handler."""

    def __init__(self, name: str, calls: list[str], answer: Any) -> None:
        super().__init__(name, calls)
        self.answer = answer

    def process_request(self, request: Any) -> Any:
        super().process_request(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ask(client: Client, message: Any) -> Any:
    """Send a JSON message and return the answer."""
    client.send(json.dumps(message) + "\n")
    return json.loads(client.read_line())


class TestOrder(ServerTestCase):
    def test_requests_pass_in_the_order_added_and_responses_in_reverse(self) -> None:
        """M3, M6: an onion, and the same for the end."""
        calls: list[str] = []
        self.router.get("/")(lambda request: calls.append("handler") or {"ok": True})
        server = self.serve()
        first, second = Recorder("a", calls), Recorder("b", calls)
        server.middleware_manager.add_middleware(first)
        server.add_middleware(second)
        self.assertEqual(self.connect(server).get("/").json, {"ok": True})
        wait_for(first.finished, "on_finish")
        self.assertEqual(
            calls, ["a in", "b in", "handler", "b out", "a out", "b finish", "a finish"]
        )

    def test_the_same_order_holds_on_tcp(self) -> None:
        """M3, M6 on the other protocol."""
        calls: list[str] = []
        self.router.register("hi", protocol="tcp")(lambda request: "hello")
        server = self.serve(tcp_keep_alive=True)
        first, second = Recorder("a", calls), Recorder("b", calls)
        server.add_middleware(first)
        server.add_middleware(second)
        client = self.connect_tcp(server)
        client.send("hi\n")
        self.assertEqual(client.read_line(), "hello")
        wait_for(first.finished, "on_finish")
        self.assertEqual(calls, ["a in", "b in", "b out", "a out", "b finish", "a finish"])

    def test_a_middleware_may_be_for_one_protocol(self) -> None:
        """M2: protocol= is "both" unless said."""
        calls: list[str] = []
        self.router.register("/x", protocol="both")(lambda request: {"ok": 1})
        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Recorder("http", calls), protocol="http")
        server.middleware_manager.add_middleware(Recorder("tcp", calls), protocol="tcp")
        server.middleware_manager.add_middleware(Recorder("both", calls))
        self.connect(server).get("/x")
        wait_until(lambda: "both finish" in calls and "http finish" in calls, "on_finish")
        self.assertEqual(calls[:4], ["http in", "both in", "both out", "http out"])
        calls.clear()
        ask(self.connect_tcp(server), {"command": "x"})
        self.assertEqual(calls[:4], ["tcp in", "both in", "both out", "tcp out"])

    def test_a_middleware_may_have_one_method_only(self) -> None:
        """M1: all methods are optional, the base class too."""

        class Tags:
            def process_response(self, request: Any, response: Any) -> Any:
                response["tagged"] = True
                return response

        class Nothing(Middleware):
            pass

        self.router.get("/")(lambda request: {})
        server = self.serve()
        server.add_middleware(Nothing())
        server.add_middleware(Tags())
        self.assertEqual(self.connect(server).get("/").json, {"tagged": True})

    def test_what_process_request_returns_is_the_answer_unless_none(self) -> None:
        """M3: a false value is an answer too; M4: those not entered are left alone."""
        for answer, body, status in (
            ({"error": "no"}, b'{"error": "no"}', 200),
            (({"error": "no"}, 401), b'{"error": "no"}', 401),
            (("no", 403, {"X-Why": "because"}), b"no", 403),
            (HTTPJSONResponse({"a": 1}, status=418), b'{"a": 1}', 418),
            (0, b"0", 200),
            (False, b"false", 200),
            ("", b"", 200),
            ({}, b"{}", 200),
            ([], b"[]", 200),
        ):
            with self.subTest(answer=answer):
                calls: list[str] = []
                self.router.get("/")(lambda request, calls=calls: calls.append("handler"))
                server = self.serve()
                for name in "ac":
                    if name == "c":
                        server.add_middleware(Answering("b", calls, answer))
                    server.add_middleware(Recorder(name, calls))
                response = self.connect(server).get("/")
                self.assertEqual((response.status, response.body), (status, body))
                if status == 403:
                    self.assertEqual(response.get("X-Why"), "because")
                wait_until(lambda calls=calls: calls[-1] == "a finish", "on_finish")
                self.assertEqual(calls, ["a in", "b in", "b out", "a out", "b finish", "a finish"])


class TestWhatHappenedInBetween(ServerTestCase):
    """M4: process_response runs for all that were entered, whatever happened."""

    def check(self, target: str, method: str, status: int, error: str) -> None:
        calls: list[str] = []
        server = self.serve()
        first, second = Recorder("a", calls), Recorder("b", calls)
        server.add_middleware(first)
        server.add_middleware(second)
        response = self.connect(server).request(method, target)
        self.assertEqual(response.status, status)
        self.assertEqual(response.json["error"], error)
        wait_until(lambda: calls[-1] == "a finish", "on_finish")
        self.assertEqual(calls, ["a in", "b in", "b out", "a out", "b finish", "a finish"])
        for recorder in (first, second):
            seen_status, body = recorder.seen[0]
            self.assertEqual(seen_status, status)
            self.assertIsInstance(body, dict)
            self.assertEqual(body["error"], error)

    def test_after_a_404(self) -> None:
        """M4."""
        self.check("/nothing", "GET", 404, "Not Found")

    def test_after_a_405(self) -> None:
        """M4; the Allow field survives the way out (R6)."""
        self.router.get("/x")(lambda request: 1)
        self.check("/x", "DELETE", 405, "Method Not Allowed")
        server = self.serve()
        server.add_middleware(Recorder("a", []))
        response = self.connect(server).request("DELETE", "/x")
        self.assertEqual(response.get("Allow"), "GET, HEAD, OPTIONS")

    def test_after_an_exception(self) -> None:
        """M4, A5."""

        @self.router.get("/x")
        def fail(request: Any) -> None:
            raise RuntimeError("secret detail")

        self.check("/x", "GET", 500, "Internal Server Error")

    def test_after_an_http_error(self) -> None:
        """M4, A6."""

        @self.router.get("/x")
        def fail(request: Any) -> None:
            raise HTTPError(409, "already there")

        self.check("/x", "GET", 409, "already there")

    def test_after_sys_exit(self) -> None:
        """M4: code that calls sys.exit() is a failed handler like any other."""

        @self.router.get("/x")
        def leave(request: Any) -> None:
            raise SystemExit(1)

        self.check("/x", "GET", 500, "Internal Server Error")

    def test_after_a_route_that_runs_on_the_reactor_failed(self) -> None:
        """M4, R8."""

        @self.router.get("/x", blocking=False)
        def fail(request: Any) -> None:
            raise RuntimeError

        self.check("/x", "GET", 500, "Internal Server Error")

    def test_on_tcp_after_an_unknown_command_and_an_exception(self) -> None:
        """M4 on TCP: what was opened is closed there too."""
        calls: list[str] = []

        @self.router.register("fail", protocol="tcp")
        def fail(request: Any) -> None:
            raise RuntimeError

        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Recorder("a", calls))
        client = self.connect_tcp(server)
        for command, code in (("nothing", "unknown_command"), ("fail", "internal")):
            calls.clear()
            self.assertEqual(ask(client, {"command": command})["code"], code)
            wait_until(lambda: calls[-1:] == ["a finish"], "on_finish")
            self.assertEqual(calls, ["a in", "a out", "a finish"])

    def test_the_middleware_that_raised_was_entered_and_the_next_was_not(self) -> None:
        """M4: process_request may have opened something before it failed."""
        for error, status in ((RuntimeError("x"), 500), (HTTPError(401, "who?"), 401)):
            with self.subTest(error=error):
                calls: list[str] = []
                self.router.get("/")(lambda request, calls=calls: calls.append("handler"))
                server = self.serve()
                server.add_middleware(Recorder("a", calls))
                server.add_middleware(Answering("b", calls, error))
                server.add_middleware(Recorder("c", calls))
                self.assertEqual(self.connect(server).get("/").status, status)
                wait_until(lambda calls=calls: calls[-1] == "a finish", "on_finish")
                self.assertEqual(calls, ["a in", "b in", "b out", "a out", "b finish", "a finish"])

    def test_when_process_response_fails_the_outer_ones_still_run(self) -> None:
        """M4, A5, A6: the outer ones see the error instead."""
        for error, status in ((RuntimeError("x"), 500), (HTTPError(410, "gone"), 410)):
            with self.subTest(error=error):

                class Fails(Middleware):
                    reason = error

                    def process_response(self, request: Any, response: Any) -> Any:
                        raise self.reason

                self.router.get("/")(lambda request: {"fine": True})
                server = self.serve()
                outer = Recorder("outer", [])
                server.add_middleware(outer)
                server.add_middleware(Fails())
                self.assertEqual(self.connect(server).get("/").status, status)
                self.assertEqual(outer.seen[0][0], status)
                self.assertIn("error", outer.seen[0][1])

    def test_when_on_finish_fails_the_others_run_and_it_is_logged(self) -> None:
        """M6: whatever one does, the others free what they hold."""

        class Fails(Middleware):
            def on_finish(self, request: Any) -> None:
                raise RuntimeError("broken on_finish")

        self.router.get("/")(lambda request: {"fine": True})
        server = self.serve()
        outer = Recorder("outer", [])
        server.add_middleware(outer)
        server.add_middleware(Fails())
        client = self.connect(server)
        self.assertEqual(client.get("/").status, 200)
        wait_for(outer.finished, "on_finish of the outer one")
        self.assertIn("RuntimeError: broken on_finish", self.logs.wait_for("Fails.on_finish"))
        self.assertEqual(client.get("/").status, 200)

    def test_a_generator_given_up_by_a_middleware_does_no_harm(self) -> None:
        """M5: a response object replaces a stream that never began."""

        class Replaces(Middleware):
            def process_response(self, request: Any, response: Any) -> Any:
                return HTTPResponse("instead", 202)

        self.router.get("/")(lambda request: (piece for piece in ["never"]))
        server = self.serve()
        server.add_middleware(Replaces())
        response = self.connect(server).get("/")
        self.assertEqual((response.status, response.body), (202, b"instead"))


class Changes(Middleware):
    """Passes the response through a function of the test's."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def process_response(self, request: Any, response: Any) -> Any:
        return self.change(request, response)


class TestWhatTheySee(ServerTestCase):
    def test_the_body_as_the_handler_returned_it(self) -> None:
        """M5: a dict is a dict, the very same; so are all the other types."""
        returned: list[Any] = [
            {"a": 1},
            [1, 2],
            "text",
            b"bytes",
            7,
            None,
            HTTPJSONResponse({"x": 1}),
        ]
        seen: list[Any] = []
        values = iter(returned)
        self.router.get("/")(lambda request: next(values))
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: seen.append(response) or response))
        client = self.connect(server)
        for _ in returned:
            self.assertIn(client.get("/").status, (200, 204))
        self.assertTrue(all(one is other for one, other in zip(seen, returned)), seen)

    def test_a_generator_is_seen_unstarted(self) -> None:
        """M5: a middleware may wrap the stream."""

        def shout(request: Any, response: Any) -> Any:
            return (piece.upper() for piece in response)

        self.router.get("/")(lambda request: (piece for piece in ["a", "b"]))
        server = self.serve()
        server.add_middleware(Changes(shout))
        self.assertEqual(self.connect(server).get("/").body, b"AB")

    def test_of_a_tuple_they_see_the_body_and_status_and_headers_wait(self) -> None:
        """M5: in request.response_status and request.response_headers."""
        seen: list[Any] = []

        def look(request: Any, response: Any) -> Any:
            seen.append((response, request.response_status, request.response_headers))
            response["more"] = True
            return response

        self.router.get("/2")(lambda request: ({"a": 1}, 201))
        self.router.get("/h")(lambda request: ({"a": 1}, {"X-A": "1"}))
        self.router.get("/3")(lambda request: ({"a": 1}, 202, {"X-A": "2"}))
        server = self.serve()
        server.add_middleware(Changes(look))
        client = self.connect(server)
        for target, status, field in (("/2", 201, None), ("/h", 200, "1"), ("/3", 202, "2")):
            response = client.get(target)
            self.assertEqual((response.status, response.get("X-A")), (status, field))
            self.assertEqual(response.json, {"a": 1, "more": True})
        self.assertEqual([status for _, status, _ in seen], [201, 200, 202])
        self.assertEqual([headers for *_, headers in seen], [None, {"X-A": "1"}, {"X-A": "2"}])

    def test_they_may_change_the_waiting_status_and_headers(self) -> None:
        """M5: they are the request's, to be read and written."""

        def change(request: Any, response: Any) -> Any:
            request.response_status = 203
            request.response_headers = {"X-B": "changed"}
            return response

        self.router.get("/")(lambda request: ({"a": 1}, 201))
        server = self.serve()
        server.add_middleware(Changes(change))
        response = self.connect(server).get("/")
        self.assertEqual((response.status, response.get("X-B")), (203, "changed"))

    def test_a_tuple_that_they_return_replaces_all(self) -> None:
        """M5: body, status and headers of the handler are gone."""
        self.router.get("/")(lambda request: ({"a": 1}, 201, {"X-Old": "1"}))
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: ({"b": 2}, 202)))
        response = self.connect(server).get("/")
        self.assertEqual((response.status, response.json), (202, {"b": 2}))
        self.assertIsNone(response.get("X-Old"))
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: ("c", {"X-New": "2"})))
        response = self.connect(server).get("/")
        self.assertEqual((response.status, response.body), (200, b"c"))
        self.assertEqual((response.get("X-Old"), response.get("X-New")), (None, "2"))

    def test_a_response_object_that_they_return_replaces_all(self) -> None:
        """M5: also what answered an exception."""

        @self.router.get("/fail")
        def fail(request: Any) -> None:
            raise RuntimeError

        self.router.get("/")(lambda request: ({"a": 1}, 201, {"X-Old": "1"}))
        self.router.register("fail", protocol="tcp")(fail)
        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(
            Changes(lambda request, response: HTTPJSONResponse({"b": 2}, headers={"X-New": "2"}))
        )
        client = self.connect(server)
        for target in ("/", "/fail"):
            response = client.get(target)
            self.assertEqual((response.status, response.json), (200, {"b": 2}))
            self.assertEqual((response.get("X-Old"), response.get("X-New")), (None, "2"))
        self.assertEqual(ask(self.connect_tcp(server), {"command": "fail"}), {"b": 2})

    def test_a_plain_value_that_they_return_keeps_status_and_headers(self) -> None:
        """M5: only a tuple or a response object replaces all."""
        self.router.get("/")(lambda request: ({"a": 1}, 201, {"X-Old": "1"}))
        server = self.serve()
        server.add_middleware(Changes(lambda request, response: "text instead"))
        response = self.connect(server).get("/")
        self.assertEqual((response.status, response.body), (201, b"text instead"))
        self.assertEqual(response.get("X-Old"), "1")

    def test_returning_none_keeps_the_response_and_warns_once(self) -> None:
        """M5: once for each middleware, not once for each request or each name."""

        class Forgets(Middleware):
            def process_response(self, request: Any, response: Any) -> Any:
                response["touched"] = True

        self.router.get("/")(lambda request: ({"a": 1}, 201))
        for attempt in (1, 2):
            with self.subTest(server=attempt):
                server = self.serve()
                server.add_middleware(Forgets())
                client = self.connect(server)
                for _ in range(3):
                    response = client.get("/")
                    self.assertEqual(response.status, 201)
                    self.assertEqual(response.json, {"a": 1, "touched": True})
                self.assertEqual(len(self.logs.find("Forgets.process_response")), attempt)
        self.assertEqual(len(self.logs.find("None", logging.WARNING)), 2)

    def test_each_sees_what_the_one_before_it_returned(self) -> None:
        """M3, M5: responses pass from one to the next."""
        self.router.get("/")(lambda request: {"way": ["handler"]})
        server = self.serve()
        for name in ("outer", "inner"):
            server.add_middleware(
                Changes(lambda request, response, name=name: {"way": [*response["way"], name]})
            )
        self.assertEqual(self.connect(server).get("/").json, {"way": ["handler", "inner", "outer"]})


class TestTheEnd(ServerTestCase):
    """M6: on_finish runs after the last byte, or when the client has left."""

    def test_not_before_the_last_byte_of_a_stream(self) -> None:
        """M6: what a stream still needs is there until its end."""
        go_on = threading.Event()
        finished = threading.Event()
        state: list[str] = []

        class Resource(Middleware):
            def process_request(self, request: Any) -> Any:
                g.resource = "open"

            def on_finish(self, request: Any) -> None:
                g.resource = "closed"
                state.append("finished")
                finished.set()

        @self.router.get("/")
        def stream(request: Any) -> Any:
            def pieces() -> Any:
                yield g.resource
                go_on.wait(DEADLINE)
                yield f"-still {g.resource}"
                state.append("exhausted")

            return pieces()

        server = self.serve()
        server.add_middleware(Resource())
        client = self.connect(server)
        client.send_request("GET", "/")
        client.read_head()
        self.assertEqual(client.read_chunk(), b"open")
        self.assertFalse(finished.is_set())
        go_on.set()
        self.assertEqual(client.read_chunk(), b"-still open")
        self.assertEqual(client.read_chunk(), b"")
        wait_for(finished, "on_finish")
        self.assertEqual(state, ["exhausted", "finished"])

    def test_not_before_a_slow_reader_has_all(self) -> None:
        """M6: the last byte is the kernel's, not the handler's."""
        recorder = Recorder("a", [])
        self.router.get("/")(lambda request: b"x" * 16_000_000)
        server = self.serve()
        server.add_middleware(recorder)
        client = self.connect(server, receive_buffer=4096)
        client.send_request("GET", "/")
        client.read_head()
        self.connect(server).get("/nothing")  # A whole cycle of somebody else.
        wait_for(recorder.finished, "on_finish of the 404")
        wait_until(lambda: len(recorder.calls) == 5, "the calls so far")
        self.assertEqual(recorder.calls.count("a finish"), 1)
        self.assertEqual(len(client.read_exactly(16_000_000)), 16_000_000)
        wait_until(lambda: recorder.calls.count("a finish") == 2, "on_finish at last")

    def leave(self, how: str) -> None:
        """A client leaves while its generator is busy."""
        inside, go_on = threading.Event(), threading.Event()
        order: list[str] = []
        finished = threading.Event()

        class Resource(Middleware):
            def on_finish(self, request: Any) -> None:
                order.append("on_finish")
                finished.set()

        @self.router.get("/")
        def stream(request: Any) -> Any:
            def pieces() -> Any:
                try:
                    yield "first"
                    inside.set()
                    go_on.wait(DEADLINE)
                    while True:
                        yield "x" * 1000
                finally:
                    order.append("finally")

            return pieces()

        server = self.serve()
        server.add_middleware(Resource())
        client = self.connect(server)
        client.send_request("GET", "/")
        client.read_head()
        self.assertEqual(client.read_chunk(), b"first")
        wait_for(inside, "the generator goes on")
        getattr(client, how)()
        if how == "reset":
            wait_until(lambda: server.stats["connections"] == 0, "the reset is noticed")
        self.assertEqual(order, [])  # The generator is still at work: nobody frees its things.
        go_on.set()
        wait_for(finished, "on_finish")
        self.assertEqual(order, ["finally", "on_finish"])

    def test_when_the_client_resets_in_the_middle_of_a_stream(self) -> None:
        """M6: once, and only when the generator is closed: it may still use what is freed."""
        self.leave("reset")

    def test_when_the_client_closes_in_the_middle_of_a_stream(self) -> None:
        """M6, A2."""
        self.leave("close")

    def test_when_the_client_leaves_a_generator_whose_finally_takes_its_time(self) -> None:
        """M6: still after it, and still called."""
        let_go, closing, finished = threading.Event(), threading.Event(), threading.Event()
        order: list[str] = []

        class Resource(Middleware):
            def on_finish(self, request: Any) -> None:
                order.append("on_finish")
                finished.set()

        @self.router.get("/")
        def stream(request: Any) -> Any:
            def pieces() -> Any:
                try:
                    while True:
                        yield "x" * 100_000
                finally:
                    closing.set()
                    let_go.wait(DEADLINE)
                    order.append("finally")

            return pieces()

        # A generator that its slow reader has parked; other streams make the pool grow.
        self.router.get("/other")(lambda request: (str(number) for number in range(3)))
        server = self.serve()
        server.add_middleware(Resource())
        client = self.connect(server, receive_buffer=4096)
        client.send_request("GET", "/")
        client.read_head()
        client.reset()
        wait_for(closing, "the generator is being closed")
        with Client(server.http_address) as other:
            self.assertEqual(other.get("/other").body, b"012")
        wait_for(finished, "on_finish of the other")
        self.assertEqual(order, ["on_finish"])
        finished.clear()
        let_go.set()
        wait_for(finished, "on_finish")
        self.assertEqual(order, ["on_finish", "finally", "on_finish"])

    def test_when_the_client_left_while_the_handler_ran(self) -> None:
        """M6: on_finish comes after the handler, since it frees what the handler uses."""
        for protocol in ("http", "tcp"):
            with self.subTest(protocol=protocol):
                inside, go_on = threading.Event(), threading.Event()
                calls: list[str] = []

                @self.router.register("/slow", protocol="both")
                def slow(
                    request: Any,
                    inside: threading.Event = inside,
                    go_on: threading.Event = go_on,
                    calls: list[str] = calls,
                ) -> str:
                    inside.set()
                    go_on.wait(DEADLINE)
                    calls.append("handler")
                    return "too late"

                server = self.serve(tcp_keep_alive=True)
                recorder = Recorder("a", calls)
                server.add_middleware(recorder)
                if protocol == "http":
                    client = self.connect(server)
                    client.send_request("GET", "/slow")
                else:
                    client = self.connect_tcp(server)
                    client.send("slow\n")
                wait_for(inside, "the handler")
                client.reset()
                wait_until(lambda s=server: s.stats["connections"] == 0, "the reset is noticed")
                self.assertEqual(calls, ["a in"])
                go_on.set()
                wait_for(recorder.finished, "on_finish")
                self.assertEqual(calls, ["a in", "handler", "a out", "a finish"])

    def test_when_a_client_left_before_its_stream_began(self) -> None:
        """M6, A2: the stream is given up, then it is over."""
        inside, go_on = threading.Event(), threading.Event()
        calls: list[str] = []

        class Source:
            def __iter__(self) -> Any:
                return iter(["x"])

            def close(self) -> None:
                calls.append("source closed")

        @self.router.get("/")
        def slow(request: Any) -> Any:
            inside.set()
            go_on.wait(DEADLINE)
            return StreamResponse(Source())

        server = self.serve()
        recorder = Recorder("a", calls)
        server.add_middleware(recorder)
        client = self.connect(server)
        client.send_request("GET", "/")
        wait_for(inside, "the handler")
        client.reset()
        wait_until(lambda: server.stats["connections"] == 0, "the reset is noticed")
        go_on.set()
        wait_for(recorder.finished, "on_finish")
        self.assertEqual(calls, ["a in", "a out", "source closed", "a finish"])

    def test_after_a_stream_that_failed(self) -> None:
        """M6, A2: the body is cut short, and it is over."""

        @self.router.get("/")
        def stream(request: Any) -> Any:
            yield "some"
            raise RuntimeError("broken stream")

        server = self.serve()
        recorder = Recorder("a", [])
        server.add_middleware(recorder)
        client = self.connect(server)
        client.send_request("GET", "/")
        with self.assertRaises(CutShort):
            client.read_response()
        wait_for(recorder.finished, "on_finish")

    def test_after_a_handler_that_was_given_up(self) -> None:
        """M6, limits 16: a 504 answers, and on_finish waits for the handler to let go."""
        for protocol in ("http", "tcp"):
            with self.subTest(protocol=protocol):
                go_on = threading.Event()
                calls: list[str] = []

                @self.router.register("/slow", protocol="both")
                def slow(request: Any, go_on: Any = go_on, calls: Any = calls) -> str:
                    go_on.wait(DEADLINE)
                    calls.append("handler")
                    return "late"

                server = self.serve(tcp_keep_alive=True, handler_timeout=0.05)
                recorder = Recorder("a", calls)
                server.add_middleware(recorder)
                if protocol == "http":
                    client = self.connect(server)
                    self.assertEqual(client.get("/slow").status, 504)
                else:
                    client = self.connect_tcp(server)
                    client.send("slow\n")
                    self.assertEqual(json.loads(client.read_line())["code"], "timeout")
                client.expect_end()  # The late answer must not pass for another request's.
                self.assertEqual(calls, ["a in"])
                go_on.set()
                wait_for(recorder.finished, "on_finish")
                self.assertEqual(calls, ["a in", "handler", "a out", "a finish"])

    def test_after_a_tcp_stream_whose_client_left(self) -> None:
        """M6 on TCP."""
        order: list[str] = []
        inside, go_on, finished = threading.Event(), threading.Event(), threading.Event()

        class Resource(Middleware):
            def on_finish(self, request: Any) -> None:
                order.append("on_finish")
                finished.set()

        @self.router.register("stream", protocol="tcp")
        def stream(request: Any) -> Any:
            try:
                yield "first"
                inside.set()
                go_on.wait(DEADLINE)
                yield "second"
            finally:
                order.append("finally")

        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Resource())
        client = self.connect_tcp(server)
        client.send("stream\n")
        self.assertEqual(client.read_line(), "first")
        wait_for(inside, "the generator goes on")
        client.reset()
        wait_until(lambda: server.stats["connections"] == 0, "the reset is noticed")
        go_on.set()
        wait_for(finished, "on_finish")
        self.assertEqual(order, ["finally", "on_finish"])


class Auth(Middleware):
    """The guard of the first README, shortened."""

    def process_request(self, request: Any) -> Any:
        token = request.headers.get("Authorization")
        if not token:
            return {"error": "Unauthorized"}, 401
        g.user = token
        return None


class TestTcpHeaders(ServerTestCase):
    def test_one_guard_guards_both_protocols(self) -> None:
        """M7: headers of a JSON message are request.headers, in any letter case."""
        self.router.register("/secret", protocol="both")(lambda request: {"user": g.user})
        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Auth())
        http, tcp = self.connect(server), self.connect_tcp(server)
        refused = http.get("/secret")
        self.assertEqual((refused.status, refused.json), (401, {"error": "Unauthorized"}))
        self.assertEqual(http.get("/secret", fields={"authorization": "me"}).json, {"user": "me"})
        for message, answer in (
            ({"command": "secret"}, {"error": "Unauthorized", "status": 401}),
            ({"command": "secret", "headers": {}}, {"error": "Unauthorized", "status": 401}),
            ({"command": "secret", "headers": {"Authorization": "me"}}, {"user": "me"}),
            ({"command": "secret", "headers": {"AUTHORIZATION": "me"}}, {"user": "me"}),
        ):
            self.assertEqual(ask(tcp, message), answer)

    def test_lines_and_xml_have_no_headers(self) -> None:
        """M7: empty, and not missing: the guard refuses instead of crashing."""
        self.router.register("secret", protocol="tcp")(lambda request: "never")
        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Auth())
        client = self.connect_tcp(server)
        client.send("secret\n")
        self.assertEqual(json.loads(client.read_line()), {"error": "Unauthorized", "status": 401})
        client.send('<request command="secret"/>\n')
        self.assertEqual(
            client.read_line(),
            "<response><error>Unauthorized</error><status>401</status></response>",
        )

    def test_headers_that_are_no_object_of_text_are_a_bad_message(self) -> None:
        """M7, T5: refused before a middleware can stumble over it."""
        self.router.register("secret", protocol="tcp")(lambda request: "never")
        server = self.serve(tcp_keep_alive=True)
        server.add_middleware(Auth())
        client = self.connect_tcp(server)
        for headers in (7, ["a"], "x", None, {"Authorization": 5}):
            answer = ask(client, {"command": "secret", "headers": headers, "id": 1})
            self.assertEqual((answer["code"], answer["id"]), ("bad_message", 1))
