"""response: what a handler may return, and what becomes of it (A1, A3, A4, A6)."""

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
    Config,
    HTMLResponse,
    HTTPError,
    HTTPJSONResponse,
    HTTPRequest,
    HTTPResponse,
    RedirectResponse,
    StreamResponse,
)
from pyliteflux.app.app import App
from pyliteflux.app.response import BYTES, HTML, JSON, TEXT, make_response
from pyliteflux.app.route import Route
from pyliteflux.app.routing import Router
from pyliteflux.headers import MutableHeaders
from tests.support import captured_logs


def answer(value: Any, **settings: Any) -> HTTPResponse:
    """Return the response to a handler that returns this value, or raises it."""

    def handler(request: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    app = App(Config(**settings), Router())
    request = HTTPRequest("GET", "/path", app=app)
    request.route = Route("/path", handler)
    return app.pipeline.handle(request)


def fields(response: HTTPResponse) -> dict[str, str]:
    return dict(response.fields())


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


class HTTPJSONResponseTests(unittest.TestCase):
    def test_the_defaults(self) -> None:
        """A4."""
        response = answer(HTTPJSONResponse(data={"ü": 1}))
        self.assertEqual((response.status, response.body), (200, '{"ü": 1}'.encode()))
        self.assertEqual(fields(response), {"Content-Type": JSON})
        self.assertEqual(answer(HTTPJSONResponse()).body, b"null")

    def test_any_json_value_may_be_its_data(self) -> None:
        """A4."""
        for data, body in (
            (None, b"null"), ("text", b'"text"'), ([1], b"[1]"), (True, b"true"), (1.5, b"1.5"),
        ):  # fmt: skip
            self.assertEqual(answer(HTTPJSONResponse(data)).body, body)

    def test_status_and_headers_may_be_given(self) -> None:
        """A4."""
        response = answer(HTTPJSONResponse(data=[], status=201, headers={"X-A": "1"}))
        self.assertEqual(response.status, 201)
        self.assertEqual(fields(response), {"X-A": "1", "Content-Type": JSON})

    def test_a_content_type_of_the_users_wins(self) -> None:
        """A4: once, in any letter case."""
        for name in ("Content-Type", "content-type", "CONTENT-TYPE"):
            response = answer(HTTPJSONResponse([], headers={name: "application/problem+json"}))
            self.assertEqual(response.fields(), [(name, "application/problem+json")])
        late = HTTPJSONResponse([])
        late.headers["Content-Type"] = "application/problem+json"
        self.assertEqual(fields(answer(late)), {"Content-Type": "application/problem+json"})

    def test_the_callers_dicts_are_not_changed(self) -> None:
        """A4."""
        data, headers = {"a": 1}, {"X-A": "1"}
        response = HTTPJSONResponse(data=data, headers=headers)
        response.headers["X-B"] = "2"
        answer((response, {"X-C": "3"}))
        self.assertEqual((data, headers), ({"a": 1}, {"X-A": "1"}))
        tuple_headers = {"X-A": "1"}
        answer(({}, 200, tuple_headers))
        self.assertEqual(tuple_headers, {"X-A": "1"})

    def test_a_json_encoder_may_say_more(self) -> None:
        """A4: and writes UTF-8 all the same."""

        class Encoder(json.JSONEncoder):
            def default(self, value: Any) -> Any:
                return sorted(value) if isinstance(value, set) else super().default(value)

        response = answer(HTTPJSONResponse({"ü": {2, 1}}, json_encoder=Encoder))
        self.assertEqual(response.body, '{"ü": [1, 2]}'.encode())
        with captured_logs():
            self.assertEqual(answer(HTTPJSONResponse(1j, json_encoder=Encoder)).status, 500)

    def test_one_object_may_be_returned_again(self) -> None:
        response = HTTPJSONResponse({"a": 1}, 201)
        for _ in range(2):
            self.assertEqual(answer(response).body, b'{"a": 1}')
            self.assertEqual(answer(response).status, 201)
        self.assertEqual(len(response.fields()), 1)


class StreamResponseTests(unittest.TestCase):
    def test_it_takes_what_is_promised(self) -> None:
        """A2."""
        response = answer(StreamResponse(["a"], content_type="text/csv", headers={"X-A": "1"},
                                         status=202))  # fmt: skip
        self.assertEqual(response.status, 202)
        self.assertEqual(fields(response), {"X-A": "1", "Content-Type": "text/csv"})

    def test_a_content_type_among_the_headers_wins(self) -> None:
        response = StreamResponse([], headers={"content-type": "text/csv"})
        self.assertEqual(response.fields(), [("content-type", "text/csv")])

    def test_what_cannot_be_iterated_or_is_a_body_itself_is_refused(self) -> None:
        """A2: a str would leave letter by letter."""
        for bad in ("text", b"bytes", 5, None):
            with self.assertRaisesRegex(TypeError, "iterable of str or bytes"):
                StreamResponse(bad)  # type: ignore[arg-type]

    def test_pieces_are_str_as_utf_8_or_bytes(self) -> None:
        """A2."""
        response = StreamResponse([])
        for piece, data in (("é你", "é你".encode()), (b"\xff", b"\xff"), ("", b""),
                            (bytearray(b"a"), b"a"), (memoryview(b"a"), b"a")):  # fmt: skip
            self.assertEqual(response.encode_piece(piece), data)
        for bad in (5, None, {}, ["a"]):
            with self.assertRaisesRegex(TypeError, "str or bytes"):
                response.encode_piece(bad)


class OtherResponsesTests(unittest.TestCase):
    def test_html_is_html(self) -> None:
        response = answer(HTMLResponse("<p>é"))
        self.assertEqual(
            (response.body, fields(response)), ("<p>é".encode(), {"Content-Type": HTML})
        )

    def test_a_redirect_never_leads_to_another_host_by_accident(self) -> None:
        response = answer(RedirectResponse("/a b?x=é"))
        self.assertEqual((response.status, fields(response)["Location"]), (302, "/a%20b?x=%C3%A9"))
        for location in ("//evil", "/\\evil", "\\\\evil", "/\t/evil", "\n//evil"):
            with self.subTest(location), self.assertRaises(ValueError):
                RedirectResponse(location)
        with self.assertRaises(ValueError):
            RedirectResponse("/", 200)
        injected = answer(RedirectResponse("/\r\nX: y"))
        self.assertEqual(fields(injected)["Location"], "/%0D%0AX:%20y")

    def test_a_body_of_another_type_is_a_500(self) -> None:
        with captured_logs() as logs:
            self.assertEqual(answer(HTTPResponse({"a": 1})).status, 500)  # type: ignore[arg-type]
        self.assertTrue(logs.find("must be bytes or str"))


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

    def test_make_response_needs_no_request(self) -> None:
        self.assertEqual(make_response({"a": 1}).body, b'{"a": 1}')


class GeneratorSubclass(unittest.TestCase):
    def test_a_generator_function_handler_is_a_stream(self) -> None:
        """A1: a handler with `yield` in it is a generator when it is called."""

        def handler(request: Any) -> Iterator[str]:
            yield "a"

        self.assertIsInstance(make_response(handler(None)), StreamResponse)


if __name__ == "__main__":
    unittest.main()
