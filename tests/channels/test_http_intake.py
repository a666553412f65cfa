"""Intake and Bodies: what arrives, what counts, where it stops. The limit max_buffered_bodies."""

from __future__ import annotations

import unittest
from typing import Any

from pyliteflux.app.body_stream import HIGH_WATER, BodyStream
from pyliteflux.channels.http_intake import BUDGET, LAGGING, REFUSED, Bodies, Intake
from pyliteflux.errors import BodyTooLarge, HTTPError, ProtocolError
from pyliteflux.protocol.http_connection import END, NEED_DATA, Mark


class Events:
    """What the protocol makes of the bytes: pieces, then END where the body is whole."""

    def __init__(self) -> None:
        self.waiting: list[bytes | Mark | ProtocolError] = []

    def next_event(self) -> bytes | Mark:
        event = self.waiting.pop(0) if self.waiting else NEED_DATA
        if isinstance(event, ProtocolError):
            raise event
        return event


class IntakeCase(unittest.TestCase):
    def setUp(self) -> None:
        self.bodies = Bodies(1000, lambda bodies: None)
        self.intake = Intake(self.bodies)
        self.http: Any = Events()
        self.is_spent = False

    def receive(self, *events: bytes | Mark | ProtocolError) -> None:
        self.http.waiting += events


class ABodyThatIsKept(IntakeCase):
    def setUp(self) -> None:
        super().setUp()
        self.intake.body = b""

    def take(self) -> object:
        return self.intake.take(self.http.next_event(), self.http, lambda: self.is_spent)

    def test_it_grows_until_its_end(self) -> None:
        self.receive(b"ab", b"c")
        self.assertIs(self.take(), NEED_DATA)
        self.receive(b"de")
        self.receive(END)
        self.assertIs(self.take(), END)
        self.assertEqual((self.intake.body, self.intake.size), (b"abcde", 5))

    def test_one_piece_is_not_copied(self) -> None:
        self.receive(b"abc")
        self.take()
        self.assertIsInstance(self.intake.body, bytes)

    def test_each_byte_counts_until_it_is_released(self) -> None:
        self.receive(b"ab", b"c")
        self.take()
        self.assertEqual(self.bodies.size, 3)
        self.intake.release()
        self.intake.release()
        self.assertEqual(self.bodies.size, 0)

    def test_over_the_limit_somebody_has_to_go(self) -> None:
        others: list[int] = []
        self.bodies.make_room = lambda bodies: others.append(self.bodies.size)
        self.receive(b"x" * 1001)
        self.assertIs(self.take(), NEED_DATA)
        self.assertEqual(others, [1001])

    def test_it_stops_where_it_has_to_go_itself(self) -> None:
        self.bodies.make_room = lambda bodies: self.intake.release()
        self.receive(b"x" * 1001, b"y")
        self.assertIs(self.take(), REFUSED)
        self.assertEqual(self.bodies.size, 0)

    def test_many_pieces_use_up_the_budget_and_one_does_not(self) -> None:
        self.is_spent = True
        self.receive(b"a")
        self.assertIs(self.take(), NEED_DATA)
        self.receive(b"b", b"c")
        self.assertIs(self.take(), BUDGET)
        self.assertIs(self.take(), BUDGET)
        self.assertIs(self.take(), NEED_DATA)
        self.assertEqual(self.intake.body, b"abc")


class ABodyThatItsHandlerReads(IntakeCase):
    def setUp(self) -> None:
        super().setUp()
        self.stream = self.intake.stream = BodyStream(lambda: None)

    def feed(self) -> object:
        return self.intake.feed(self.http, lambda: self.is_spent)

    def test_its_pieces_are_handed_on_and_do_not_count(self) -> None:
        self.receive(b"ab", b"c")
        self.assertIs(self.feed(), NEED_DATA)
        self.assertEqual((self.intake.size, self.bodies.size), (3, 0))
        self.receive(END)
        self.assertIs(self.feed(), END)
        self.assertIsNone(self.intake.stream)
        self.assertEqual(list(self.stream), [b"ab", b"c"])

    def test_it_stops_where_the_handler_lags_behind(self) -> None:
        self.receive(b"x" * HIGH_WATER, b"y")
        self.assertIs(self.feed(), LAGGING)
        self.assertIs(self.intake.stream, self.stream)

    def test_it_stops_where_the_budget_is_used_up(self) -> None:
        self.is_spent = True
        self.receive(b"a", b"b")
        self.assertIs(self.feed(), BUDGET)
        self.assertEqual(self.intake.size, 1)

    def test_who_reads_is_told_that_it_fails(self) -> None:
        self.intake.fail(HTTPError(400, "the client has left"))
        self.assertIsNone(self.intake.stream)
        self.assertRaisesRegex(HTTPError, "the client has left", self.stream.read)
        self.intake.fail(HTTPError(400, "nobody reads any more"))

    def test_what_breaks_the_protocol_is_raised(self) -> None:
        self.receive(BodyTooLarge("over the limit"))
        self.assertRaises(BodyTooLarge, self.feed)


class ABodyThatIsSlow(IntakeCase):
    def test_it_is_too_slow_below_the_rate_and_after_the_timeout(self) -> None:
        self.intake.began, self.intake.size = 100.0, 10
        self.assertFalse(self.intake.is_trickling(102.0, 2, 100), "it may still come")
        self.assertTrue(self.intake.is_trickling(102.5, 2, 100))
        self.intake.size = 250
        self.assertFalse(self.intake.is_trickling(102.5, 2, 100))


if __name__ == "__main__":
    unittest.main()
