"""known_heads: what came twice is remembered, within a bound."""

from __future__ import annotations

import tracemalloc
import unittest

from pyliteflux.errors import HeadTooLarge, ProtocolError
from pyliteflux.protocol.http_head import DEFAULT_LIMITS, HttpLimits, RequestHead, parse_head
from pyliteflux.protocol.known_heads import MAX_KNOWN

FEW_FIELDS = HttpLimits(fields=2)


def head_of(*lines: str, target: str = "/") -> bytes:
    """Return a head with a Host, and with these lines."""
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: a", *lines, "", "")).encode("latin-1")


def parse(data: bytes) -> RequestHead:
    return parse_head(data, DEFAULT_LIMITS)


class WhatIsRemembered(unittest.TestCase):
    def setUp(self) -> None:
        DEFAULT_LIMITS.known.forget()

    def test_a_head_that_comes_again_and_again_is_parsed_twice(self) -> None:
        first, second, third = (parse(head_of("Accept: */*")) for _ in range(3))
        self.assertIsNot(first, second)
        self.assertIs(second, third)

    def test_heads_that_come_once_are_not_kept_and_push_out_nothing(self) -> None:
        known = head_of(target="/known")
        parse(known)
        remembered = parse(known)
        for number in range(3 * MAX_KNOWN):
            parse(head_of(f"Cookie: visit={number}"))
        self.assertLess(len(DEFAULT_LIMITS.known), MAX_KNOWN // 8)  # One in 256 passes for known.
        self.assertIs(parse(known), remembered)

    def test_there_is_a_bound_to_how_many_are_kept(self) -> None:
        for number in range(3 * MAX_KNOWN):
            for _ in range(2):
                parse(head_of(f"Cookie: visit={number}"))
            self.assertLessEqual(len(DEFAULT_LIMITS.known), MAX_KNOWN)

    def test_none_is_taken_for_known_where_nothing_came_before_it(self) -> None:
        for number in range(2000):
            self.setUp()
            parse(head_of(f"Cookie: visit={number}"))
            self.assertEqual(DEFAULT_LIMITS.known, {})

    def test_a_stranger_cannot_fill_it_with_much(self) -> None:
        """MAX_KNOWN heads of a hundred fields each, all cut; and lists that fill a head."""
        tiny = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}:" for n in range(98)]
        options = ",".join(f"{n:x}" for n in range(6500))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(MAX_KNOWN):
            for _ in range(3):
                head = parse(head_of(*tiny, f"z:{number}"))
            self.assertEqual(head.headers.get("z"), str(number))
        for number in range(64):
            parse(head_of(f"Connection: {options},{number}"))
        after, _ = tracemalloc.get_traced_memory()
        self.assertGreater(len(DEFAULT_LIMITS.known), MAX_KNOWN // 2)
        self.assertLess(after - before, 12_000_000)

    def test_a_long_one_is_not_kept(self) -> None:
        data = head_of("Cookie: " + "x" * 1024)
        for _ in range(3):
            parse(data)
        self.assertEqual(DEFAULT_LIMITS.known, {})

    def test_what_is_refused_is_refused_each_time(self) -> None:
        for _ in range(4):
            with self.assertRaises(ProtocolError):
                parse(head_of("Content-Length: 1", "Content-Length: 1"))
        self.assertEqual(DEFAULT_LIMITS.known, {})

    def test_a_server_with_a_lower_limit_refuses_what_another_one_knows(self) -> None:
        data = head_of("A: 1", "B: 2")
        for _ in range(3):
            self.assertEqual(len(list(parse(data).headers)), 3)
            with self.assertRaisesRegex(HeadTooLarge, "3 header fields, limit 2"):
                parse_head(data, FEW_FIELDS)

    def test_two_servers_remember_apart(self) -> None:
        data, others = head_of("Accept: */*"), HttpLimits()
        for _ in range(2):
            parse(data)
        self.assertIn(data, DEFAULT_LIMITS.known)
        parse_head(data, others)
        self.assertEqual(others.known, {})


if __name__ == "__main__":
    unittest.main()
