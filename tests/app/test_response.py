"""response: what a handler may return, and what becomes of it (A1, A3, A4, A6)."""

from __future__ import annotations

import json
import unittest
from typing import Any

from pyliteflux import (
    HTMLResponse,
    HTTPJSONResponse,
    HTTPResponse,
    RedirectResponse,
    StreamResponse,
)
from pyliteflux.app.response import HTML, JSON
from tests.app.answering import answer, fields
from tests.support import captured_logs


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


if __name__ == "__main__":
    unittest.main()
