"""message_answer: what of a handler's value a TCP client is told (T2, T5)."""

from __future__ import annotations

import dataclasses
import unittest
from typing import Any

from pyliteflux import NO_ANSWER, HTTPJSONResponse, HTTPResponse, StreamResponse, TCPRequest
from pyliteflux.app.message_answer import message_answer


@dataclasses.dataclass
class Record:
    a: int


def answer(
    value: Any,
    status: int = 200,
    headers: Any = None,
    code: str | None = None,
    data_type: str = "json",
) -> Any:
    """Return what answers a message where this has been said of its answer."""
    request = TCPRequest("x", data_type=data_type)
    request.response_status, request.response_headers, request.error_code = status, headers, code
    return message_answer(request, value)


class Values(unittest.TestCase):
    def test_a_value_is_its_own_answer(self) -> None:
        for value in ({"a": 1}, [1], "text", b"x", 5, 1.5, True, None, Record(1), NO_ANSWER):
            with self.subTest(value):
                self.assertIs(answer(value), value)

    def test_a_generator_is_a_stream_and_a_stream_is_left_alone(self) -> None:
        self.assertIsInstance(answer(x for x in "a"), StreamResponse)
        stream = StreamResponse(["a"])
        self.assertIs(answer(stream, 404), stream)

    def test_what_cannot_be_said_is_refused(self) -> None:
        with self.assertRaisesRegex(TypeError, "the handler returned"):
            answer(object())

    def test_of_a_response_object_its_content_is_told(self) -> None:
        self.assertEqual(answer(HTTPResponse("text")), "text")
        self.assertEqual(answer(HTTPResponse(b"\xff"), data_type="binary"), b"\xff")
        self.assertEqual(answer(HTTPJSONResponse({"b": 2}, 404)), {"b": 2, "status": 404})


class Statuses(unittest.TestCase):
    def test_a_status_is_told_where_there_is_room(self) -> None:
        for value, status, expected in (
            ({"a": 1}, 201, {"a": 1, "status": 201}),
            ([1], 201, {"data": [1], "status": 201}),
            (b"x", 201, {"data": "x", "status": 201}),
            (None, 204, None),
            ({"status": 404}, 404, {"status": 404}),
            ({"status": "paid"}, 202, {"data": {"status": "paid"}, "status": 202}),
            (
                {"status": "paid", "error": "e"},
                400,
                {"error": "e", "data": {"status": "paid", "error": "e"}, "status": 400},
            ),
            ({"code": "unknown_command"}, 404, {"code": "unknown_command"}),
        ):
            with self.subTest(value, status=status):
                self.assertEqual(answer(value, status), expected)
        self.assertEqual(answer(b"x", 201, data_type="binary"), b"x")

    def test_a_code_takes_the_place_of_a_status(self) -> None:
        self.assertEqual(
            answer({"error": "e"}, 500, code="internal"), {"error": "e", "code": "internal"}
        )
        self.assertEqual(answer("plain", 500, code="internal"), "plain")

    def test_of_the_fields_connection_close_counts(self) -> None:
        for value, headers, expected in (
            ({}, {"Connection": "close"}, True),
            ({}, {"Connection": "keep-alive", "X": "close"}, False),
            (HTTPResponse("a", 200, {"Connection": "x, Close"}), None, True),
        ):
            request = TCPRequest("x", data_type="json")
            request.response_headers = headers
            message_answer(request, value)
            self.assertIs(request.wants_close, expected)


if __name__ == "__main__":
    unittest.main()
