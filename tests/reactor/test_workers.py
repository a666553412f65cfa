"""WorkerPool: it grows by need, is bounded, survives everything.

The clock is a fake one, so the pool grows when a test says so; the threads are real.
"""

from __future__ import annotations

import threading
import unittest
from collections import deque
from typing import Any

from pyliteflux.app.request import Request
from pyliteflux.errors import PoolFull, ReactorClosed
from pyliteflux.reactor.loop import Reactor
from pyliteflux.reactor.workers import DEAD_SLACK, PATIENCE, WorkerPool
from tests.fakes import FakeClock, FakeSelector, Network
from tests.support import DEADLINE, RunningThread, captured_logs, wait_until


class PoolCase(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = FakeClock()
        self.reactor = Reactor(FakeSelector(Network()), self.clock)
        self.addCleanup(self.reactor.close)
        self.release = threading.Event()
        self.addCleanup(self.release.set)
        self.results: list[Any] = []

    def pool(self, max_threads: int = 64, queue_limit: int = 1000, **options: Any) -> WorkerPool:
        pool = WorkerPool(self.reactor, "test", max_threads, queue_limit, **options)

        def end() -> None:
            self.release.set()
            pool.stop()
            wait_until(lambda: pool.threads == 0 or pool._closed, "the pool ends")

        self.addCleanup(end)
        return pool

    def work(self, done: Any, what: str) -> None:
        """Let time pass and the reactor turn until something has happened."""

        def step() -> Any:
            self.clock.advance(PATIENCE)
            self.reactor.run_once()
            return done()

        wait_until(step, what)

    def block(self, number: Any) -> Any:
        if not self.release.wait(DEADLINE):
            raise AssertionError("never released")
        return number


class Results(PoolCase):
    def test_a_job_runs_on_a_worker_and_is_delivered_on_the_reactor_thread(self) -> None:
        pool = self.pool()
        main = threading.get_ident()

        def deliver(result: Any) -> None:
            self.results.append((result, threading.get_ident() == main))

        pool.submit(lambda argument: (argument, threading.get_ident() != main), "x", deliver)
        self.work(lambda: self.results, "the result")
        self.assertEqual(self.results, [(("x", True), True)])

    def test_an_exception_is_delivered_and_the_worker_goes_on(self) -> None:
        """SystemExit and KeyboardInterrupt, too: they must not cost the pool a thread."""
        pool = self.pool(max_threads=1)
        for kind in (ValueError, SystemExit, KeyboardInterrupt, GeneratorExit):

            def fail(_: Any, kind: type[BaseException] = kind) -> None:
                raise kind

            pool.submit(fail, None, lambda result: self.results.append(type(result)))
        pool.submit(lambda _: "alive", None, self.results.append)
        self.work(lambda: len(self.results) == 5, "all results")
        expected = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, "alive"]
        self.assertEqual(self.results, expected)
        self.assertEqual(pool.threads, 1)

    def test_one_worker_keeps_the_order(self) -> None:
        pool = self.pool(max_threads=1)
        for n in range(500):
            pool.submit(lambda n: n, n, self.results.append)
        self.work(lambda: len(self.results) == 500, "all results")
        self.assertEqual(self.results, list(range(500)))

    def test_jobs_from_many_threads_all_run_once(self) -> None:
        pool = self.pool()

        def submit(start: int) -> None:
            for n in range(start, start + 200):
                pool.submit(lambda n: n, n, self.results.append)

        threads = [RunningThread(submit, start) for start in range(0, 1000, 200)]
        for thread in threads:
            thread.join()
        self.work(lambda: len(self.results) == 1000, "all results")
        self.assertEqual(sorted(self.results), list(range(1000)))

    def test_a_parked_worker_keeps_no_request_alive(self) -> None:
        import weakref

        class Request:
            pass

        request: Any = Request()
        gone = weakref.ref(request)
        pool = self.pool()
        pool.submit(lambda request: None, request, self.results.append)
        del request
        self.work(lambda: self.results and pool.running == 0, "the worker is parked")
        wait_until(lambda: gone() is None, "the request is freed")


class Growth(PoolCase):
    def test_fifty_handlers_that_block_all_run_at_once(self) -> None:
        """Each waits until all of them are there."""
        pool = self.pool()
        barrier = threading.Barrier(50)
        for n in range(50):
            pool.submit(lambda n: barrier.wait(DEADLINE) and n, n, self.results.append)
        self.work(lambda: len(self.results) == 50, "all fifty have met")
        self.assertFalse(any(isinstance(result, BaseException) for result in self.results))

    def test_it_grows_no_further_than_its_maximum(self) -> None:
        pool = self.pool(max_threads=3)
        for n in range(10):
            pool.submit(self.block, n, self.results.append)
        self.work(lambda: pool.waiting == 7, "three have been taken")
        for _ in range(50):
            self.clock.advance(PATIENCE)
            self.reactor.run_once()
        self.assertEqual((pool.threads, pool.waiting), (3, 7))
        pool.add_replacement()
        self.work(lambda: pool.waiting == 6, "the replacement is at work")
        self.release.set()
        self.work(lambda: len(self.results) == 10, "all results")

    def test_fast_jobs_need_one_thread(self) -> None:
        """By need, not by traffic."""
        pool = self.pool()
        for _ in range(20):
            count = len(self.results) + 10
            for n in range(10):
                pool.submit(lambda n: n, n, self.results.append)
            self.reactor.run_once()
            wait_until(lambda: pool.waiting == 0, "the jobs are taken")
            self.work(lambda count=count: len(self.results) == count, "the results")
            wait_until(lambda: pool.running == 0, "the worker is parked")
        self.assertLessEqual(pool.threads, 2)

    def test_one_blocked_handler_does_not_keep_the_others_waiting(self) -> None:
        pool = self.pool()
        pool.submit(self.block, "slow", self.results.append)
        self.work(lambda: pool.running == 1 and pool.waiting == 0, "it is at work")
        for n in range(10):
            pool.submit(lambda n: n, n, self.results.append)
        self.work(lambda: len(self.results) == 10, "the others' results")
        self.assertNotIn("slow", self.results)

    def test_once_a_handler_is_known_to_block_nobody_waits_for_it_again(self) -> None:
        """No patience with a worker that has had the same job since the last look."""
        pool = self.pool()
        for _ in range(3):
            pool.submit(self.block, "blocked", self.results.append)
        self.work(lambda: len(pool.running_jobs()) == 3, "three are blocked")
        pool.submit(lambda n: n, 0, self.results.append)
        self.work(lambda: self.results, "the first that found them blocked has waited a little")
        wait_until(lambda: pool.running == 3, "the worker that did it is parked")
        self.clock.advance(PATIENCE)
        for n in range(1, 20):
            pool.submit(lambda n: n, n, self.results.append)

            def turn(n: int = n) -> bool:
                self.reactor.run_once()  # No time passes.
                return len(self.results) == n + 1

            wait_until(turn, f"answer {n}")
            wait_until(lambda: pool.running == 3, "the worker is parked again")
        self.assertEqual(pool.threads, 4, "no more threads than are needed")

    def test_an_idle_worker_ends(self) -> None:
        pool = self.pool(idle_time=0.01)
        pool.submit(lambda n: n, 1, self.results.append)
        self.work(lambda: self.results, "the result")
        wait_until(lambda: pool.threads == 0, "the idle worker has ended")
        pool.submit(lambda n: n, 2, self.results.append)
        self.work(lambda: len(self.results) == 2, "the next result")

    def test_where_no_thread_can_be_had_the_others_must_do(self) -> None:
        from unittest import mock

        pool = self.pool()
        pool.submit(self.block, 1, self.results.append)
        self.work(lambda: pool.running == 1 and pool.waiting == 0, "it is at work")
        pool.submit(lambda n: n, 2, self.results.append)
        with captured_logs() as logs:
            with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError):
                for _ in range(5):
                    self.clock.advance(PATIENCE)
                    self.reactor.run_once()
        self.assertTrue(logs.find("cannot start another thread"))
        self.assertEqual(pool.threads, 1)
        self.release.set()
        self.work(lambda: len(self.results) == 2, "both results")


class Bounds(PoolCase):
    def test_a_full_queue_refuses(self) -> None:
        pool = self.pool(queue_limit=2)
        pool.submit(self.block, 1)
        pool.submit(self.block, 2)
        with self.assertRaisesRegex(PoolFull, "2 jobs are waiting for the test pool"):
            pool.submit(self.block, 3)

    def test_who_may_not_be_refused_waits_in_the_full_queue(self) -> None:
        pool = self.pool(queue_limit=1)
        pool.submit(self.block, 1)
        pool.submit(self.block, 2, may_refuse=False)
        self.assertEqual(pool.waiting, 2)

    def late_pool(self) -> WorkerPool:
        """Return a pool whose only worker is stuck, with one job behind that."""
        pool = self.pool(max_threads=1)
        pool.max_wait = 5.0
        for number in (1, 2):
            pool.submit(self.block, number, self.results.append)
        self.work(lambda: pool.waiting == 1, "the only worker is at work")
        return pool

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.clock.advance(0.5)
            self.reactor.run_once()

    def test_a_queue_whose_front_has_waited_for_too_long_refuses_and_not_before(self) -> None:
        """`burst_of_subscribers`: the age of the front says that a pool is late, no length does."""
        pool = self.late_pool()
        self.pass_time(4.5)
        for number in range(3, 900):
            pool.submit(self.block, number)
        self.pass_time(1)
        with self.assertRaisesRegex(PoolFull, "the test pool is 5 s behind"):
            pool.submit(self.block, 900)
        pool.submit(self.block, 900, may_refuse=False)
        self.release.set()
        self.work(lambda: pool.waiting == 0 and not pool._watching, "all are done")
        pool.submit(self.block, 901)

    def test_time_for_which_nobody_ran_is_not_held_against_the_pool(self) -> None:
        """A laptop that slept, a SIGSTOP: the front is old, and the pool has had no chance."""
        pool = self.late_pool()
        self.clock.advance(3600)
        pool.submit(self.block, 3)
        self.reactor.run_once()
        pool.submit(self.block, 4)
        self.pass_time(4.5)
        pool.submit(self.block, 5)
        self.pass_time(1)
        with self.assertRaises(PoolFull):
            pool.submit(self.block, 6)

    def test_jobs_that_nobody_waits_for_are_taken_out_when_they_are_many(self) -> None:
        """`bodies_of_the_gone`: who comes, asks and goes again may not fill the queue."""
        pool = self.pool(max_threads=1)
        pool.submit(self.block, 0)
        self.work(lambda: pool.waiting == 0, "the only worker is at work")
        alive = []
        for number in range(10 * DEAD_SLACK):
            job = Request()
            pool.submit(self.block, job)
            if number % 10:
                job.is_abandoned = True
                pool.note_dead()
            else:
                alive.append(job)
            self.assertLessEqual(pool.waiting, 2 * (len(alive) + DEAD_SLACK))
        self.assertEqual(
            [job for job in pool.stop() if not job.is_abandoned], alive, "in their order"
        )

    def test_a_stopped_pool_refuses_and_names_what_it_dropped(self) -> None:
        pool = self.pool()
        pool.submit(self.block, 1)
        pool.submit(self.block, 2)
        self.assertEqual(pool.stop(), [1, 2])
        self.assertEqual(pool.stop(), [])
        with self.assertRaises(ReactorClosed):
            pool.submit(self.block, 3)

    def test_a_stop_just_before_a_job_is_queued_refuses_it(self) -> None:
        pool = self.pool()
        dropped: list[Any] = []

        class Queue(deque[Any]):
            def append(self, job: Any) -> None:
                dropped.extend(pool.stop())
                super().append(job)

        pool._queue = Queue()
        with self.assertRaises(ReactorClosed):
            pool.submit(self.block, 1)
        self.assertEqual((dropped, pool.waiting), ([], 0))

    def test_a_stop_just_after_a_job_is_queued_drops_it(self) -> None:
        pool = self.pool()
        dropped: list[Any] = []

        class Queue(deque[Any]):
            def append(self, job: Any) -> None:
                super().append(job)
                dropped.extend(pool.stop())

        pool._queue = Queue()
        pool.submit(self.block, 1)
        self.assertEqual((dropped, pool.waiting), ([1], 0))

    def test_stop_ends_the_parked_and_does_not_wait_for_the_stuck(self) -> None:
        pool = self.pool()
        pool.submit(self.block, 1, self.results.append)
        self.work(lambda: pool.running == 1 and pool.waiting == 0, "it is at work")
        pool.submit(lambda n: n, 2, self.results.append)
        self.work(lambda: pool.threads == 2 and pool.running == 1, "the other is parked")
        pool.stop()
        wait_until(lambda: pool.threads == 1, "the parked one has ended")
        self.release.set()
        wait_until(lambda: pool.threads == 0, "the stuck one has ended, too")

    def test_an_answer_for_a_reactor_that_has_ended_ends_the_worker(self) -> None:
        pool = self.pool()
        begun = threading.Event()

        def run(_: Any) -> None:
            begun.set()
            self.block(None)

        pool.submit(run, None, self.results.append)
        self.work(begun.is_set, "it is at work")
        thread = next(iter(pool._workers)).thread
        assert thread is not None
        pool.stop()
        self.reactor.close()
        self.release.set()
        thread.join(DEADLINE)
        self.assertFalse(thread.is_alive())

    def test_threads_are_daemons_with_a_name(self) -> None:
        pool = self.pool()
        pool.submit(lambda _: threading.current_thread(), None, self.results.append)
        self.work(lambda: self.results, "the result")
        self.assertTrue(self.results[0].daemon)
        self.assertEqual(self.results[0].name, "pyliteflux-test-1")

    def test_the_stack_of_a_job_can_be_seen(self) -> None:
        pool = self.pool()
        argument = object()
        begun = threading.Event()

        def stuck_here(_: Any) -> None:
            begun.set()
            self.block(None)

        self.assertEqual(pool.stack_of(argument), "")
        pool.submit(stuck_here, argument, self.results.append)
        self.work(begun.is_set, "it is at work")
        self.assertIn("stuck_here", pool.stack_of(argument))
        self.assertFalse(pool.owns_current_thread)
        self.release.set()
        self.work(lambda: self.results, "the result")
        self.assertEqual(pool.stack_of(argument), "")

    def test_code_on_a_worker_knows_its_pool(self) -> None:
        pool = self.pool()
        pool.submit(lambda _: pool.owns_current_thread, None, self.results.append)
        self.work(lambda: self.results, "the result")
        self.assertEqual(self.results, [True])


class RaceToPark(PoolCase):
    def test_jobs_that_come_while_workers_park_are_never_left_lying(self) -> None:
        """Workers give up at once when idle, so that each submit meets one that is leaving."""
        pool = self.pool(max_threads=4, idle_time=0.0)
        for n in range(300):
            pool.submit(lambda n: n, n, self.results.append)
            self.work(lambda n=n: len(self.results) == n + 1, f"result {n}")
        self.assertEqual(self.results, list(range(300)))


if __name__ == "__main__":
    unittest.main()
