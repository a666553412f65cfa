"""Bodies that come whole are handed on as they came; what the events are is in the corpus."""

from __future__ import annotations

import unittest

from pyliteflux.protocol.http_connection import END, HttpConnection
from pyliteflux.protocol.http_head import RequestHead

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


if __name__ == "__main__":
    unittest.main()
