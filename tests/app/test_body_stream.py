"""A request body that is read while it arrives: two threads and one condition.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import threading
import unittest
from typing import Any

from pyliteflux.app.body_stream import HIGH_WATER, LOW_WATER, PIECE_COST, BodyStream
from pyliteflux.errors import HTTPError

DEADLINE = 10.0


class Reader:
    """Reads a stream on a thread of its own, as a handler does."""

    def __init__(self, stream: BodyStream) -> None:
        self.pieces: list[bytes] = []
        self.error: BaseException | None = None
        self._stream = stream
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for piece in self._stream:
                with self._changed:
                    self.pieces.append(piece)
                    self._changed.notify_all()
        except BaseException as error:
            self.error = error

    def wait_for(self, count: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.pieces) >= count, DEADLINE):
                raise AssertionError(f"{count} pieces were to come: {len(self.pieces)} did")

    def join(self) -> list[bytes]:
        self._thread.join(DEADLINE)
        if self._thread.is_alive():
            raise AssertionError("the reader still waits")
        return self.pieces


class TestReading(unittest.TestCase):
    def setUp(self) -> None:
        self.resumed: list[int] = []
        self.stream = BodyStream(lambda: self.resumed.append(1))

    def test_pieces_come_in_order_then_the_end(self) -> None:
        """Each as it was fed; the end comes as often as one asks."""
        self.assertTrue(self.stream.feed(b"a"))
        self.assertTrue(self.stream.feed(b"bc"))
        self.stream.complete()
        self.assertEqual(list(self.stream), [b"a", b"bc"])
        self.assertEqual(list(self.stream), [])
        self.assertEqual(self.stream.read(), b"")
        self.assertEqual(self.resumed, [])

    def test_read_returns_what_is_left(self) -> None:
        """After a few pieces, too."""
        for piece in (b"a", b"b", b"c"):
            self.stream.feed(piece)
        self.stream.complete()
        self.assertEqual(next(self.stream), b"a")
        self.assertEqual(self.stream.read(), b"bc")

    def test_an_empty_body(self) -> None:
        """The end at once."""
        self.stream.complete()
        self.assertEqual(self.stream.read(), b"")

    def test_the_reader_waits_for_the_reactor(self) -> None:
        """And gets each piece when it is there, not at the end."""
        reader = Reader(self.stream)
        self.stream.feed(b"first")
        reader.wait_for(1)
        self.stream.feed(b"second")
        reader.wait_for(2)
        self.stream.complete()
        self.assertEqual(reader.join(), [b"first", b"second"])

    def test_a_waiting_reader_is_told_of_the_end_and_of_a_failure(self) -> None:
        """Nobody sleeps for ever: complete() and fail() wake it."""
        reader = Reader(self.stream)
        self.stream.complete()
        self.assertEqual(reader.join(), [])
        stream = BodyStream(lambda: None)
        reader = Reader(stream)
        stream.fail(HTTPError(400, "the client has left"))
        reader.join()
        self.assertIsInstance(reader.error, HTTPError)

    def test_after_a_failure_nothing_is_handed_out(self) -> None:
        """What is here is dropped: half a body must not pass for one. As often as one asks."""
        self.stream.feed(b"part")
        self.stream.fail(HTTPError(413, "too large"))
        for _ in range(2):
            with self.assertRaises(HTTPError) as caught:
                self.stream.read()
            self.assertEqual(caught.exception.status, 413)

    def test_a_failure_after_the_end_comes_too_late(self) -> None:
        """A whole body is whole, even where the client has left since."""
        self.stream.feed(b"whole")
        self.stream.complete()
        self.stream.fail(HTTPError(400))
        self.assertEqual(self.stream.read(), b"whole")


class TestBackpressure(unittest.TestCase):
    def test_feeding_stops_at_the_high_mark_and_resumes_at_the_low_one(self) -> None:
        """One call for each pause, and not before the reader has caught up."""
        resumed: list[int] = []
        stream = BodyStream(lambda: resumed.append(1))
        piece = b"x" * 10_000
        fed = 0
        while stream.feed(piece):
            fed += len(piece)
        fed += len(piece)
        self.assertGreaterEqual(fed, HIGH_WATER)
        self.assertLess(fed, HIGH_WATER + len(piece))
        while fed - len(piece) > LOW_WATER:
            next(stream)
            fed -= len(piece)
            self.assertEqual(resumed, [])
        next(stream)
        self.assertEqual(resumed, [1])
        next(stream)
        self.assertEqual(resumed, [1])
        self.assertTrue(stream.feed(piece))

    def test_a_piece_counts_as_more_than_its_bytes(self) -> None:
        """X2: single bytes would take fifty times the memory that the mark allows."""
        stream = BodyStream(lambda: None)
        count = 1
        while stream.feed(b"x"):
            count += 1
        self.assertEqual(count, HIGH_WATER // (1 + PIECE_COST) + 1)

    def test_one_piece_over_the_mark(self) -> None:
        """It pauses, and taking it resumes."""
        resumed: list[int] = []
        stream = BodyStream(lambda: resumed.append(1))
        self.assertFalse(stream.feed(b"x" * HIGH_WATER))
        next(stream)
        self.assertEqual(resumed, [1])

    def test_a_reader_and_a_feeder_at_full_speed(self) -> None:
        """No piece is lost, and neither waits for ever: the reactor feeds when it may."""
        may_feed = threading.Event()
        may_feed.set()
        stream = BodyStream(may_feed.set)
        reader = Reader(stream)
        pieces = [bytes([number % 256]) * 5000 for number in range(1000)]
        for piece in pieces:
            self.assertTrue(may_feed.wait(DEADLINE), "the reader has not resumed it")
            may_feed.clear()
            if stream.feed(piece):
                may_feed.set()
        stream.complete()
        self.assertEqual(reader.join(), pieces)

    def test_resume_is_called_without_the_lock(self) -> None:
        """It may feed at once, as a reactor on the same thread would."""
        stream: Any = None

        def resume() -> None:
            stream.feed(b"next")
            stream.complete()

        stream = BodyStream(resume)
        stream.feed(b"x" * HIGH_WATER)
        self.assertEqual(len(stream.read()), HIGH_WATER + 4)


if __name__ == "__main__":
    unittest.main()
