"""log_writer: the reactor never waits for a log, nobody for one that is stuck (X2)."""

from __future__ import annotations

import multiprocessing
import os
import threading
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from pyliteflux import log_writer
from pyliteflux.forking import after_fork
from pyliteflux.log_writer import LogWriter
from tests.support import DEADLINE, new_threads, wait_for, wait_until


class Pipe:
    """What is written, as by a handler; it can get stuck."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.is_at_it = threading.Event()
        self._may_go_on = threading.Event()
        self._may_go_on.set()

    def stick(self) -> None:
        self._may_go_on.clear()
        self.is_at_it.clear()

    def free(self) -> None:
        self._may_go_on.set()

    def write(self, line: Any) -> None:
        self.is_at_it.set()
        wait_for(self._may_go_on, "the pipe is free again")
        self.lines.append(line)


def on_a_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


class Writing(unittest.TestCase):
    def setUp(self) -> None:
        self.pipe = Pipe()
        self.addCleanup(self.pipe.free)
        self.writer = LogWriter(lambda count: self.pipe.lines.append(f"{count} dropped"))

    def start(self, limit: int = 100) -> None:
        """As a server does: this thread is its reactor."""
        self.writer.start(limit)
        self.addCleanup(self.stop, limit)

    def stop(self, limit: int) -> None:
        self.pipe.free()
        self.writer.stop(limit)

    def put(self, *lines: Any) -> None:
        for line in lines:
            self.writer.put(self.pipe.write, line)

    def stick(self, *lines: Any) -> None:
        """The first of these is being written, for long; the others wait."""
        self.pipe.stick()
        self.put(lines[0])
        wait_for(self.pipe.is_at_it, "a line is being written")
        self.put(*lines[1:])

    def test_without_a_server_a_line_is_written_where_it_is_logged(self) -> None:
        """N1: and there is no thread."""
        before = threading.enumerate()
        self.put(1)
        self.assertEqual(self.pipe.lines, [1])
        self.assertEqual(new_threads(before), set())
        self.assertTrue(self.writer.flush())

    def test_lines_stay_in_order_and_all_are_written_by_the_end(self) -> None:
        before = threading.enumerate()
        self.writer.start(10_000)
        self.put(*range(1000))
        self.writer.stop(10_000)
        self.assertEqual(self.pipe.lines, list(range(1000)))
        self.assertEqual(new_threads(before), set())
        self.put("after")
        self.assertEqual(self.pipe.lines[-1], "after")

    def test_the_reactor_drops_at_once_and_the_count_is_written_later(self) -> None:
        self.start(3)
        self.stick(0, 1, 2, 3)
        self.put(4, 5)
        self.assertEqual(self.writer.backlog, 3)
        self.pipe.free()
        self.assertTrue(self.writer.flush(DEADLINE))
        self.assertEqual(self.pipe.lines, [0, "2 dropped", 1, 2, 3])

    def test_another_thread_waits_for_room_while_the_writer_gets_on(self) -> None:
        """What a worker logs in a burst is not lost to a log that only is slow."""
        self.start(3)
        with mock.patch.object(log_writer, "PATIENCE", 3600.0):
            self.stick(0, 1, 2, 3)
            worker = on_a_thread(lambda: self.put(4, 5, 6, 7, 8, 9))
            self.assertTrue(worker.is_alive())
            self.pipe.free()
            worker.join(DEADLINE)
            self.assertFalse(worker.is_alive())
        self.assertTrue(self.writer.flush(DEADLINE))
        self.assertEqual(self.pipe.lines, list(range(10)))

    def test_nobody_waits_for_a_writer_that_is_stuck(self) -> None:
        self.start(3)
        with mock.patch.object(log_writer, "PATIENCE", 0.0):
            self.stick(0, 1, 2, 3)
            worker = on_a_thread(lambda: self.put(4, 5))
            worker.join(DEADLINE)
            self.assertFalse(worker.is_alive())
            self.assertFalse(self.writer.flush(0.0))
            self.writer.stop(3)  # Waits no longer than its patience, either.
        self.assertEqual(self.pipe.lines, [])

    def test_a_line_may_be_logged_by_who_writes_one(self) -> None:
        self.start(1)

        def write(line: Any) -> None:
            self.put(f"{line} again")
            self.pipe.write(line)

        self.writer.put(write, "once")
        self.assertTrue(self.writer.flush(DEADLINE))
        self.assertEqual(self.pipe.lines, ["once again", "once"])

    def test_the_thread_ends_with_the_last_server(self) -> None:
        """C8."""
        before = threading.enumerate()
        self.writer.start(3)
        self.writer.start(5)
        self.writer.stop(3)
        self.put(1)
        self.assertTrue(self.writer.flush(DEADLINE))
        self.writer.stop(5)
        wait_until(lambda: not new_threads(before), "the thread has ended")
        self.assertEqual(self.pipe.lines, [1])

    def test_out_of_threads_a_line_is_written_where_it_is_logged(self) -> None:
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError):
            self.start()
        self.put(1)
        self.assertEqual(self.pipe.lines, [1])

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_forked_child_writes_by_itself(self) -> None:
        """The thread is its parent's, and so is what waited for it."""
        after_fork(self.writer.forget)
        self.start()
        self.stick("the parent's")
        there, here = multiprocessing.Pipe(duplex=False)

        def child() -> None:
            self.pipe.free()
            self.put("the child's")
            here.send(self.pipe.lines)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        self.assertTrue(there.poll(DEADLINE))
        self.assertEqual(there.recv(), ["the child's"])
        process.join(DEADLINE)
        here.close()
        there.close()


if __name__ == "__main__":
    unittest.main()
