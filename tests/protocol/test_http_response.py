"""http_response: every byte of a head is written from checked fields, and framed by the server."""

from __future__ import annotations

import unittest

from pyliteflux.protocol.http_response import (
    LAST_CHUNK,
    MOST_STARTS,
    Heads,
    encode_chunk,
    encode_error_response,
    encode_head,
)

DATE = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


class WholeHeads(unittest.TestCase):
    def test_the_server_says_where_a_body_ends(self) -> None:
        for arguments, framing in (
            ({"length": 5}, "Content-Length: 5\r\n"),
            ({"length": 0}, "Content-Length: 0\r\n"),
            ({"length": None}, ""),
            ({"length": None, "chunked": True}, "Transfer-Encoding: chunked\r\n"),
            ({"length": 1, "close": True}, "Content-Length: 1\r\nConnection: close\r\n"),
            ({"length": 1, "keep_alive": True}, "Content-Length: 1\r\nConnection: keep-alive\r\n"),
        ):
            with self.subTest(arguments):
                head = encode_head(200, "A: b\r\n", DATE, **arguments)  # type: ignore[arg-type]
                expected = f"HTTP/1.1 200 OK\r\n{DATE}A: b\r\n{framing}\r\n"
                self.assertEqual(head.decode(), expected)

    def test_a_status_without_a_phrase_has_an_empty_one(self) -> None:
        """RFC 9112 section 4: the blank before it stays."""
        self.assertTrue(encode_head(299, "", DATE, 0).startswith(b"HTTP/1.1 299 \r\n"))

    def test_what_latin_1_lacks_becomes_a_question_mark(self) -> None:
        self.assertIn(b"A: \xe9?\r\n", encode_head(200, "A: é数\r\n", DATE, 0))

    def test_an_error_closes_and_has_no_body_for_head(self) -> None:
        whole = encode_error_response(413, b"{}", DATE, "X: y\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        self.assertEqual(body, b"{}")
        for line in (b"Content-Length: 2", b"Connection: close", b"X: y"):
            self.assertIn(line, head)
        self.assertEqual(
            encode_error_response(413, b"{}", DATE, "X: y\r\n", True), head + b"\r\n\r\n"
        )


class HeadsOfASecond(unittest.TestCase):
    def test_they_say_what_a_whole_one_says(self) -> None:
        heads = Heads(DATE)
        for status in (200, 299):
            for kind in ("text/plain", None):
                for _ in range(2):  # The second time its start is known.
                    fields = "X-Request-ID: id-1\r\n"
                    if kind is not None:
                        fields = f"Content-Type: {kind}\r\n{fields}"
                    self.assertEqual(
                        heads.encode(status, kind, "id-1", 7), encode_head(status, fields, DATE, 7)
                    )

    def test_a_content_type_that_would_become_a_field_is_refused(self) -> None:
        heads = Heads(DATE)
        for _ in range(2):
            with self.assertRaises(ValueError):
                heads.encode(200, "text/plain\r\nX: y", "id-1", 0)

    def test_a_handler_with_endless_types_fills_no_memory(self) -> None:
        heads = Heads(DATE)
        for number in range(MOST_STARTS + 10):
            head = heads.encode(200, f"text/x-{number}", "id-1", 0)
            self.assertIn(f"text/x-{number}\r\n".encode(), head)
        self.assertEqual(len(heads._starts), MOST_STARTS)


class Chunks(unittest.TestCase):
    def test_one_says_its_size_in_hexadecimal(self) -> None:
        self.assertEqual(encode_chunk(b"x" * 31), b"1f\r\n" + b"x" * 31 + b"\r\n")

    def test_an_empty_one_would_be_the_last(self) -> None:
        with self.assertRaises(ValueError):
            encode_chunk(b"")
        self.assertEqual(LAST_CHUNK, b"0\r\n\r\n")


if __name__ == "__main__":
    unittest.main()
