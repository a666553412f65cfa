"""values: what a handler may return, and what becomes of it (A1, M5)."""

from __future__ import annotations

import decimal
import json
import logging
import types
import unittest
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from pyliteflux import (
    HTTPJSONResponse,
    HTTPRequest,
    HTTPResponse,
    StreamResponse,
)
from pyliteflux.app.response import BYTES, JSON, TEXT
from pyliteflux.app.values import fields_of, make_response, settle
from pyliteflux.headers import MutableHeaders
from tests.app.answering import answer, fields
from tests.support import captured_logs


class ReturnValueTests(unittest.TestCase):
    def test_json_values_become_json(self) -> None:
        """A1: dict, list, int, float, bool; UTF-8, not escaped to ASCII."""
        for value, body in (
            ({}, "{}"), ([], "[]"), (0, "0"), (-5, "-5"), (10**30, "1" + 30 * "0"),
            (1.5, "1.5"), (True, "true"), (False, "false"),
            ({"你": "好", "é": [None, "😀", {"a": [True, 1.0]}]},
             '{"你": "好", "é": [null, "😀", {"a": [true, 1.0]}]}'),
            ([[], {}, ""], '[[], {}, ""]'), ({1: "a", None: "b"}, '{"1": "a", "null": "b"}'),
            ({"t": (1, 2)}, '{"t": [1, 2]}'), (OrderedDict(b=1, a=2), '{"b": 1, "a": 2}'),
            (HTTPStatus.OK, "200"),
        ):  # fmt: skip
            with self.subTest(value):
                response = answer(value)
                self.assertEqual(response.body, body.encode())
                self.assertEqual(fields(response), {"Content-Type": JSON})
                self.assertEqual(response.status, 200)

    def test_none_is_a_204(self) -> None:
        """A1."""
        response = answer(None)
        self.assertEqual((response.status, response.body, response.fields()), (204, b"", []))

    def test_a_str_is_text_and_bytes_are_bytes(self) -> None:
        """A1: whatever kind of bytes they are."""
        for value, body, content_type in (
            ("Grüße 你好", "Grüße 你好".encode(), TEXT), ("", b"", TEXT),
            (b"\0\xff", b"\0\xff", BYTES), (bytearray(b"ab"), b"ab", BYTES),
            (memoryview(b"ab"), b"ab", BYTES),
        ):  # fmt: skip
            response = answer(value)
            self.assertEqual((response.status, response.body), (200, body))
            self.assertEqual(fields(response), {"Content-Type": content_type})

    def test_a_generator_is_a_stream(self) -> None:
        """A1."""
        generator = (piece for piece in ("a", "b"))
        response = answer(generator)
        assert isinstance(response, StreamResponse)
        self.assertIs(response.iterable, generator)
        self.assertEqual(fields(response), {"Content-Type": TEXT})

    def test_a_response_object_is_taken_as_it_is(self) -> None:
        """A1."""
        response = HTTPResponse("x", 418, {"X-A": "1"})
        self.assertIs(answer(response), response)
        self.assertEqual((response.status, response.body), (418, b"x"))
        self.assertEqual(fields(response), {"X-A": "1", "Content-Type": TEXT})

    def test_a_tuple_carries_status_or_headers_or_both(self) -> None:
        """A1: each form, around each kind of body."""
        made = fields(answer({}))
        headers = {"X-A": "1", "X-B": "2"}
        for value, status, extra in (
            (({}, 201), 201, {}),
            (({}, headers), 200, headers),
            (({}, 202, headers), 202, headers),
            (({}, 202, None), 202, {}),
            (({}, 202, {}), 202, {}),
            (({}, [("X-A", "1"), ("X-B", "2")]), 200, headers),
            (({}, 202, (("X-A", "1"), ("X-B", "2"))), 202, headers),
            (({}, types.MappingProxyType(headers)), 200, headers),
            (({}, MutableHeaders(headers)), 200, headers),
            (({}, {"X-A": 1, "X-B": 2}), 200, headers),
            (({}, HTTPStatus.CREATED), 201, {}),
            (({}, HTTPStatus.CREATED, headers), 201, headers),
            (({}, 599), 599, {}),
        ):
            with self.subTest(value):
                response = answer(value)
                self.assertEqual(response.status, status)
                self.assertIs(type(response.status), int)
                self.assertEqual(fields(response), {**made, **extra})
                self.assertEqual(response.body, b"{}")
        for body, expected in (("text", b"text"), (b"raw", b"raw"), ([1], b"[1]"), (True, b"true"),
                               (5, b"5"), (HTTPResponse(b"r", 418), b"r")):  # fmt: skip
            response = answer((body, 201, {"X-A": "1"}))
            self.assertEqual((response.status, response.body), (201, expected))
            self.assertEqual(fields(response)["X-A"], "1")

    def test_a_number_with_headers_is_told_from_a_status_and_a_body(self) -> None:
        """A1, X1: what is no status is a number; else the three say which is which."""
        values: list[tuple[Any, bytes]] = [
            ((99, {"X-A": "1"}), b"99"), ((600, {"X-A": "1"}), b"600"), ((True, {}), b"true"),
            ((404.0, {"X-A": "1"}), b"404.0"), ((201, 200, {"X-A": "1"}), b"201"),
            ((201, 202), b"201"),
        ]  # fmt: skip
        for value, body in values:
            self.assertEqual(answer(value).body, body)

    def test_a_content_type_of_a_tuple_wins(self) -> None:
        """A1, A4: in any letter case, once."""
        for name in ("Content-Type", "content-type"):
            response = answer(("<p>", {name: "text/html"}))
            self.assertEqual([value for _, value in response.fields()], ["text/html"])

    def test_headers_in_a_tuple_leave_the_status_of_a_response_object(self) -> None:
        """A1."""
        response = answer((HTTPResponse("x", 418), {"X-A": "1"}))
        self.assertEqual((response.status, fields(response)["X-A"]), (418, "1"))

    def test_a_tuple_may_have_no_body(self) -> None:
        """A1: None is a 204, unless a status says otherwise."""
        for value, status in (
            ((None, 204), 204), ((None, 201), 201), ((None, {"X-A": "1"}), 204),
            ((None, 304, {"X-A": "1"}), 304), ((None, 200), 200), ((None, 200, {}), 200),
        ):  # fmt: skip
            response = answer(value)
            self.assertEqual((response.status, response.body), (status, b""), value)

    def test_a_tuple_may_hold_a_stream(self) -> None:
        """A1."""
        response = answer(((piece for piece in "ab"), 201, {"X-A": "1"}))
        assert isinstance(response, StreamResponse)
        self.assertEqual((response.status, fields(response)["X-A"]), (201, "1"))

    def test_anything_else_is_a_500_that_says_what_came_and_what_is_allowed(self) -> None:
        """A1."""

        class Mine:
            def __repr__(self) -> str:
                return "<mine>"

        point = namedtuple("point", "x y")
        for value, says in (
            ({1, 2}, "set {1, 2}"), (Mine(), "Mine <mine>"), (object, "type"),
            (decimal.Decimal("1.5"), "Decimal"), (1j, "complex"), (iter([]), "list_iterator"),
            (map(str, []), "map"), (range(3), "range"), (ValueError, "type"),
            (point(1, 2), "point"), (print, "builtin_function"),
        ):  # fmt: skip
            with self.subTest(value), captured_logs() as logs:
                response = answer(value)
                self.assertEqual(response.status, 500)
                self.assertEqual(json.loads(response.body)["error"], "Internal Server Error")
                (line,) = logs.lines(logging.ERROR)
                self.assertIn(f"the handler returned {says}", line)
                for allowed in ("dict", "list", "int", "float", "bool", "None", "str", "bytes",
                                "generator", "response object", "(body, status)",
                                "(body, headers)", "(body, status, headers)"):  # fmt: skip
                    self.assertIn(allowed, line)

    def test_a_bad_tuple_is_a_500_that_says_what_is_wrong_with_it(self) -> None:
        """A1."""
        for value, says in (
            ((), "not one of 0"), (({},), "not one of 1"), ((1, 2, 3, 4), "not one of 4"),
            (({}, "200"), "str '200'"), (({}, True), "bool True"), (({}, None), "NoneType"),
            (({}, "200", {}), "str '200'"), (({}, {}, 200), "dict"), (({}, True, {}), "bool"),
            (({}, 200, 5), "headers"), (({}, 200, "X: y"), "headers"), (({}, [1]), "headers"),
            (({}, {"X-A": None}), "X-A"), (({}, {"X-A": b"1"}), "X-A"), ((({}, 1), 200), "tuple"),
            (({}, 99), "99"), (({}, 0), "0"), (({}, -1), "-1"), (({}, 1000), "1000"),
            (({}, 100), "100"), (({}, 600), "600"), (({1}, 200), "set {1}"),
            ((201, {"id": 1}), "(body, status)"), ((404, ["x"]), "(404, 200, headers)"),
            ((599, [("X-A", "1")]), "(body, status)"),
        ):  # fmt: skip
            with self.subTest(value), captured_logs() as logs:
                response = answer(value)
                self.assertEqual(response.status, 500)
                (line,) = logs.lines(logging.ERROR)
                self.assertIn(says, line)
                self.assertIn("handler (", line)  # X1: and where it was written.

    def test_what_json_cannot_say_is_a_500(self) -> None:
        """A1."""
        circle: list[Any] = []
        circle.append(circle)
        for value in (
            {"a": {b""}}, {"a": b""}, [object()], float("nan"), [float("inf")], circle, {1},
            {"a": "\ud800"}, "\ud800", {(1, 2): 3}, HTTPJSONResponse({1j}),
        ):  # fmt: skip
            with captured_logs() as logs:
                response = answer(value)
            self.assertEqual(response.status, 500)
            self.assertEqual(len(logs.lines(logging.ERROR)), 1)

    def test_a_status_of_a_response_object_is_checked(self) -> None:
        for status in ("200", 20, 1000, 600, None, True, 200.0):
            with self.subTest(status), captured_logs():
                self.assertEqual(answer(HTTPResponse(b"", status)).status, 500)  # type: ignore[arg-type]
        self.assertEqual(answer(HTTPResponse(b"", HTTPStatus.CREATED)).status, 201)


class MakeResponse(unittest.TestCase):
    def test_make_response_needs_no_request(self) -> None:
        self.assertEqual(make_response({"a": 1}).body, b'{"a": 1}')

    def test_a_generator_function_handler_is_a_stream(self) -> None:
        """A1: a handler with `yield` in it is a generator when it is called."""

        def handler(request: Any) -> Iterator[str]:
            yield "a"

        self.assertIsInstance(make_response(handler(None)), StreamResponse)

    def test_what_waits_in_the_request_is_put_into_it_once(self) -> None:
        request = HTTPRequest()
        request.response_status, request.response_headers = 201, {"X": "1"}
        response = make_response("text", request)
        self.assertEqual((response.status, response.headers["X"]), (201, "1"))

    def test_a_response_and_its_request_say_the_same_once_they_are_settled(self) -> None:
        request, response = HTTPRequest(), HTTPResponse("a", 202)
        settle(response, request)
        self.assertEqual(request.response_status, 202)
        request.response_status, request.response_headers = 203, {"X": "1"}
        settle(response, request, 202)
        self.assertEqual((response.status, response.headers["X"]), (203, "1"))
        self.assertIs(request.response_headers, response.headers)

    def test_the_fields_of_a_plain_value_are_a_copy(self) -> None:
        constant = {"X": "1"}
        request = HTTPRequest()
        request.response_headers = constant
        fields_of(request, "text")["X"] = "2"
        self.assertEqual((constant, request.response_headers["X"]), ({"X": "1"}, "2"))
        response = HTTPResponse()
        self.assertIs(fields_of(request, response), response.headers)


if __name__ == "__main__":
    unittest.main()
