"""Watchdog: who is slow is logged with its stack, once for each place, and nobody else is.

The clock is a fake one and `look` is called by hand; the threads that are looked at are real.
"""

from __future__ import annotations

import threading
import unittest
from typing import Any
from unittest import mock

from pyliteflux.reactor import watchdog as module
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.watchdog import Watchdog
from pyliteflux.reactor.workers import WorkerPool
from tests.fakes import FakeClock
from tests.support import RunningThread, captured_logs, new_threads, wait_for, wait_until

SLOW_TURN = 0.1
SLOW_JOB = 10.0
MOMENT = 0.001


class WatchdogCase(unittest.TestCase):
    def setUp(self) -> None:
        captured = captured_logs()
        self.logs = captured.__enter__()
        self.addCleanup(captured.__exit__, None, None, None)
        self.clock = FakeClock()
        self.reactor = Reactor(clock=self.clock)
        self.addCleanup(self.reactor.close)
        self.entered, self.release = threading.Semaphore(0), threading.Semaphore(0)
        self.dog = self.make_watchdog()

    def make_watchdog(self, *pools: WorkerPool, slow_job: float = SLOW_JOB) -> Watchdog:
        return Watchdog(self.reactor, pools, SLOW_TURN, slow_job, self.clock)

    def run_reactor(self) -> None:
        """Turn on a thread of its own until the test ends."""
        running = RunningThread(self.reactor.run)

        def end() -> None:
            for _ in range(100):
                self.release.release()
            self.reactor.stop()
            running.join()

        self.addCleanup(end)
        wait_until(lambda: self.reactor.thread_id, "the reactor runs")

    def hold(self) -> None:
        """Hold whoever calls until it is released."""
        self.entered.release()
        if not self.release.acquire(timeout=10):
            raise AssertionError("never released")

    def await_entry(self) -> None:
        self.assertTrue(self.entered.acquire(timeout=10), "nobody came")

    def pass_time(self, seconds: float) -> None:
        """Let time pass as the watchdog's own thread sees it: a look each interval."""
        end = self.clock.now + seconds
        while self.clock.now + self.dog._interval < end:
            self.clock.advance(self.dog._interval)
            self.dog.look()
        self.clock.now = end
        self.dog.look()


class Turns(WatchdogCase):
    def test_a_held_reactor_is_logged_with_its_stack_while_it_is_held(self) -> None:
        self.run_reactor()
        self.reactor.call_soon_threadsafe(self.hold)
        self.await_entry()
        self.pass_time(SLOW_TURN - MOMENT)
        self.assertEqual(self.logs.lines(), [], "too early")
        self.pass_time(2 * MOMENT)
        (line,) = self.logs.lines()
        self.assertIn("the reactor has been held for 101 ms", line)
        self.assertIn("in hold", line)
        self.assertNotIn("run_once", line, "what is the same each time is left out")

    def test_one_turn_is_reported_once_however_long_it_takes(self) -> None:
        self.run_reactor()
        self.reactor.call_soon_threadsafe(self.hold)
        self.await_entry()
        self.pass_time(100 * SLOW_TURN)
        self.assertEqual(len(self.logs.lines()), 1)

    def test_one_place_is_shown_once_and_then_counted(self) -> None:
        self.run_reactor()
        for _ in range(12):
            self.reactor.call_soon_threadsafe(self.hold)
            self.await_entry()
            self.pass_time(2 * SLOW_TURN)
            self.release.release()
            done = threading.Event()
            self.reactor.call_soon_threadsafe(done.set)
            wait_for(done, "the next turn")
        lines = [line for line in self.logs.lines() if "held" in line]
        self.assertEqual(len(lines), 2)
        self.assertIn("in hold", lines[0])
        self.assertRegex(lines[1], r"for the 10th time in .*test_watchdog\.py:[0-9]+ in hold")

    def test_a_sleeping_reactor_is_not_held(self) -> None:
        self.run_reactor()
        done = threading.Event()
        self.reactor.call_soon_threadsafe(done.set)
        wait_for(done, "a turn")
        self.pass_time(100.0)
        self.assertEqual(self.logs.lines(), [])

    def test_where_the_watchdog_itself_could_not_run_nobody_is_to_blame(self) -> None:
        """The machine was suspended, or a C call kept the GIL."""
        self.run_reactor()
        self.reactor.call_soon_threadsafe(self.hold)
        self.await_entry()
        self.clock.advance(3600)
        self.dog.look()
        self.assertEqual(self.logs.lines(), [])
        self.pass_time(self.dog._interval)
        self.assertEqual(len(self.logs.lines()), 1, "it is still held")

    def test_before_and_after_the_run_there_is_nobody_to_look_at(self) -> None:
        self.pass_time(100.0)
        self.assertEqual(self.logs.lines(), [])


class Jobs(WatchdogCase):
    def setUp(self) -> None:
        super().setUp()
        self.pool = WorkerPool(self.reactor, "test", 4, 100)
        self.dog = self.make_watchdog(self.pool)

        def end() -> None:
            for _ in range(100):
                self.release.release()
            self.pool.stop()
            wait_until(lambda: self.pool.threads == 0, "the threads have ended")

        self.addCleanup(end)

    def start(self, argument: Any) -> None:
        self.pool.submit(lambda _: self.hold(), argument)
        self.reactor.run_once()
        self.await_entry()
        self.dog.look()

    def test_a_slow_job_is_logged_with_its_stack_and_not_a_moment_before(self) -> None:
        self.start("the argument")
        self.pass_time(SLOW_JOB - MOMENT)
        self.assertEqual(self.logs.lines(), [], "too early")
        self.pass_time(MOMENT)
        (line,) = self.logs.lines()
        self.assertIn("'the argument' has taken 10.0 s", line)
        self.assertIn("in hold", line)
        self.assertNotIn("_work", line)
        self.pass_time(10 * SLOW_JOB)
        self.assertEqual(len(self.logs.lines()), 1)

    def test_each_job_has_its_own_time(self) -> None:
        self.start("one")
        self.pass_time(SLOW_JOB - MOMENT)
        self.release.release()
        wait_until(lambda: not self.pool.running_jobs(), "the job has ended")
        self.start("two")
        self.pass_time(SLOW_JOB - MOMENT)
        self.assertEqual(self.logs.lines(), [])

    def test_it_can_be_switched_off(self) -> None:
        self.dog = self.make_watchdog(self.pool, slow_job=0)
        self.start("one")
        self.pass_time(10 * SLOW_JOB)
        self.assertEqual(self.logs.lines(), [])

    def test_what_is_remembered_is_bounded(self) -> None:
        with mock.patch.object(module, "MOST_PLACES", 0):
            self.start("one")
            self.pass_time(2 * SLOW_JOB)
        self.assertEqual(self.logs.lines(), [])
        self.release.release()
        wait_until(lambda: not self.pool.running_jobs(), "the job has ended")
        self.dog.look()
        self.assertEqual((self.dog._jobs, self.dog._reported_jobs), ({}, set()))


class Thread(WatchdogCase):
    def test_its_thread_looks_by_itself_and_ends(self) -> None:
        looked = threading.Event()
        before = threading.enumerate()
        with (
            mock.patch.object(module, "SHORTEST_INTERVAL", 0.001),
            mock.patch.object(Watchdog, "look", lambda dog: looked.set()),
        ):
            dog = Watchdog(self.reactor, [], 0.001, SLOW_JOB, self.clock)
            dog.start()
            wait_for(looked, "a look")
            dog.stop()
        self.assertEqual(new_threads(before), set())

    def test_a_look_that_fails_is_logged_and_not_the_last(self) -> None:
        looks = threading.Semaphore(0)

        def fail(dog: Watchdog) -> None:
            looks.release()
            raise RuntimeError("on purpose")

        with (
            mock.patch.object(module, "SHORTEST_INTERVAL", 0.001),
            mock.patch.object(Watchdog, "look", fail),
        ):
            dog = Watchdog(self.reactor, [], 0.001, SLOW_JOB, self.clock)
            dog.start()
            for _ in range(2):
                self.assertTrue(looks.acquire(timeout=10))
            dog.stop()
        self.assertTrue(self.logs.find("the watchdog failed"))

    def test_without_a_thread_the_server_runs_unwatched(self) -> None:
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("no threads left")):
            self.dog.start()
        self.dog.stop()
        self.assertTrue(self.logs.find("cannot start the watchdog"))


if __name__ == "__main__":
    unittest.main()
