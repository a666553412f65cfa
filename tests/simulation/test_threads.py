"""The simulated threads and locks themselves: they must be as strict as the real ones."""

from __future__ import annotations

import random
import unittest
from collections.abc import Callable
from typing import Any

from tests.fakes import FakeClock
from tests.simulation.threads import SimThread, Threading, Threads


class ThreadsCase(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = FakeClock(0.0)
        self.threads = Threads(self.clock, lambda text: None)
        self.addCleanup(self.threads.kill)
        self.threading = Threading(self.threads)
        self.story: list[Any] = []

    def start(self, target: Callable[..., object], *args: Any) -> SimThread:
        return self.threads.start(target.__name__, target, *args)

    def run_all(self, most: int = 100) -> None:
        """Resume whoever can go on, in the order of their start, until nobody can."""
        for _ in range(most):
            ready = self.threads.runnable()
            if not ready:
                return
            self.threads.resume(ready[0])
            if ready[0].failure is not None:
                raise ready[0].failure
        self.fail("they never come to rest")


class Turns(ThreadsCase):
    def test_a_thread_runs_only_when_it_is_resumed(self) -> None:
        thread = self.start(self.story.append, "ran")
        self.assertEqual(self.story, [])
        self.threads.resume(thread)
        self.assertEqual(self.story, ["ran"])
        self.assertEqual(self.threads.all, [])

    def test_a_sleeper_goes_on_when_its_time_has_come_and_not_before(self) -> None:
        def sleeper() -> None:
            self.threads.sleep(2.0)
            self.story.append("awake")

        self.start(sleeper)
        self.run_all()
        self.clock.advance(1.999)
        self.run_all()
        self.assertEqual(self.story, [])
        self.assertEqual(self.threads.next_time(), 2.0)
        self.clock.advance(0.001)
        self.run_all()
        self.assertEqual(self.story, ["awake"])

    def test_at_a_point_the_seed_decides_who_goes_on(self) -> None:
        def talk(name: str) -> None:
            for _ in range(20):
                self.story.append(name)
                self.threads.point()

        stories = []
        for _ in range(2):
            self.story.clear()
            self.threads.random, self.threads.preempt = random.Random(7), 0.5
            a, b = self.threads.start("a", talk, "a"), self.threads.start("b", talk, "b")
            while not (a.is_over and b.is_over):
                for thread in self.threads.runnable():
                    self.threads.resume(thread)
            stories.append("".join(self.story))
        self.assertEqual(stories[0], stories[1])
        self.assertIn("ab", stories[0])
        self.assertIn("ba", stories[0])

    def test_what_a_thread_raises_is_kept(self) -> None:
        def failing() -> None:
            raise KeyError("on purpose")

        thread = self.start(failing)
        self.threads.resume(thread)
        self.assertIsInstance(thread.failure, KeyError)

    def test_killing_ends_threads_that_wait_for_ever(self) -> None:
        lock = self.threading.Lock()

        def stuck() -> None:
            try:
                with lock:
                    self.threads.wait(None)
            finally:
                self.story.append("left")

        self.start(stuck)
        self.start(stuck)
        self.run_all()
        self.threads.kill()
        self.assertEqual(self.story, ["left", "left"])

    def test_the_driver_must_not_wait(self) -> None:
        with self.assertRaises(AssertionError):
            self.threads.sleep(1.0)

    def test_the_system_may_have_no_more_threads(self) -> None:
        self.threads.failing_starts = 1
        with self.assertRaisesRegex(RuntimeError, "can't start new thread"):
            self.threading.Thread(target=self.story.append, args=(1,)).start()
        self.threading.Thread(target=self.story.append, args=(1,)).start()


class Locks(ThreadsCase):
    def test_a_lock_has_one_owner(self) -> None:
        lock = self.threading.Lock()

        def owner(name: str) -> None:
            with lock:
                self.story.append(f"{name} in")
                self.threads.sleep(1.0)
                self.story.append(f"{name} out")

        self.threads.start("a", owner, "a")
        self.threads.start("b", owner, "b")
        self.run_all()
        self.assertEqual(self.story, ["a in"])
        self.clock.advance(1.0)
        self.run_all()
        self.assertEqual(self.story, ["a in", "a out", "b in"])

    def test_waiting_for_a_lock_ends_with_its_timeout(self) -> None:
        lock = self.threading.Lock()
        lock.acquire()
        self.start(lambda: self.story.append(lock.acquire(timeout=3.0)))
        self.start(lambda: self.story.append(lock.acquire(False)))
        self.run_all()
        self.assertEqual(self.story, [False])
        self.clock.advance(3.0)
        self.run_all()
        self.assertEqual(self.story, [False, False])

    def test_a_reentrant_lock_is_its_owners_as_often_as_it_likes(self) -> None:
        lock = self.threading.RLock()
        with lock, lock:
            self.start(lambda: self.story.append(lock.acquire(False)))
            self.run_all()
        self.start(lambda: self.story.append(lock.acquire(False)))
        self.run_all()
        self.assertEqual(self.story, [False, True])

    def test_a_lock_that_nobody_holds_cannot_be_released(self) -> None:
        with self.assertRaises(RuntimeError):
            self.threading.Lock().release()

    def test_a_condition_wakes_as_many_as_it_notifies(self) -> None:
        condition = self.threading.Condition()

        def waiter(name: str, timeout: float | None) -> None:
            with condition:
                self.story.append((name, condition.wait(timeout)))

        self.threads.start("a", waiter, "a", None)
        self.threads.start("b", waiter, "b", None)
        self.threads.start("c", waiter, "c", 5.0)
        self.run_all()
        with condition:
            condition.notify()
        self.run_all()
        self.assertEqual(self.story, [("a", True)])
        self.clock.advance(5.0)
        self.run_all()
        self.assertEqual(self.story, [("a", True), ("c", False)])

    def test_an_event_lets_everybody_through(self) -> None:
        event = self.threading.Event()
        for name in "ab":
            self.threads.start(name, lambda: self.story.append(event.wait()))
        self.run_all()
        self.assertEqual(self.story, [])
        event.set()
        self.run_all()
        self.assertEqual(self.story, [True, True])


if __name__ == "__main__":
    unittest.main()
