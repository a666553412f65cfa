"""Stopping: the graceful end of a run in a simulated world. Contract B3, C5."""

from __future__ import annotations

import errno
import unittest
from typing import Any

from tests.fakes import InlinePool
from tests.server.cases import GET, RuntimeCase


class TheEnd(RuntimeCase):
    def test_a_stop_closes_the_listeners_at_once(self) -> None:
        simulation = self.simulate()
        peer = simulation.http()
        peer.send(GET)
        simulation.settle(jobs=False)
        simulation.server.stop()
        simulation.settle(jobs=False)
        with self.assertRaises(ConnectionRefusedError):
            simulation.http()
        simulation.settle()
        self.assertTrue(peer.take().startswith(b"HTTP/1.1 200 "))

    def test_a_stop_while_accepting_is_paused_ends_in_order(self) -> None:
        simulation = self.simulate()
        simulation.network.accept_errors.append(errno.EMFILE)
        simulation.settle()
        simulation.server.stop()
        simulation.advance(1)
        self.assertTrue(simulation.reactor._stopping)

    def test_a_task_added_at_the_last_moment_is_not_waited_for_by_the_next_run(self) -> None:
        """Contract B3. A running task adds another one while the server gives everything back."""
        case = self

        class LatePool(InlinePool):
            def stop(self) -> list[Any]:
                if self.name == "task":
                    tasks = simulation.server.tasks
                    case.task = tasks.add(print, (), {}, "late")  # type: ignore[attr-defined]
                    tasks.launch(case.task)  # type: ignore[attr-defined]
                return super().stop()

        simulation = self.simulate(pool_factory=LatePool)
        simulation.end()
        self.assertTrue(simulation.server.tasks.is_idle, "the next stop would wait for it")
        self.assertTrue(self.logs.find("print"), "it was dropped without a word")
        with self.assertRaises(RuntimeError):
            self.task.result(0)  # type: ignore[attr-defined]

    def test_a_server_stopped_before_its_first_turn_ends(self) -> None:
        simulation = self.simulate()
        simulation.server.stop()
        simulation.server._serve(simulation.runtime)
        simulation._is_over = True
        self.assertFalse(simulation.server.is_running)


if __name__ == "__main__":
    unittest.main()
