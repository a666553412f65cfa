"""The short ways: bodies and heads that come whole. What the events are is in the corpus."""

from __future__ import annotations

import unittest

from pyliteflux.errors import BodyTooLarge
from pyliteflux.protocol.http_connection import END, NEED_DATA, HttpConnection
from pyliteflux.protocol.http_head import MAX_EMPTY_LINES, HttpLimits, RequestHead, parse_head

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
BODY = b"x" * 1000
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class BodiesThatNeedNoCopy(unittest.TestCase):
    def setUp(self) -> None:
        self.machine = HttpConnection()

    def expect_head(self, target: str) -> None:
        head = self.machine.next_event()
        assert isinstance(head, RequestHead)
        self.assertEqual(head.target, target)

    def test_a_piece_that_is_all_body_is_the_event(self) -> None:
        self.machine.receive_data(HEAD)
        self.expect_head("/")
        for piece in (BODY[:400], BODY[400:]):
            self.machine.receive_data(piece)
            self.assertIs(self.machine.next_event(), piece)
        self.assertIs(self.machine.next_event(), END)

    def test_head_and_body_in_one_piece(self) -> None:
        self.machine.receive_data(HEAD + BODY)
        self.expect_head("/")
        self.assertEqual(self.machine.next_event(), BODY)
        self.assertIs(self.machine.next_event(), END)
        self.assertEqual(self.machine.buffered, 0)

    def test_what_follows_the_body_is_the_next_request(self) -> None:
        self.machine.receive_data(HEAD + BODY + NEXT + HEAD + BODY[1:])
        for target in ("/", "/next"):
            self.expect_head(target)
            if target == "/":
                self.assertEqual(self.machine.next_event(), BODY)
                self.assertIs(self.machine.next_event(), END)
            self.machine.start_next_cycle()
        self.expect_head("/")
        self.assertEqual(self.machine.next_event(), BODY[1:])
        self.machine.receive_data(BODY[:1] + NEXT)
        self.assertEqual(self.machine.next_event(), BODY[:1])
        self.assertIs(self.machine.next_event(), END)
        self.machine.start_next_cycle()
        self.expect_head("/next")


class HeadsThatAreKnown(unittest.TestCase):
    """A piece that is a known head is taken as a whole, and the machine is where it would be."""

    def setUp(self) -> None:
        limits = HttpLimits()
        for data in (HEAD, NEXT):
            for _ in range(2):
                parse_head(data, limits)
        self.assertEqual(set(limits.known), {HEAD, NEXT})
        self.limits = limits
        self.machine = HttpConnection(limits)

    def test_it_is_the_one_that_is_remembered(self) -> None:
        for _ in range(3):
            self.machine.receive_data(NEXT)
            self.assertIs(self.machine.next_event(), self.limits.known[NEXT])
            self.assertTrue(self.machine.keep_alive)
            self.assertFalse(self.machine.start_next_cycle())

    def test_its_body_is_still_to_come_and_has_its_limit(self) -> None:
        for _ in range(2):
            self.machine.receive_data(HEAD)
            self.assertIs(self.machine.next_event(), self.limits.known[HEAD])
            self.assertFalse(self.machine.keep_alive, "its body is not whole")
            self.assertIs(self.machine.next_event(), NEED_DATA)
            self.machine.receive_data(BODY)
            self.assertEqual(self.machine.next_event(), BODY)
            self.assertIs(self.machine.next_event(), END)
            self.assertTrue(self.machine.keep_alive)
            self.machine.start_next_cycle()
        self.machine.receive_data(HEAD)
        self.machine.next_event()
        self.machine.body_limit = 999
        with self.assertRaises(BodyTooLarge):
            self.machine.next_event()
        other = HttpConnection(self.limits)
        other.receive_data(HEAD + BODY)
        other.next_event()
        self.assertEqual(other.body_limit, self.limits.body)

    def test_empty_lines_are_counted_for_each_request(self) -> None:
        for _ in range(MAX_EMPTY_LINES):
            self.machine.receive_data(b"\r\n\r\n")
            self.assertIs(self.machine.next_event(), NEED_DATA)
            self.machine.receive_data(NEXT)
            self.assertIs(self.machine.next_event(), self.limits.known[NEXT])
            self.machine.start_next_cycle()

    def test_what_comes_in_pieces_before_and_after_one(self) -> None:
        for cut in range(1, len(NEXT)):
            for piece in (NEXT[:cut], NEXT[cut:]):
                self.machine.receive_data(piece)
                event = self.machine.next_event()
            self.assertIs(event, self.limits.known[NEXT])
            self.machine.start_next_cycle()
            self.machine.receive_data(NEXT)
            self.assertIs(self.machine.next_event(), self.limits.known[NEXT])
            self.machine.start_next_cycle()


if __name__ == "__main__":
    unittest.main()
