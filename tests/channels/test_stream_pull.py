"""StreamPull: the credit, the end, who closes the generator, and when. Contract A2, M6."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextvars import Context
from types import SimpleNamespace
from typing import Any

from pyliteflux.app.context import Scope
from pyliteflux.channels.stream_pull import StreamPull
from pyliteflux.config import Config
from pyliteflux.errors import PoolFull
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.transport import PIECE_COST
from tests.fakes import FakeSelector, InlinePool, Network
from tests.support import captured_logs

PIECE = b"x" * 40
COST = len(PIECE) + PIECE_COST  # Of one piece, in bytes of room.


class Listening:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[BaseException | None] = []
        self.failures: list[BaseException] = []
        self.room = 2 * COST + 50
        self.on_piece = self.pieces.append
        self.on_end = self.ends.append
        self.on_failure = self.failures.append


class StreamPullTest(unittest.TestCase):
    def setUp(self) -> None:
        self.reactor = Reactor(FakeSelector(Network()))
        self.addCleanup(self.reactor.close)
        self.pool = InlinePool(self.reactor, "stream", 1, 10)
        self.threads: Any = SimpleNamespace(
            reactor=self.reactor, streams=self.pool, cleanup=self.pool, config=Config()
        )
        self.sink = Listening()
        self.pieces, self.ends = self.sink.pieces, self.sink.ends
        self.discarded = 0
        self.finished: list[Any] = []
        self.produced = 0
        self.scope: Any = Scope()
        self.scope.context = Context()

    def pull(self, items: Iterator[Any]) -> StreamPull:
        def discard() -> None:
            self.discarded += 1
            close = getattr(items, "close", None)
            if close is not None:
                close()

        source: Any = SimpleNamespace(
            remaining=lambda: items, encode_piece=lambda item: item or b"", discard=discard
        )
        return StreamPull(source, self.sink, self.scope, self.threads)

    def endless(self) -> Iterator[bytes]:
        while True:
            self.produced += 1
            yield PIECE

    def work(self) -> None:
        """Let the worker have its turn, then the reactor."""
        self.pool.run_all()
        self.reactor.run_once()

    def test_it_stops_where_the_room_is_used_up(self) -> None:
        pull = self.pull(self.endless())
        pull.go_on()
        self.pool.run_one()
        self.assertEqual(self.produced, 3, "two pieces and some room: a third")
        self.sink.room = 0
        self.reactor.run_once()
        self.assertEqual(self.pool.waiting, 0, "a stalled reader must pin no worker")
        self.sink.room = COST + 1
        pull.go_on()
        self.pool.run_one()
        self.assertEqual(self.produced, 5)

    def test_one_worker_at_a_time_steps_it(self) -> None:
        pull = self.pull(self.endless())
        pull.go_on()
        pull.go_on()
        self.assertEqual(self.pool.waiting, 1)

    def test_empty_pieces_are_skipped(self) -> None:
        self.pull(iter([b"a", b"", None, b"b"])).go_on()
        self.work()
        self.assertEqual(self.pieces, [b"a", b"b"])
        self.assertEqual(self.ends, [None])
        self.assertEqual(self.discarded, 1)

    def test_an_exception_is_the_end_and_logged_once(self) -> None:
        def failing() -> Iterator[bytes]:
            yield b"a"
            raise RuntimeError("on purpose")

        with captured_logs() as logs:
            self.pull(failing()).go_on()
            self.work()
        self.assertEqual(self.pieces, [b"a"])
        self.assertIsInstance(self.ends[0], RuntimeError)
        self.assertEqual(len(logs.find("on purpose")), 1)
        self.assertEqual(self.discarded, 1)

    def test_system_exit_in_a_generator_is_an_end_like_any_other(self) -> None:
        def leaving() -> Iterator[bytes]:
            yield b"a"
            raise SystemExit

        with captured_logs():
            self.pull(leaving()).go_on()
            self.work()
        self.assertIsInstance(self.ends[0], SystemExit)

    def test_a_pull_that_was_cancelled_at_rest_is_closed_on_a_worker_then_finished(self) -> None:
        pull = self.pull(self.endless())
        pull.cancel(self.finished.append)
        self.assertEqual(self.discarded, 0)
        self.work()
        self.assertEqual((self.discarded, self.finished), (1, [self.scope]))

    def test_a_pull_that_was_cancelled_before_its_turn_came_is_closed_at_once(self) -> None:
        """Its job may wait for long where all threads are held."""
        closers = InlinePool(self.reactor, "cleanup", 1, 10)
        pull = self.pull(self.endless())
        self.threads.cleanup = closers
        pull.go_on()
        pull.cancel(self.finished.append)
        closers.run_all()
        self.assertEqual((self.discarded, self.finished), (1, [self.scope]))
        self.work()
        closers.run_all()
        self.assertEqual((self.discarded, self.finished), (1, [self.scope]))
        self.assertEqual(self.produced, 0)

    def test_a_pull_that_was_cancelled_while_a_worker_steps_it_waits_for_it(self) -> None:
        """Contract M6: never while the generator may still use what is freed."""

        def stepped() -> Iterator[bytes]:
            pull.cancel(self.finished.append)
            self.assertEqual(self.pool.waiting, 0)
            self.assertEqual((self.discarded, self.finished), (0, []))
            self.produced += 1
            yield PIECE
            self.produced += 1
            yield PIECE

        pull = self.pull(stepped())
        pull.go_on()
        self.work()
        self.assertEqual((self.discarded, self.finished), (0, []))
        self.work()
        self.assertEqual((self.discarded, self.finished), (1, [self.scope]))
        self.assertEqual(self.ends, [], "nobody is there to be told")
        self.assertEqual(self.produced, 1, "nothing more is produced for nobody")

    def test_a_cancel_after_the_last_piece_discards_once(self) -> None:
        pull = self.pull(iter([b"a"]))
        pull.go_on()
        self.pool.run_one()
        pull.cancel(self.finished.append)
        self.reactor.run_once()
        self.work()
        self.assertEqual((self.discarded, self.finished), (1, [self.scope]))

    def test_a_generator_whose_close_fails_is_logged_and_the_request_finished(self) -> None:
        def stubborn() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 100
            finally:
                raise RuntimeError("in finally")

        pull = self.pull(stubborn())
        pull.go_on()
        self.sink.room = 0
        self.work()
        with captured_logs() as logs:
            pull.cancel(self.finished.append)
            self.work()
        self.assertEqual(len(logs.find("in finally")), 1)
        self.assertEqual(self.finished, [self.scope])

    def test_who_was_told_hears_what_comes_of_it(self) -> None:
        error = RuntimeError("it cannot be framed")
        self.pull(iter(())).on_failure(error)
        self.assertEqual(self.sink.failures, [error])

    def test_the_time_of_a_step_is_taken_where_it_is_limited(self) -> None:
        times: list[float] = []

        def stepped() -> Iterator[bytes]:
            times.append(pull._step_began)
            yield PIECE

        for timeout in (0, 5):
            self.threads.config.stream_step_timeout = timeout
            pull = self.pull(stepped())
            pull.go_on()
            self.work()
            self.assertEqual(pull.step_time, 0, "it lies still")
        self.assertEqual(times[0], 0)
        self.assertGreater(times[1], 0)

    def test_a_full_pool_is_the_end(self) -> None:
        for _ in range(10):
            self.pool.submit(print, None)
        self.pull(self.endless()).go_on()
        self.assertIsInstance(self.ends[0], PoolFull)


if __name__ == "__main__":
    unittest.main()
