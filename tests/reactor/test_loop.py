"""Reactor: the order of a turn, who pays for an exception, threads, forks, the end."""

from __future__ import annotations

import os
import socket
import threading
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any

from pyliteflux.errors import ReactorClosed
from pyliteflux.reactor.loop import LONGEST_SLEEP, READ, WRITE, Reactor
from tests.fakes import FakeClock, FakeSelector, Network
from tests.support import DEADLINE, RunningThread, captured_logs, wait_for


class Handler:
    """One end of a socket pair as an event handler."""

    def __init__(self, case: unittest.TestCase, on_readable: Callable[[], object]) -> None:
        self.sock, self.far = socket.socketpair()
        self.sock.setblocking(False)
        case.addCleanup(self.sock.close)
        case.addCleanup(self.far.close)
        self.on_readable = on_readable
        self.failures: list[Exception] = []

    def fileno(self) -> int:
        return self.sock.fileno()

    def on_writable(self) -> None:
        self.on_readable()

    def on_failure(self, error: BaseException) -> None:
        self.failures.append(error)


class Flusher:
    """Something to flush at the end of a turn."""

    def __init__(self, flush: Callable[[], object]) -> None:
        self.flush = flush


class ReactorCase(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = FakeClock()
        self.selector = FakeSelector(Network())
        self.reactor = Reactor(self.selector, self.clock)
        self.addCleanup(self.reactor.close)
        self.log: list[str] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.log.append(name)

    def explode(self, *_: Any) -> None:
        raise RuntimeError("on purpose")


class Turns(ReactorCase):
    def test_a_turn_goes_events_inbox_ready_timers_flush_end(self) -> None:
        """And each stage sees what the one before has queued."""
        reactor = self.reactor

        def on_readable() -> None:
            handler.sock.recv(10)
            self.log.append("event")
            reactor.call_soon(self.note("ready"))
            reactor.flush_at_turn_end(Flusher(self.note("flush")))
            reactor.call_at_turn_end(self.note("end"))

        handler = Handler(self, on_readable)
        reactor.register(handler, READ)
        reactor.call_later(0, self.note("timer"))
        reactor.call_soon_threadsafe(self.note("inbox"))
        handler.far.send(b"x")
        reactor.run_once()
        self.assertEqual(self.log, ["event", "inbox", "ready", "timer", "flush", "end"])

    def test_a_call_that_queues_itself_waits_for_the_next_turn(self) -> None:
        def again() -> None:
            self.log.append("again")
            queue(again)

        for queue in (self.reactor.call_soon, self.reactor.call_soon_threadsafe):
            before = len(self.log)
            queue(again)
            self.reactor.run_once()
            self.assertEqual(len(self.log), before + 1)
            self.assertEqual(self.reactor._sleep_time(), 0)
            self.reactor._ready.clear()

    def test_what_a_flush_writes_is_flushed_in_the_next_turn_without_a_sleep(self) -> None:
        def flush() -> None:
            self.log.append("flush")
            self.reactor.flush_at_turn_end(flusher)

        flusher = Flusher(flush)
        self.reactor.flush_at_turn_end(flusher)
        self.reactor.run_once()
        self.assertEqual(self.log, ["flush"])
        self.assertEqual(self.reactor._sleep_time(), 0)

    def test_timers_run_in_their_order_at_their_time(self) -> None:
        for delay in (3, 1, 2):
            self.reactor.call_later(delay, self.note(str(delay)))
        self.reactor.call_later(1.5, self.note("never")).cancel()
        for now in (0.999, 0.001, 1, 1):
            self.clock.advance(now)
            self.reactor.run_once()
        self.assertEqual(self.log, ["1", "2", "3"])

    def test_the_sleep_ends_at_the_next_timer_and_is_never_too_long(self) -> None:
        self.reactor.run_once()
        self.assertEqual(self.selector.sleep, LONGEST_SLEEP)
        self.reactor.call_later(1e9, self.note("far"))
        self.reactor.run_once()
        self.assertEqual(self.selector.sleep, LONGEST_SLEEP)
        self.reactor.call_later(5, self.note("near"))
        self.reactor.run_once()
        self.assertEqual(self.selector.sleep, 5)
        self.clock.advance(7)
        self.reactor.run_once()
        self.assertEqual(self.selector.sleep, 0)
        self.reactor.call_at_turn_end(self.note("end"))
        self.assertEqual(self.reactor._sleep_time(), 0)

    def test_readable_and_writable_come_in_one_turn(self) -> None:
        reactor = Reactor()
        self.addCleanup(reactor.close)
        handler = Handler(self, self.note("both"))
        reactor.register(handler, READ | WRITE)
        handler.far.send(b"x")
        reactor.run_once()
        self.assertEqual(self.log, ["both", "both"])
        reactor.modify(handler, WRITE)
        reactor.run_once()
        self.assertEqual(len(self.log), 3)
        reactor.unregister(handler)


class Exceptions(ReactorCase):
    def test_a_raising_event_handler_costs_itself_only(self) -> None:
        bad, good = Handler(self, self.explode), Handler(self, self.note("good"))
        for handler in (bad, good):
            self.reactor.register(handler, READ)
            handler.far.send(b"x")
        with captured_logs() as logs:
            self.reactor.run_once()
        self.assertEqual(self.log, ["good"])
        self.assertEqual(len(bad.failures), 1)
        self.assertEqual(len(logs.find("on purpose")), 1)

    def test_a_handler_that_cannot_even_give_up_does_not_end_the_loop(self) -> None:
        bad, good = Handler(self, self.explode), Handler(self, self.note("good"))
        bad.on_failure = self.explode  # type: ignore[method-assign]
        for handler in (bad, good):
            self.reactor.register(handler, READ)
            handler.far.send(b"x")
        with captured_logs():
            self.reactor.run_once()
        self.assertEqual(self.log, ["good"])

    def test_calls_timers_flushes_and_ends_that_raise_cost_no_other(self) -> None:
        reactor = self.reactor
        for call in (self.explode, self.note("ok")):
            reactor.call_soon_threadsafe(call)
            reactor.call_soon(call)
            reactor.call_later(0, call)
            reactor.flush_at_turn_end(Flusher(call))
            reactor.call_at_turn_end(call)
        with captured_logs() as logs:
            reactor.run_once()
        self.assertEqual(self.log, ["ok"] * 5)
        self.assertEqual(len(logs.find("on purpose")), 5)

    def test_the_owner_of_a_call_that_raises_is_told(self) -> None:
        class Owner:
            told: list[BaseException] = []

            def work(self, *args: str) -> None:
                raise RuntimeError("on purpose")

            def on_failure(self, error: BaseException) -> None:
                self.told.append(error)

        owner = Owner()
        for call in (
            self.reactor.call_soon,
            self.reactor.call_soon_threadsafe,
            self.reactor.call_at_turn_end,
            partial(self.reactor.call_later, 0),
        ):
            with self.subTest(call), captured_logs() as logs:
                call(owner.work)
                self.reactor.run_once()
                self.assertEqual(len(owner.told), 1)
                self.assertTrue(logs.find("Owner.work"))
            owner.told.clear()

    def test_a_slow_turn_is_logged(self) -> None:
        self.reactor.call_soon(self.clock.advance, 0.25)
        with captured_logs() as logs:
            self.reactor.run_once()
        self.assertTrue(logs.find("took 250 ms"))

    def test_with_debug_the_slow_call_is_named(self) -> None:
        self.reactor.debug = True
        self.reactor.call_soon(self.clock.advance, 0.25)
        with captured_logs() as logs:
            self.reactor.run_once()
        self.assertTrue(logs.find("FakeClock.advance"))

    def test_a_turn_that_is_fast_enough_is_not(self) -> None:
        self.reactor.call_soon(self.clock.advance, 0.0625)
        with captured_logs() as logs:
            self.reactor.run_once()
        self.assertEqual(logs.lines(), [])


class Threads(unittest.TestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.addCleanup(self.reactor.close)

    def run_in_thread(self) -> RunningThread:
        thread = RunningThread(self.reactor.run)

        def stop() -> None:
            self.reactor.stop()
            thread.join()

        self.addCleanup(stop)
        return thread

    def test_a_posted_call_runs_on_the_reactor_thread(self) -> None:
        self.run_in_thread()
        ran = threading.Event()
        threads: list[Any] = []

        def note() -> None:
            threads.append(threading.get_ident() == self.reactor.thread_id)
            ran.set()

        self.reactor.call_soon_threadsafe(note)
        wait_for(ran, "the posted call")
        self.assertEqual(threads, [True])

    def test_no_posted_call_is_lost_or_late(self) -> None:
        """Each poster waits for its call before the next: a lost wake-up would be a sleep of
        a minute."""
        self.run_in_thread()

        def post() -> None:
            for _ in range(500):
                ran = threading.Event()
                self.reactor.call_soon_threadsafe(ran.set)
                wait_for(ran, "the posted call: its wake-up was lost")

        for poster in [RunningThread(post) for _ in range(4)]:
            poster.join(3 * DEADLINE)

    def test_the_calls_of_one_thread_keep_their_order(self) -> None:
        numbers: list[int] = []
        for n in range(1000):
            self.reactor.call_soon_threadsafe(numbers.append, n)
        self.reactor.run_once()
        self.assertEqual(numbers, list(range(1000)))

    def test_stop_from_another_thread_ends_the_sleep(self) -> None:
        thread = self.run_in_thread()
        self.reactor.stop()
        thread.join()

    def test_stop_before_run_and_from_a_call(self) -> None:
        self.reactor.stop()
        self.reactor.run()
        other = Reactor()
        self.addCleanup(other.close)
        other.call_soon(other.stop)
        other.run()

    def test_with_debug_another_thread_is_caught(self) -> None:
        self.reactor.debug = True
        self.run_in_thread()
        begun = threading.Event()
        self.reactor.call_soon_threadsafe(begun.set)
        wait_for(begun, "the loop runs")
        handler = Handler(self, lambda: None)
        with self.assertRaisesRegex(RuntimeError, "another thread"):
            self.reactor.register(handler, READ)

    def test_after_the_end_a_post_is_refused_and_wake_and_stop_are_silent(self) -> None:
        self.reactor.close()
        self.reactor.close()
        with self.assertRaises(ReactorClosed):
            self.reactor.call_soon_threadsafe(print)
        self.reactor.wake()
        self.reactor.stop()

    def test_closing_gives_every_descriptor_back(self) -> None:
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("needs /proc")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            Reactor().close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_signal_bytes_reach_on_signal(self) -> None:
        numbers: list[int] = []
        self.reactor.on_signal = numbers.append
        os.write(self.reactor.signal_fileno, b"\x02")
        self.reactor.wake()
        self.reactor.run_once()
        self.assertEqual(numbers, [2])

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_a_forked_child_closes_its_copy_and_the_parent_goes_on(self) -> None:
        """Every event the child took would be the parent's loss."""
        import warnings

        handler = Handler(self, lambda: handler.sock.recv(10))
        self.reactor.register(handler, READ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Threads of other tests.
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.reactor.call_soon_threadsafe(print)
            except ReactorClosed:
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
        handler.far.send(b"x")
        self.reactor.run_once()
        with self.assertRaises(BlockingIOError):
            handler.sock.recv(10)


if __name__ == "__main__":
    unittest.main()
