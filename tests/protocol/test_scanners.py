"""scanners: where a message ends, the same wherever it is cut, and what can become none."""

from __future__ import annotations

import re
import unittest
from collections.abc import Callable

from pyliteflux.errors import BadMessage
from pyliteflux.protocol import scanners
from pyliteflux.protocol.scanners import (
    JsonScanner,
    LineScanner,
    Scanner,
    WrongStart,
    XmlScanner,
    begins_word,
    is_request_line,
    skip_blank,
    small_object,
    tls_hello,
)

DEPTH = 4
REST = b"rest\n{<"
MAKERS: dict[str, Callable[[int], Scanner]] = {
    "raw": LineScanner,
    "json": lambda start: JsonScanner(start, DEPTH),
    "xml": lambda start: XmlScanner(start, DEPTH),
}
# Each of them is whole at its last byte and not before.
WHOLE = {
    "raw": [b"\n", b"a b\n", b"a\r\n"],
    "json": [
        b"{}",
        b'{"a": [1, {"b": []}]}',
        b'{"}": "{[", "\\"}": "\\\\"}',
        b'{\n "a":\r\n\t1}',
        b'{"a": "\xff\xc3\xa9"}',
    ],
    "xml": [
        b"<a/>",
        b"<a></a >",
        b"<a><b/><c>x > y</c></a>",
        b"<a b='>' c=\"/>\" d='\"'/>",
        b"<?xml version='1.0'?>\n<!-- < -- > -->\n<a/>",
        b"<a><![CDATA[</a>]]]]></a>",
        b"<a><!-- </a> --><?p </a>?></a>",
    ],
}
BAD = {
    "json": {
        b"{]": "closes nothing",
        b"{[}": "closes nothing",
        b'{"a\n': "control character in a string",
        b'{"\\\n': "control character in a string",
        b"{[[[[": "nested over 4 levels",
    },
    "xml": {
        b"<!DOCTYPE a>": "DOCTYPE",
        b"<?x?> text": "text before the root",
        b"<a b='<'>": "in an attribute value",
        b"<a <": "bad XML",
        b"<a></a b='c'>": "in an end tag",
        b"<a>" * 5: "nested over 4 levels",
        b"</a>": "bad XML",
        b"<1>": "bad XML",
    },
}


class Ends(unittest.TestCase):
    def test_a_message_ends_at_its_last_byte_however_it_is_cut(self) -> None:
        for kind, messages in WHOLE.items():
            for message in messages:
                for step in (1, 2, 3, 1000):
                    for before in (b"", b"xx"):
                        with self.subTest(message, step=step):
                            self.check(kind, before, message, step)

    def check(self, kind: str, before: bytes, message: bytes, step: int) -> None:
        scanner = MAKERS[kind](len(before))
        self.assertEqual(scanner.data_type, kind)
        data = before + message + REST
        size, end = len(before + message), len(before)
        while True:
            end = min(end + step, len(data))
            if scanner.scan(data[:end], end):
                break
            self.assertLess(end, size)
        self.assertEqual(scanner.position, size)

    def test_what_can_become_no_message_is_refused_and_the_rest_of_its_line_is_found(self) -> None:
        for kind, cases in BAD.items():
            for message, text in cases.items():
                for step in (1, 1000):
                    scanner = MAKERS[kind](0)
                    with self.subTest(message, step=step):
                        with self.assertRaisesRegex(BadMessage, text) as caught:
                            for end in range(min(step, len(message)), len(message) + 1, step):
                                self.assertFalse(scanner.scan(message[:end], end))
                            scanner.scan(message, len(message))
                        self.assertEqual(caught.exception.data_type, kind)
                        self.assertLessEqual(scanner.position, len(message))

    def test_one_that_begins_wrong_is_refused_at_once(self) -> None:
        with self.assertRaisesRegex(BadMessage, "not a JSON object"):
            WrongStart(0, "json", "not a JSON object").scan(b"x", 1)


class SmallObjects(unittest.TestCase):
    def test_what_is_found_in_one_go_is_what_the_scanner_finds(self) -> None:
        for message in WHOLE["json"]:
            found = small_object(message + REST)
            if found is not None:
                self.assertEqual(found.end(), len(message))
        self.assertIsNotNone(small_object(b'{"a": [1], "b": {"c": "}"}}\n'))
        for deeper in (b'{"a": [[1]]}', b'{"a": ', b"{]}"):
            self.assertIsNone(small_object(deeper))


class Openings(unittest.TestCase):
    def test_http_and_tls_are_told_from_a_command(self) -> None:
        for line in (b"GET / HTTP/1.1", b"get  /x  HTTP/1", b"PRI * HTTP/2.0"):
            self.assertTrue(begins_word(line) and is_request_line(line), line)
        for line in (b"get me HTTP", b"{GET / HTTP/1.1", b" GET / HTTP/1.1", b"say / HTTPS/1.1"):
            self.assertFalse(is_request_line(line), line)
        hello = b"\x16\x03\x01\x02\x00\x01"
        for end in range(1, len(hello) + 1):
            self.assertTrue(tls_hello(hello[:end]))
        for data in (b"\x16\x04", b"\x16\x03\x05", b"\x16\x03\x01\x02\x00\x02", b"\x17"):
            self.assertFalse(tls_hello(data))

    def test_nul_may_stand_between_messages(self) -> None:
        found = skip_blank(b"\r\n\t \0x")
        self.assertEqual(found and found.end(), 5)


class Tables(unittest.TestCase):
    def test_every_part_has_its_moves_and_its_step(self) -> None:
        self.assertEqual(set(scanners.NEXT_PART), set(scanners.Part))
        self.assertEqual(set(scanners._STEPS), set(scanners.Part) - {scanners.WHOLE})

    def test_no_pattern_repeats_a_group_without_a_bound(self) -> None:
        # An engine's notes for each round of a group are memory that a peer would choose.
        for name, match in vars(scanners).items():
            pattern = getattr(getattr(match, "__self__", None), "pattern", None)
            if pattern is not None:
                with self.subTest(name):
                    self.assertIsNone(re.search(rb"\)[*+]", pattern))


if __name__ == "__main__":
    unittest.main()
