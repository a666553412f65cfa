"""Waker: one byte for a thousand calls, a full pipe, and no wake-up lost."""

from __future__ import annotations

import select
import socket
import threading
import unittest
from collections import deque
from unittest import mock

from pyliteflux.reactor.waker import Waker

DEADLINE = 10.0  # Seconds.


class WakerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.waker = Waker()
        self.addCleanup(self.waker.close)

    def is_rung(self) -> bool:
        return bool(select.select([self.waker], [], [], 0)[0])

    def test_wake_makes_it_readable_and_drain_silent_again(self) -> None:
        self.assertFalse(self.is_rung())
        self.waker.wake()
        self.assertTrue(self.is_rung())
        self.waker.drain()
        self.assertFalse(self.is_rung())

    def test_a_pair_that_somebody_else_has_got_into_is_refused(self) -> None:
        """CVE-2024-3219: where the system has no socketpair(), a local program may come first."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            stranger = socket.create_connection(listener.getsockname())
            far, other = listener.accept()[0], listener.accept()[0]
            self.addCleanup(stranger.close)
            self.addCleanup(far.close)
            with mock.patch("socket.socketpair", return_value=(near, other)):
                with self.assertRaisesRegex(ConnectionError, "another program"):
                    Waker()
            self.assertEqual((near.fileno(), other.fileno()), (-1, -1))
            near = socket.create_connection(listener.getsockname())
            far = listener.accept()[0]
            with mock.patch("socket.socketpair", return_value=(near, far)):
                Waker().close()

    def test_a_thousand_wake_ups_cost_one_byte(self) -> None:
        for _ in range(1000):
            self.waker.wake()
        self.assertEqual(self.waker.drain(), b"\0")

    def test_after_a_drain_it_wakes_again(self) -> None:
        for _ in range(3):
            self.waker.wake()
            self.assertEqual(self.waker.drain(), b"\0")

    def test_a_drain_without_a_wake_up_does_not_block(self) -> None:
        self.assertEqual(self.waker.drain(), b"")

    def test_a_full_pipe_is_no_error(self) -> None:
        """Signals may have filled it: the reader is due to wake anyway."""
        far = self.waker._far
        with self.assertRaises(BlockingIOError):
            while True:
                far.send(b"\0" * 4096)
        self.waker.wake()
        self.assertTrue(self.is_rung())
        while self.is_rung():
            self.waker.drain()
        self.waker.wake()
        self.assertTrue(self.is_rung())

    def test_signal_numbers_come_through(self) -> None:
        self.waker._far.send(b"\x02\x0f")
        self.waker.wake()
        self.assertEqual(self.waker.drain(), b"\x02\x0f\0")

    def test_a_wake_up_after_the_close_is_silent(self) -> None:
        self.waker.close()
        self.waker.wake()
        self.waker.close()

    def test_what_is_queued_between_drain_and_emptying_is_seen_or_rings_again(self) -> None:
        """The order that matters: lower the flag, then empty the queue."""
        self.waker.wake()
        self.waker.drain()
        self.waker.wake()  # A thread posts here, before the queue is emptied.
        self.assertTrue(self.is_rung())

    def test_no_wake_up_is_lost_under_many_threads(self) -> None:
        """A sleeper that waits for ever shows each loss as a failure."""
        inbox: deque[int] = deque()
        threads, each = 4, 2000

        def post() -> None:
            for n in range(each):
                inbox.append(n)
                self.waker.wake()

        posters = [threading.Thread(target=post, daemon=True) for _ in range(threads)]
        for poster in posters:
            poster.start()
        taken = 0
        while taken < threads * each:
            ready = select.select([self.waker], [], [], DEADLINE)[0]
            self.assertTrue(ready, f"asleep with {len(inbox)} calls in the inbox")
            self.waker.drain()
            for _ in range(len(inbox)):
                inbox.popleft()
                taken += 1
        for poster in posters:
            poster.join(DEADLINE)


if __name__ == "__main__":
    unittest.main()
