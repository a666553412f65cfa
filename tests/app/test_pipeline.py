"""One request through the app, by plain calls: what a handler does and what comes out.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux.app.app import App
from pyliteflux.app.context import g
from pyliteflux.app.middleware import Middleware
from pyliteflux.app.request import HTTPRequest, TCPRequest
from pyliteflux.app.response import HTTPJSONResponse, HTTPResponse, StreamResponse
from pyliteflux.app.route import Route, refusal_route
from pyliteflux.app.routing import Router
from pyliteflux.config import Config
from pyliteflux.errors import HTTPError, PoolFull
from tests.support import captured_logs


class PipelineTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.config = Config()
        self.app = App(self.config, Router())
        self.middlewares, self.tasks = self.app.middlewares, self.app.tasks
        self.pipeline = self.app.pipeline
        capture = captured_logs()
        self.logs = capture.__enter__()
        self.addCleanup(capture.__exit__, None, None, None)

    def http(self, handler: Any) -> HTTPResponse:
        self.request = request = HTTPRequest("GET", "/x", app=self.app)
        request.route = Route("/x", handler)
        return self.pipeline.handle(request)

    def tcp(self, handler: Any) -> Any:
        """Return what answers a message whose handler this is."""
        self.message = message = TCPRequest("x", {}, "json", app=self.app)
        message.route = Route("x", handler)
        return self.pipeline.handle_message(message)


def raise_it(error: BaseException) -> Any:
    def handler(request: Any) -> Any:
        raise error

    return handler


class TestHttp(PipelineTestCase):
    def test_values_become_responses(self) -> None:
        """A1: encoded here, off the reactor thread."""
        for value, status, body in (
            ({"a": "ü"}, 200, '{"a": "ü"}'.encode()),
            ([1], 200, b"[1]"),
            (None, 204, b""),
            ("text", 200, b"text"),
            (b"bytes", 200, b"bytes"),
            (({"a": 1}, 201), 201, b'{"a": 1}'),
            ((None, 404), 404, b""),
            (HTTPJSONResponse({"b": 2}, 202), 202, b'{"b": 2}'),
        ):
            response = self.http(lambda request, value=value: value)
            self.assertEqual((response.status, response.body), (status, body))
        self.assertIsInstance(self.http(lambda request: (x for x in "a")), StreamResponse)

    def test_what_cannot_be_sent_is_a_500_that_says_what_is_allowed(self) -> None:
        """A1: in the log, not to the client."""
        for value in (object(), {1, 2}, (1, 2, 3, 4), ("x", "y"), ({"a": 1}, True), ((), 200)):
            self.logs.records.clear()
            response = self.http(lambda request, value=value: value)
            self.assertEqual(response.status, 500)
            self.assertNotIn(b"Traceback", response.body)
            self.assertTrue(self.logs.find("TypeError"), value)
        self.assertEqual(self.http(lambda request: {"x": object()}).status, 500)
        self.assertEqual(self.http(lambda request: {"x": float("nan")}).status, 500)
        self.assertEqual(self.http(lambda request: ("x", 99)).status, 500)

    def test_exceptions_end_here(self) -> None:
        """A5, A6: one traceback in the log for a bug, none for an answer."""
        response = self.http(raise_it(KeyError("detail")))
        self.assertEqual(response.status, 500)
        self.assertIn(self.request.request_id.encode(), response.body)
        self.assertNotIn(b"detail", response.body)
        self.assertEqual(len(self.logs.find("KeyError: 'detail'")), 1)
        self.logs.records.clear()
        for error, status, body in (
            (HTTPError(404), 404, b'{"error": "Not Found"}'),
            (HTTPError(418, "teapot"), 418, b'{"error": "teapot"}'),
            (HTTPError(409, [1]), 409, b"[1]"),
            (PoolFull("x"), 503, b'{"error": "Service Unavailable"}'),
        ):
            response = self.http(raise_it(error))
            self.assertEqual((response.status, response.body), (status, body))
        self.assertEqual(self.logs.lines(), [])
        self.assertEqual(self.http(raise_it(SystemExit(3))).status, 500)
        with self.assertRaises(KeyboardInterrupt):  # Ctrl-C is not the handler's.
            self.http(raise_it(KeyboardInterrupt()))

    def test_debug_shows_the_traceback(self) -> None:
        """A5: only then."""
        self.config.debug = True
        self.assertIn(b"KeyError", self.http(raise_it(KeyError("detail"))).body)

    def test_status_and_headers_of_an_error_are_its_own(self) -> None:
        """A6: what a tuple had set before it is gone."""

        class Fails(Middleware):
            def process_response(self, request: Any, response: Any) -> Any:
                raise HTTPError(410, headers={"X-New": "1"})

        self.middlewares.add_middleware(Fails())
        response = self.http(lambda request: ("x", 201, {"X-Old": "1"}))
        self.assertEqual(response.status, 410)
        self.assertEqual(dict(response.headers.items()), {"X-New": "1"})

    def test_error_handlers_answer(self) -> None:
        """A status, an exception, its base class; one that fails is a 500."""
        self.app.errors.handlers[404] = lambda request, error: {"nothing": request.path}
        self.app.errors.handlers[LookupError] = lambda request, error: ("lookup", 422)
        self.app.errors.handlers[500] = lambda request, error: 1 / 0
        response = self.http(raise_it(HTTPError(404)))
        self.assertEqual((response.status, response.body), (404, b'{"nothing": "/x"}'))
        response = self.http(raise_it(KeyError()))
        self.assertEqual((response.status, response.body), (422, b"lookup"))
        self.assertEqual(self.http(raise_it(RuntimeError())).status, 500)
        self.assertTrue(self.logs.find("ZeroDivisionError"))

    def test_a_refusal_passes_the_middlewares(self) -> None:
        """M4: as 404 and 405 do."""
        seen: list[Any] = []

        class Sees(Middleware):
            def process_response(self, request: Any, response: Any) -> Any:
                seen.append((request.response_status, response))
                return response

        self.middlewares.add_middleware(Sees())
        self.http(refusal_route(HTTPError(405, "no", {"Allow": "GET"})).handler)
        self.assertEqual(seen, [(405, {"error": "no"})])
        self.assertEqual(self.request.response_headers, {"Allow": "GET"})

    def test_each_request_runs_in_a_context_of_its_own(self) -> None:
        """G1."""

        def handler(request: Any) -> Any:
            seen = hasattr(g, "x")
            g.x = 1
            return seen

        self.assertEqual([self.http(handler).body for _ in range(2)], [b"false", b"false"])
        self.assertEqual(self.request.namespace, {"x": 1})
        self.assertFalse(hasattr(g, "x"))


class TestFinish(PipelineTestCase):
    def test_only_who_was_entered_is_finished_in_reverse(self) -> None:
        """M6."""
        calls: list[str] = []

        class Ends(Middleware):
            def __init__(self, name: str, answer: Any = None) -> None:
                self.name, self.answer = name, answer

            def process_request(self, request: Any) -> Any:
                return self.answer

            def on_finish(self, request: Any) -> None:
                calls.append(f"{self.name} {g.request_id == request.request_id}")

        for middleware in (Ends("a"), Ends("b", "answer"), Ends("c")):
            self.middlewares.add_middleware(middleware)
        self.http(lambda request: "never")
        self.assertTrue(self.pipeline.needs_finish(self.request))
        self.pipeline.finish(self.request)
        self.assertEqual(calls, ["b True", "a True"])

    def test_most_requests_need_none(self) -> None:
        """M6 costs those who do not use it nothing."""
        self.middlewares.add_middleware(Middleware())
        self.http(lambda request: 1)
        self.assertFalse(self.pipeline.needs_finish(self.request))

    def test_one_that_was_added_later_does_not_count(self) -> None:
        """M6: it was not entered."""
        self.http(lambda request: 1)
        calls: list[int] = []

        class Late:
            def on_finish(self, request: Any) -> None:
                calls.append(1)

        self.middlewares.add_middleware(Late())
        self.assertFalse(self.pipeline.needs_finish(self.request))
        self.pipeline.finish(self.request)
        self.assertEqual(calls, [])


class TestTcp(PipelineTestCase):
    def test_values_become_answers(self) -> None:
        """T2, T5: the value itself; a status only where one was set."""
        for value, expected, status in (
            ({"a": 1}, {"a": 1}, 200),
            ("text", "text", 200),
            (b"bytes", b"bytes", 200),
            (None, None, 200),
            ((None, 204), None, 204),
            (({"a": 1}, 201), {"a": 1, "status": 201}, 201),
            (([1], 201), {"data": [1], "status": 201}, 201),
            (({"a": 1}, {"X": "1"}), {"a": 1}, 200),
            (HTTPJSONResponse({"b": 2}, 404), {"b": 2, "status": 404}, 404),
            (HTTPResponse("text"), "text", 200),
        ):
            answer = self.tcp(lambda request, value=value: value)
            self.assertEqual((answer, self.message.response_status), (expected, status))
        self.assertIsInstance(self.tcp(lambda request: (x for x in "a")), StreamResponse)

    def test_errors_have_a_code_or_a_status(self) -> None:
        """T5."""
        answer = self.tcp(raise_it(RuntimeError("secret")))
        self.assertEqual((answer["code"], answer["error"]), ("internal", "Internal Server Error"))
        self.assertNotIn("secret", repr(answer))
        self.assertEqual(self.tcp(raise_it(PoolFull("x")))["code"], "busy")
        answer = self.tcp(raise_it(HTTPError(403, "no")))
        self.assertEqual(answer, {"error": "no", "status": 403})
        self.assertEqual(self.tcp(lambda request: object())["code"], "internal")

    def test_a_replaced_error_has_no_code(self) -> None:
        """M5: a tuple or response object replaces all of it."""

        class Replaces(Middleware):
            value: Any = None

            def process_response(self, request: Any, response: Any) -> Any:
                return self.value

        replaces = Replaces()
        self.middlewares.add_middleware(replaces)
        for value, expected in (
            (HTTPJSONResponse({"b": 2}), {"b": 2}),
            (({"b": 2}, 202), {"b": 2, "status": 202}),
        ):
            replaces.value = value
            self.assertEqual(self.tcp(raise_it(RuntimeError())), expected)
        replaces.value = {"b": 2}
        self.assertEqual(self.tcp(raise_it(RuntimeError())), {"b": 2, "code": "internal"})


class TestBackground(PipelineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.submitted: list[Any] = []
        self.tasks.start(lambda run, task: self.submitted.append((run, task)))

    def test_tasks_are_queued_when_the_handler_has_returned(self) -> None:
        """B1."""

        def handler(request: Any) -> int:
            request.bg.add(print)
            return len(self.submitted)

        self.assertEqual(self.http(handler).body, b"0")
        self.assertEqual(len(self.submitted), 1)

    def test_tasks_of_a_failed_handler_are_dropped(self) -> None:
        """B1: by an exception, an HTTPError, a full queue, sys.exit()."""
        for error in (RuntimeError(), HTTPError(400), PoolFull(""), SystemExit()):

            def handler(request: Any, error: BaseException = error) -> None:
                request.bg.add(print)
                raise error

            self.logs.records.clear()
            self.http(handler)
            self.assertEqual(len(self.logs.find("dropped background tasks: print")), 1)
        self.assertEqual((self.submitted, self.tasks.queued), ([], 0))
        self.assertTrue(self.tasks.is_idle)

    def test_bg_that_is_first_asked_for_later_queues_at_once(self) -> None:
        """B3: in a stream or on_finish."""
        self.http(lambda request: "x")
        self.request.bg.add(print)
        self.assertEqual(len(self.submitted), 1)


if __name__ == "__main__":
    unittest.main()
