"""bad_heads: a head that is refused is told what is wrong with it, whole or not."""

from __future__ import annotations

import unittest

from pyliteflux.errors import HeadTooLarge, ProtocolError
from pyliteflux.protocol.bad_heads import check_head_so_far, check_trailers, explain_bad_head

LINE = b"GET / HTTP/1.1\r\n"
# What a whole head says after its request line, and what is said of it.
FIELDS = {
    b" folded": "line 2 .* folded lines are not accepted",
    b"\tfolded": "line 2 .* folded lines are not accepted",
    b"Host": "line 2 .* no colon",
    b"Host : a": "line 2 .* blank before the colon",
    b"Ho st: a": "line 2 .* name is not a token",
    b": a": "line 2 .* name is not a token",
    b"Host: a\0": "line 2 .* control character",
    b"Host: a\r\nX: \x7f": "line 3 .* control character",
}
LINES = {
    b"\x16\x03\x01": "TLS handshake",
    b'{"command": 1}': "looks like a TCP message",
    b"<request/>": "looks like a TCP message",
    "GET /数据 HTTP/1.1".encode(): "not ASCII: percent-encode it",
    b"GET  / HTTP/1.1": "the request line is not",
    b"GET / HTTP/11": "the request line is not",
    b"SSH-2.0-OpenSSH": "the request line is not",
}


class WholeHeads(unittest.TestCase):
    def test_a_field_is_named_by_its_line_and_its_fault(self) -> None:
        for fields, text in FIELDS.items():
            with self.subTest(fields), self.assertRaisesRegex(ProtocolError, text):
                explain_bad_head(LINE + fields + b"\r\n\r\n")

    def test_a_request_line_is_told_what_it_looks_like(self) -> None:
        for line, text in LINES.items():
            with self.subTest(line), self.assertRaisesRegex(ProtocolError, text):
                explain_bad_head(line + b"\r\nHost: a\r\n\r\n")


class HeadsSoFar(unittest.TestCase):
    def test_what_can_become_good_is_waited_for_however_little_is_here(self) -> None:
        head = LINE + b"Host: a\r\n"
        for end in range(1, len(head)):
            check_head_so_far(head[:end], 100, 1000)

    def test_what_never_can_is_refused_at_its_first_bad_byte(self) -> None:
        for line, text in LINES.items():
            with self.subTest(line), self.assertRaisesRegex(ProtocolError, text):
                check_head_so_far(line + b"\r\n", 100, 1000)
        with self.assertRaisesRegex(ProtocolError, "not ASCII"):
            check_head_so_far("GET /数".encode(), 100, 1000)

    def test_a_bare_lf_is_found_and_what_was_checked_is_not_looked_at_again(self) -> None:
        data = LINE + b"Host: a\nX: b"
        with self.assertRaisesRegex(ProtocolError, "LF without CR"):
            check_head_so_far(data, 100, 1000)
        check_head_so_far(data, 100, 1000, checked=data.index(b"\n", len(LINE)) + 2)

    def test_the_fault_that_comes_first_is_told(self) -> None:
        """So that the answer does not depend on how the network cut the bytes."""
        long = b"GET /" + b"a" * 100
        for data, text in (
            (long + b"\0", "over 20 bytes"),
            (b"GET /\0" + b"a" * 100, "the request line is not"),
            (LINE + b"X: \n" + b"a" * 100, "LF without CR"),
            (LINE + b"X: " + b"a" * 100 + b"\n", "the head is over 50 bytes"),
        ):
            with self.subTest(data), self.assertRaisesRegex(ProtocolError, text):
                check_head_so_far(data, 20, 50)


class Trailers(unittest.TestCase):
    def test_they_are_fields_and_few(self) -> None:
        check_trailers(b"A: b\r\nC: d\r\n", 2)
        with self.assertRaisesRegex(HeadTooLarge, "2 trailer fields, limit 1"):
            check_trailers(b"A: b\r\nC: d\r\n", 1)
        for data in (b"A b\r\n", b"A: b\n", b" A: b\r\n", b"A: \0\r\n"):
            with self.subTest(data), self.assertRaisesRegex(ProtocolError, "not 'name: value'"):
                check_trailers(data, 5)


if __name__ == "__main__":
    unittest.main()
