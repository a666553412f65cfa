"""TimerQueue and TimerHandle: order, ties, and husks."""

from __future__ import annotations

import random
import unittest

from pyliteflux.reactor.timers import TimerHandle, TimerQueue


def call(handle: TimerHandle) -> None:
    """Do as the reactor does."""
    callback, args = handle.take()
    if callback is not None:
        callback(*args)


class TimerQueueTest(unittest.TestCase):
    def setUp(self) -> None:
        self.queue = TimerQueue()
        self.called: list[object] = []

    def add(self, deadline: float, name: object = None) -> TimerHandle:
        handle = TimerHandle(deadline, self.called.append, (name,))
        self.queue.add(handle)
        return handle

    def call_due(self, now: float) -> list[object]:
        self.called.clear()
        for handle in self.queue.pop_due(now):
            call(handle)
        return self.called

    def test_the_soonest_comes_first_whatever_the_order_of_adding(self) -> None:
        deadlines = list(range(100))
        random.Random(1).shuffle(deadlines)
        for deadline in deadlines:
            self.add(deadline, deadline)
        self.assertEqual(self.queue.next_deadline(), 0)
        self.assertEqual(self.call_due(1000), list(range(100)))

    def test_equal_deadlines_keep_the_order_of_adding(self) -> None:
        for name in "abcdef":
            self.add(5, name)
        self.assertEqual(self.call_due(5), list("abcdef"))

    def test_a_timer_is_due_at_its_deadline_and_not_before(self) -> None:
        self.add(5, "a")
        self.assertEqual(self.call_due(4.999), [])
        self.assertEqual(self.call_due(5), ["a"])
        self.assertEqual(self.call_due(6), [])

    def test_a_cancelled_timer_is_never_called(self) -> None:
        handle = self.add(1, "a")
        self.add(2, "b")
        handle.cancel()
        handle.cancel()
        self.assertFalse(handle.is_active)
        self.assertEqual(self.queue.next_deadline(), 2)
        self.assertEqual(self.call_due(3), ["b"])

    def test_a_timer_may_cancel_one_that_is_due_with_it(self) -> None:
        second = TimerHandle(1, self.called.append, ("b",))
        self.queue.add(TimerHandle(1, second.cancel, ()))
        self.queue.add(second)
        self.assertEqual(self.call_due(1), [])

    def test_a_cancelled_timer_keeps_nothing_alive(self) -> None:
        handle = self.add(1, "a")
        handle.cancel()
        self.assertEqual(handle._args, ())

    def test_a_timer_is_called_once(self) -> None:
        handle = self.add(1, "a")
        call(handle)
        call(handle)
        self.assertEqual(self.called, ["a"])
        self.assertFalse(handle.is_active)

    def test_husks_are_not_counted(self) -> None:
        handles = [self.add(n) for n in range(5)]
        handles[3].cancel()
        self.assertEqual(len(self.queue), 4)
        self.assertIsNone(TimerQueue().next_deadline())

    def test_cancelled_timers_do_not_pile_up_until_their_time(self) -> None:
        queue = TimerQueue()
        called: list[object] = []
        kept = TimerHandle(50.0, called.append, ("kept",))
        queue.add(kept)
        for number in range(20_000):
            handle = TimerHandle(1000.0 + number, called.append, (number,))
            queue.add(handle)
            handle.cancel()
        self.assertLess(len(queue._heap), 2500)
        self.assertEqual((queue.next_deadline(), len(queue)), (50.0, 1))
        self.assertEqual(queue.pop_due(60.0), [kept])


if __name__ == "__main__":
    unittest.main()
