"""statuses: one name for each, on every version of Python."""

from __future__ import annotations

import unittest

from pyliteflux.protocol.http_response import STATUS_LINES
from pyliteflux.statuses import METHODS, PHRASES, phrase


class Phrases(unittest.TestCase):
    def test_those_that_python_has_renamed_are_called_as_in_the_rfc(self) -> None:
        """RFC 9110 section 15.5; `http.HTTPStatus` says it so from 3.13 on."""
        for status, name in (
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (416, "Range Not Satisfiable"),
            (422, "Unprocessable Content"),
        ):
            self.assertEqual(phrase(status), name)

    def test_the_line_on_the_wire_and_the_error_body_say_the_same(self) -> None:
        self.assertEqual(set(STATUS_LINES), set(PHRASES))
        for status, name in PHRASES.items():
            self.assertEqual(STATUS_LINES[status], f"HTTP/1.1 {status} {name}\r\n")

    def test_one_that_nobody_has_registered(self) -> None:
        self.assertEqual(phrase(299), "Error")


class Methods(unittest.TestCase):
    def test_there_are_seven_and_no_tunnel(self) -> None:
        """R2."""
        self.assertEqual(set(METHODS), {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})


if __name__ == "__main__":
    unittest.main()
