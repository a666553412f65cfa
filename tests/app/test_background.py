"""Background tasks without a pool: states, counts, the bound, handles.

Chapter: docs/architecture.md.
"""

from __future__ import annotations

import gc
import threading
import unittest
import weakref
from typing import Any
from unittest import mock

from pyliteflux.app.background import NEXT, BackgroundTask, BackgroundTasks, TaskQueue, TaskState
from pyliteflux.app.context import Scope, g
from pyliteflux.errors import PoolFull, ReactorClosed
from tests.support import DEADLINE, captured_logs, wait_until


class TaskTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.queue = TaskQueue(3)
        self.submitted: list[Any] = []
        self.queue.start(lambda run, task: self.submitted.append((run, task)))
        self.scope = Scope()
        self.bg = BackgroundTasks(self.queue, self.scope)
        capture = captured_logs()
        self.logs = capture.__enter__()
        self.addCleanup(capture.__exit__, None, None, None)

    def run_next(self) -> None:
        run, task = self.submitted.pop(0)
        run(task)

    def counts(self) -> tuple[int, int, int, int]:
        return self.queue.queued, self.queue.running, self.queue.done, self.queue.failed


class TestLife(TaskTestCase):
    def test_held_back_then_queued_in_order_then_run_once(self) -> None:
        """B1, B2."""
        order: list[Any] = []
        first = self.bg.add(order.append, 1)
        second = self.bg.add(order.append, 2)
        self.assertEqual(
            (first.state, self.submitted, self.counts()), ("waiting", [], (2, 0, 0, 0))
        )
        self.bg.release()
        self.assertEqual([task for _, task in self.submitted], [first, second])
        self.assertEqual((first.state, self.counts()), ("queued", (2, 0, 0, 0)))
        run, task = self.submitted[0]
        self.run_next()
        run(task)  # Whoever submits twice still runs it once.
        self.run_next()
        self.assertEqual(order, [1, 2])
        self.assertEqual((first.state, self.counts()), ("done", (0, 0, 2, 0)))
        self.assertTrue(self.queue.is_idle)

    def test_results_and_errors(self) -> None:
        """Q7: the value, or what it raised; BaseException too must not cost a thread."""
        self.bg.release()
        for error in (KeyError("x"), SystemExit(1), KeyboardInterrupt()):

            def fail(error: BaseException = error) -> None:
                raise error

            task = self.bg.add(fail)
            self.run_next()
            self.assertEqual(task.state, "failed")
            with self.assertRaises(type(error)):
                task.result(0)
        self.assertEqual(self.counts(), (0, 0, 0, 3))
        self.assertEqual(len(self.logs.find("fail failed")), 3)
        task = self.bg.add(lambda a, b: a - b, 5, b=3)
        with self.assertRaises(TimeoutError):
            task.result(0)
        self.run_next()
        self.assertEqual(task.result(0), 2)

    def test_while_it_runs(self) -> None:
        """B2: running, and too late to cancel."""
        self.bg.release()
        seen: list[Any] = []
        task = self.bg.add(lambda: seen.append((task.state, self.counts(), task.cancel())))
        self.run_next()
        self.assertEqual(seen, [("running", (0, 1, 0, 0), False)])

    def test_cancel_before_it_starts(self) -> None:
        """Q7: waiting or queued; it is not counted as done or failed."""
        waiting = self.bg.add(self.fail, "it ran")
        self.assertTrue(waiting.cancel())
        self.bg.release()
        self.assertEqual(self.submitted, [])
        queued = self.bg.add(self.fail, "it ran")
        self.assertTrue(queued.cancel())
        self.run_next()
        for task in (waiting, queued):
            self.assertEqual(task.state, "cancelled")
            self.assertFalse(task.cancel())
            with self.assertRaisesRegex(RuntimeError, "cancelled"):
                task.result()
        self.assertEqual(self.counts(), (0, 0, 0, 0))
        self.assertTrue(self.queue.is_idle)

    def test_dropped_with_one_line_that_names_them(self) -> None:
        """B1: the handler failed."""

        def named() -> None:
            self.fail("it ran")

        tasks = [self.bg.add(named) for _ in range(3)]
        tasks[1].cancel()
        self.bg.drop()
        self.assertEqual([task.state for task in tasks], ["dropped", "cancelled", "dropped"])
        (line,) = self.logs.find("dropped background tasks")
        self.assertEqual(line.count("named"), 2)
        self.bg.drop()
        self.assertEqual(len(self.logs.lines()), 1)

    def test_every_state_is_in_the_table(self) -> None:
        """A state is a str that reads well, and the last ones lead nowhere."""
        self.assertEqual(set(NEXT), set(TaskState))
        self.assertEqual(str(TaskState.DONE), "done")
        self.assertEqual({state for state in NEXT if not NEXT[state]}, set(TaskState) - {
            TaskState.WAITING, TaskState.QUEUED, TaskState.RUNNING
        })  # fmt: skip

    def test_the_g_of_a_task(self) -> None:
        """G3: empty but for request_id."""
        seen: list[Any] = []
        self.bg.release()
        for _ in range(2):
            self.bg.add(lambda: (seen.append((g.request_id, dir(g))), setattr(g, "x", 1)))
            self.run_next()
        self.assertEqual(seen, [(self.scope.request_id, ["request_id"])] * 2)


class TestCost(TaskTestCase):
    """X2 (`bg_100k_queued`): many may wait, and one that has ended leaves nothing."""

    def test_a_task_that_waits_has_no_event_until_somebody_waits_for_it(self) -> None:
        """An Event is a kilobyte, twice as much as all the rest of a task."""
        with mock.patch("threading.Event", side_effect=threading.Event) as made:
            self.bg.release()
            unasked, asked, late = (self.bg.add(len, "abc") for _ in range(3))
            with self.assertRaises(TimeoutError):
                asked.result(0)
            for _ in range(3):
                self.run_next()
            self.assertEqual([task.result() for task in (asked, late)], [3, 3])
        self.assertEqual((made.call_count, unasked.state), (1, "done"))

    def test_what_a_task_held_is_free_at_its_end_and_not_when_the_collector_comes(self) -> None:
        class Held:
            pass

        known: list[weakref.ref[Held]] = []

        def work(argument: Held) -> None:
            g.held = Held()
            known.extend((weakref.ref(argument), weakref.ref(g.held)))

        self.bg.release()
        gc.collect()
        gc.disable()
        try:
            handle = self.bg.add(work, Held())
            self.run_next()
            self.assertEqual([reference() for reference in known[:1]], [None])
            del handle
            self.assertEqual([reference() for reference in known], [None, None])
        finally:
            gc.enable()

    def test_who_waits_for_the_result_is_woken_whatever_becomes_of_it(self) -> None:
        """Q7. Also who asks only when it has ended."""
        self.bg.release()
        for end in ("run", "cancel"):
            handle = self.bg.add(len, "abc")
            results: list[Any] = []

            def wait(handle: BackgroundTask = handle, results: list[Any] = results) -> None:
                try:
                    results.append(handle.result(DEADLINE))
                except RuntimeError as error:
                    results.append(str(error))

            threads = [threading.Thread(target=wait) for _ in range(3)]
            for thread in threads:
                thread.start()
            wait_until(lambda handle=handle: handle._finished is not None, "one waits")
            self.run_next() if end == "run" else handle.cancel()
            for thread in threads:
                thread.join(DEADLINE)
            wait()
            expected = 3 if end == "run" else "task len was cancelled"
            self.assertEqual(results, [expected] * 4)

    def test_a_result_that_does_not_come_in_time(self) -> None:
        with self.assertRaises(TimeoutError):
            self.bg.add(len, "").result(0)


class TestBound(TaskTestCase):
    def test_waiting_and_queued_ones_count_and_running_ones_do_not(self) -> None:
        """B2."""
        self.bg.add(print)
        self.bg.release()
        other = BackgroundTasks(self.queue, Scope())
        handles = [other.add(print) for _ in range(2)]
        with self.assertRaisesRegex(PoolFull, "task_queue_limit"):
            other.add(print)
        handles[0].cancel()
        other.add(print)
        with self.assertRaises(PoolFull):
            self.bg.add(print)
        other.drop()
        self.assertEqual(self.counts(), (1, 0, 0, 0))
        self.bg.add(print)

    def test_what_cannot_be_called_is_refused(self) -> None:
        """B2: and takes no place."""
        for function in (None, "name", 5):
            with self.assertRaises(TypeError):
                self.bg.add(function)  # type: ignore[arg-type]
        self.assertEqual(self.counts(), (0, 0, 0, 0))

    def test_from_many_threads_no_count_is_lost(self) -> None:
        """B2: add, run and cancel at once."""
        self.queue.limit = 10_000
        self.bg.release()

        def add() -> None:
            for number in range(200):
                task = self.bg.add(int)
                if number % 4 == 0:
                    task.cancel()

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while self.submitted:
            self.run_next()
        self.assertEqual(self.counts(), (0, 0, 600, 0))
        self.assertTrue(self.queue.is_idle)


class TestEnd(TaskTestCase):
    def test_a_pool_that_takes_no_more(self) -> None:
        """B3: dropped with a line, never lost in silence."""

        def refuse(run: Any, task: Any) -> None:
            raise ReactorClosed("over")

        self.queue.start(refuse)
        self.bg.release()
        self.assertEqual(self.bg.add(print).state, "dropped")
        self.assertEqual(len(self.logs.find("task print was dropped: over")), 1)
        never_started = BackgroundTasks(TaskQueue(1), self.scope)
        never_started.release()
        self.assertEqual(never_started.add(print).state, "dropped")

    def test_what_is_abandoned_is_named_once(self) -> None:
        """B3: and a later run of the server does not wait for it."""
        inside, go_on = threading.Event(), threading.Event()

        def endless() -> None:
            inside.set()
            go_on.wait(10)

        self.bg.release()
        running, waits = self.bg.add(endless), self.bg.add(print)
        thread = threading.Thread(target=self.run_next)
        thread.start()
        try:
            self.assertTrue(inside.wait(10))
            for _ in range(2):
                self.queue.abandon()
            self.assertEqual((running.state, waits.state), ("running", "dropped"))
            self.assertEqual(len(self.logs.find("endless is still running")), 1)
            self.assertEqual(len(self.logs.find("dropped background tasks: print")), 1)
            self.assertTrue(self.queue.is_idle)
        finally:
            go_on.set()
            thread.join()
        self.assertEqual(self.counts(), (0, 0, 1, 0))
        self.assertIsNone(running.result(0))


if __name__ == "__main__":
    unittest.main()
