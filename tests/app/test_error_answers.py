"""error_answers: what a client is told of an exception, and what the log is (A5, A6)."""

from __future__ import annotations

import json
import logging
import unittest
from typing import Any

from pyliteflux import (
    Config,
    HTTPError,
    HTTPRequest,
    PoolFull,
)
from pyliteflux.app.error_answers import ErrorAnswers, what_failed
from pyliteflux.app.route import Route
from tests.app.answering import answer, fields
from tests.support import captured_logs


class ErrorTests(unittest.TestCase):
    def test_an_exception_tells_the_client_nothing(self) -> None:
        """A5: its id apart; the traceback is in the log."""
        with captured_logs() as logs:
            response = answer(ValueError("a secret"))
        body = json.loads(response.body)
        self.assertEqual(set(body), {"error", "request_id"})
        self.assertEqual(body["error"], "Internal Server Error")
        self.assertNotIn(b"secret", response.body)
        (line,) = logs.lines(logging.ERROR)
        self.assertIn("GET /path failed", line)
        self.assertIn("ValueError: a secret", line)
        self.assertIn("Traceback", line)

    def test_debug_tells_it_all(self) -> None:
        """A5."""
        with captured_logs():
            response = answer(ValueError("a secret"), debug=True)
        body = json.loads(response.body)
        self.assertEqual(response.status, 500)
        self.assertEqual(body["exception"], "ValueError: a secret")
        self.assertIn("Traceback", "".join(body["traceback"]))

    def test_an_http_error_is_that_answer(self) -> None:
        """A6."""
        for error, body in (
            (HTTPError(404), {"error": "Not Found"}),
            (HTTPError(418, "short and stout"), {"error": "short and stout"}),
            (HTTPError(422, {"field": "name"}), {"field": "name"}),
            (HTTPError(400, ["a", "b"]), ["a", "b"]),
            (HTTPError(599), {"error": "Error"}),
            (HTTPError(500, "mine"), {"error": "mine"}),
        ):
            with captured_logs() as logs:
                response = answer(error)
            self.assertEqual(response.status, error.status)
            self.assertEqual(json.loads(response.body), body)
            self.assertEqual(logs.lines(logging.ERROR), [])
        response = answer(HTTPError(401, "who?", {"WWW-Authenticate": "Basic"}))
        self.assertEqual(fields(response)["WWW-Authenticate"], "Basic")

    def test_an_http_error_is_an_error(self) -> None:
        """A6."""
        for status in (200, 302, 399, 600, 0, "404", None):
            with self.assertRaises(ValueError):
                HTTPError(status)  # type: ignore[arg-type]

    def test_a_subclass_of_http_error_counts(self) -> None:
        """A6."""

        class NotMine(HTTPError):
            def __init__(self) -> None:
                super().__init__(403, "not yours")

        self.assertEqual(answer(NotMine()).status, 403)


class HandlersOfErrors(unittest.TestCase):
    def setUp(self) -> None:
        self.answers = ErrorAnswers(Config())
        self.request = HTTPRequest("GET", "/x")

    def value_of(self, error: BaseException) -> Any:
        with captured_logs() as self.logs:
            return self.answers.value_of(self.request, error)

    def test_the_closest_class_comes_first_then_the_status(self) -> None:
        handlers = self.answers.handlers
        handlers[500] = lambda request, error: "500"
        handlers[404] = lambda request, error: "404"
        handlers[LookupError] = lambda request, error: "look"
        handlers[KeyError] = lambda request, error: "key"
        for error, expected in (
            (KeyError(), "key"), (IndexError(), "look"), (ValueError(), "500"),
            (HTTPError(404), "404"), (HTTPError(403), {"error": "Forbidden"}),
        ):  # fmt: skip
            with self.subTest(error):
                self.assertEqual(self.value_of(error), expected)

    def test_of_a_plain_value_status_and_fields_stay_those_of_the_error(self) -> None:
        self.answers.handlers[405] = lambda request, error: "no"
        self.value_of(HTTPError(405, headers={"Allow": "GET"}))
        self.assertEqual(self.request.response_status, 405)
        self.assertEqual(self.request.response_headers, {"Allow": "GET"})
        self.answers.handlers[405] = lambda request, error: ("no", 400)
        self.value_of(HTTPError(405, headers={"Allow": "GET"}))
        self.assertEqual((self.request.response_status, self.request.response_headers), (400, None))

    def test_a_handler_that_fails_is_answered_for_its_own_error(self) -> None:
        def fail(request: Any, error: BaseException) -> Any:
            raise HTTPError(409, "second")

        self.answers.handlers[LookupError] = fail
        self.assertEqual(self.value_of(KeyError("first")), {"error": "second"})
        self.assertEqual(self.request.response_status, 409)

    def test_a_full_pool_is_busy_and_not_logged(self) -> None:
        self.assertEqual(self.value_of(PoolFull("x")), {"error": "Service Unavailable"})
        self.assertEqual(self.request.error_code, "busy")
        self.assertEqual(self.request.response_headers, {"Retry-After": "1"})
        self.assertEqual(self.logs.lines(), [])

    def test_a_code_of_an_earlier_error_is_gone(self) -> None:
        self.value_of(ValueError())
        self.assertEqual(self.request.error_code, "internal")
        self.value_of(HTTPError(404))
        self.assertIsNone(self.request.error_code)

    def test_what_failed_names_the_handler_unless_its_generator_has_begun(self) -> None:
        self.request.route = Route("/x", lambda request: None, name="mine")
        text = what_failed(self.request, ValueError("a\nb"))
        self.assertIn(f"the answer of mine ({__file__}:", text)
        self.assertTrue(text.endswith(r"a\x0ab"))
        self.request.stream_has_begun = True
        self.assertEqual(what_failed(self.request, ValueError()), "failed")


if __name__ == "__main__":
    unittest.main()
